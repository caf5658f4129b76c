"""Expected ranges of the validation tests on machines other than the seed's."""

from __future__ import annotations

import pytest

from wsnode.config import Settings
from wsnode.config.expectations import Range, TestName, validation_tests

MB = 2**20


def test_a_larger_node() -> None:
    settings = Settings(
        cpu_limit=3.6,
        memory_limit=4096 * MB,
        max_connections=20_000,
        worker_pool_size=512,
        max_goroutines=50_000,
    )
    light, target, full, overload = validation_tests(settings)
    assert [test.connections for test in (light, target, full, overload)] == [4_000, 10_000, 20_000, 24_000]
    assert full.cpu_percent == Range(60, 80)
    assert full.memory_bytes == Range(2_000 * MB, 2_400 * MB)
    assert full.goroutines == 41_000
    assert full.memory_percent(settings.memory_limit) == Range(49, 59)
    assert overload.cpu_percent == Range(75, None)


def test_rates_follow_the_load() -> None:
    light, _, full, overload = validation_tests(Settings(), message_rate=1, peak_message_rate=5)
    assert light.messages_per_second == Range(1_000, 2_000)
    assert full.messages_per_second == Range(10_000, 50_000)
    assert overload.messages_per_second is None


def test_overload_never_expects_more_cpu_than_rejection_leaves() -> None:
    settings = Settings(cpu_limit=0.9, cpu_reject_threshold=70)
    overload = validation_tests(settings)[-1]
    assert overload.name is TestName.OVERLOAD
    assert overload.cpu_percent == Range(70, None)


def test_the_smallest_node_has_tests() -> None:
    settings = Settings(max_connections=1, worker_pool_size=1, max_goroutines=23)
    assert [test.connections for test in validation_tests(settings)] == [1, 1, 1, 2]
    assert validation_tests(settings)[-1].final_connections == 1


@pytest.mark.parametrize(("value", "verdict"), [(9, "below"), (10, "within"), (20, "within"), (21, "above")])
def test_verdict(value: float, verdict: str) -> None:
    assert Range(10, 20).verdict(value) == verdict


def test_an_open_range_has_no_above() -> None:
    assert Range(75, None).verdict(400) == "within"
