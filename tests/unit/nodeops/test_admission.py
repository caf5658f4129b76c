"""Who comes in and who doesn't: the seed's thresholds, entered and left."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.admission import REASONS, Admission, Figures, Reason, retry_after_seconds
from wsnode.config import Settings

LIMIT = 1_000_000_000


def admission(**settings: Any) -> Admission:
    return Admission(Settings(memory_limit=LIMIT, **settings))


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (Figures(), None),
        (Figures(connections=9_999), None),
        (Figures(connections=10_000), "connections"),
        (Figures(connections=10_001), "connections"),
        (Figures(cpu_percent=75.0), None),
        (Figures(cpu_percent=75.1), "cpu"),
        (Figures(memory_bytes=900_000_000), None),
        (Figures(memory_bytes=900_000_001), "memory"),
        (Figures(goroutines=24_998), None),
        (Figures(goroutines=24_999), "goroutines"),
        (Figures(descriptors_free=65), None),
        (Figures(descriptors_free=64), "descriptors"),
        (Figures(draining=True), "draining"),
        (Figures(address_connections=10_000), None),
        (Figures(draining=True, connections=10_000, cpu_percent=99.0), "draining"),
        (Figures(connections=10_000, cpu_percent=99.0), "connections"),
    ],
)
def test_the_limits_of_the_default_settings(figures: Figures, reason: str | None) -> None:
    assert admission().decide(0.0, figures) == reason


def test_cpu_is_entered_above_75_and_left_at_70() -> None:
    door = admission()
    seen = [door.decide(0.0, Figures(cpu_percent=cpu)) for cpu in (75, 76, 74, 70.1, 70, 74, 75, 75.1)]
    assert seen == [None, "cpu", "cpu", "cpu", None, None, None, "cpu"]


def test_memory_is_entered_above_90_percent_and_left_at_85() -> None:
    door = admission()
    seen = [door.decide(0.0, Figures(memory_bytes=share * LIMIT // 100)) for share in (90, 91, 86, 85, 90)]
    assert seen == [None, "memory", "memory", None, None]


def test_reading_pauses_above_80_and_goes_on_at_75() -> None:
    door = admission()
    assert [door.paused(cpu) for cpu in (80, 80.1, 79, 75.1, 75, 80)] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_gauges_samples_between_clients_count() -> None:
    door = admission()
    assert door.decide(0.0, Figures(cpu_percent=90)) == "cpu"
    door.observe(1.0, Figures(cpu_percent=50))
    assert door.decide(2.0, Figures(cpu_percent=74)) is None


def test_loop_lag_counts_after_5_seconds_without_a_break() -> None:
    door = admission()
    late, fine = Figures(loop_lag_seconds=0.6), Figures(loop_lag_seconds=0.5)
    assert [door.decide(now, late) for now in (0, 1, 4.9, 5.0, 9)] == [
        None,
        None,
        None,
        "loop_lag",
        "loop_lag",
    ]
    assert door.decide(10, fine) is None
    assert [door.decide(now, late) for now in (11, 15, 16)] == [None, None, "loop_lag"]


def test_connections_of_one_address_count_where_a_limit_is_set() -> None:
    door = admission(max_connections_per_address=3)
    assert door.decide(0.0, Figures(address_connections=2)) is None
    assert door.decide(0.0, Figures(address_connections=3)) == "address"


def test_a_raised_limit_lets_clients_in_at_once() -> None:
    door = admission()
    busy = Figures(connections=10_000, cpu_percent=80.0)
    assert door.decide(0.0, busy) == "connections"
    door.update(Settings(memory_limit=LIMIT, max_connections=11_000, max_goroutines=30_000))
    assert door.decide(0.0, busy) == "cpu"
    raised = Settings(
        memory_limit=LIMIT,
        max_connections=11_000,
        max_goroutines=30_000,
        cpu_reject_threshold=84,
        cpu_pause_threshold=90,
    )
    door.update(raised)
    assert door.decide(0.0, busy) is None


def test_a_lowered_limit_refuses_newcomers_and_an_equal_update_keeps_the_band() -> None:
    door = admission()
    assert door.decide(0.0, Figures(cpu_percent=76, connections=100)) == "cpu"
    door.update(Settings(memory_limit=LIMIT, max_connections=100))
    assert door.decide(0.0, Figures(cpu_percent=72)) == "cpu"
    assert door.decide(0.0, Figures(cpu_percent=60, connections=100)) == "connections"


def test_a_small_threshold_can_be_left() -> None:
    door = admission(cpu_reject_threshold=4.0)
    assert [door.decide(0.0, Figures(cpu_percent=cpu)) for cpu in (5, 2.1, 2)] == ["cpu", "cpu", None]


@pytest.mark.parametrize("reason", REASONS)
def test_retry_after_is_spread_over_whole_seconds_from_1_to_30(reason: Reason) -> None:
    source = random.Random(7)
    seconds = [retry_after_seconds(reason, source) for _ in range(300)]
    assert all(isinstance(value, int) and 1 <= value <= 30 for value in seconds)
    assert len(set(seconds)) >= 5


figures_of_any_kind = st.builds(
    Figures,
    connections=st.integers(0, 20_000),
    goroutines=st.integers(0, 50_000),
    cpu_percent=st.floats(0, 200),
    memory_bytes=st.integers(0, 2 * LIMIT),
    descriptors_free=st.integers(0, 1000),
    loop_lag_seconds=st.floats(0, 3),
    draining=st.booleans(),
    address_connections=st.integers(0, 100),
)


@given(st.lists(figures_of_any_kind, min_size=1, max_size=20))
def test_nobody_comes_in_over_a_limit(history: list[Figures]) -> None:
    door = admission(max_connections_per_address=50)
    for now, figures in enumerate(history):
        if door.decide(now, figures) is None:
            assert not figures.draining
            assert figures.connections < 10_000
            assert figures.goroutines + 2 <= 25_000
            assert figures.cpu_percent <= 75
            assert figures.memory_bytes <= 0.9 * LIMIT
            assert figures.descriptors_free > 64
            assert figures.address_connections < 50


@given(st.lists(figures_of_any_kind, max_size=20))
def test_an_idle_node_lets_in_whatever_was_before(history: list[Figures]) -> None:
    door = admission()
    for now, figures in enumerate(history):
        door.decide(now, figures)
        door.paused(figures.cpu_percent)
    assert door.decide(100, Figures()) is None
    assert door.paused(0.0) is False


@given(st.lists(st.floats(70.01, 75.0), min_size=1), st.booleans())
def test_between_the_two_edges_nothing_changes(walk: list[float], entered: bool) -> None:
    door = admission()
    door.decide(0.0, Figures(cpu_percent=80.0 if entered else 0.0))
    assert {door.decide(1.0, Figures(cpu_percent=cpu)) for cpu in walk} == {"cpu" if entered else None}


@given(figures_of_any_kind, st.integers(1, 1000), st.floats(0.1, 50))
def test_more_load_never_opens_the_door(figures: Figures, connections: int, cpu: float) -> None:
    heavier = Figures(
        connections=figures.connections + connections,
        goroutines=figures.goroutines,
        cpu_percent=figures.cpu_percent + cpu,
        memory_bytes=figures.memory_bytes,
        descriptors_free=figures.descriptors_free,
        draining=figures.draining,
    )
    if admission().decide(0.0, figures) is not None:
        assert admission().decide(0.0, heavier) is not None
