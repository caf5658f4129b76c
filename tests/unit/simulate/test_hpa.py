"""The HPA's algorithm against figures worked out from its documentation."""

from __future__ import annotations

import pytest

from wsfleet.simulate.hpa import HpaMemory, HpaPod, HpaPolicy, next_replicas, recommend, wanted_by_metric

POLICY = HpaPolicy(connections=8000, cpu_percent=60, min_replicas=1, max_replicas=100)


def pods(number: int, connections: float | None, cpu: float | None = 60.0) -> list[HpaPod]:
    return [HpaPod(connections=connections, cpu_percent=cpu) for _ in range(number)]


def test_the_documentations_example_doubles_and_halves() -> None:
    # 200m against a target of 100m doubles; 50m halves.
    assert wanted_by_metric([200, 200, 200], 0, 0, 3, 100, 100) == 6
    assert wanted_by_metric([50, 50, 50, 50], 0, 0, 4, 100, 100) == 2


@pytest.mark.parametrize(("value", "expected"), [(110, 10), (90, 10), (111, 12), (89, 9)])
def test_within_a_tenth_of_the_target_nothing_happens(value: float, expected: int) -> None:
    assert wanted_by_metric([value] * 10, 0, 0, 10, 100, 100) == expected


def test_a_missing_figure_counts_as_nothing_on_the_way_up() -> None:
    # 3 pods at 200, one missing: (600 + 0) / 4 = 150, and 1.5 x 4 pods are 6.
    assert wanted_by_metric([200, 200, 200], 1, 0, 4, 100, 100) == 6


def test_a_missing_figure_counts_as_the_fallback_on_the_way_down() -> None:
    # 3 pods at 40, one missing taken as 100: 220 / 4 = 55, and 0.55 x 4 are 3.
    assert wanted_by_metric([40, 40, 40], 1, 0, 4, 100, 100) == 3


def test_pods_that_are_not_ready_count_as_idle_on_the_way_up_and_never_turn_it() -> None:
    # 2 ready at 200, one starting: 400 / 3 = 133, and 1.33 x 3 pods are 4.
    assert wanted_by_metric([200, 200], 0, 1, 3, 100, 100) == 4
    # 2 ready at 120, two starting: 240 / 4 = 60 would turn the direction: as it is.
    assert wanted_by_metric([120, 120], 0, 2, 4, 100, 100) == 4


def test_without_any_figure_there_is_no_wish() -> None:
    assert wanted_by_metric([], 3, 0, 3, 100, 100) is None
    assert recommend(POLICY, pods(3, None, None), 3) is None


def test_the_highest_of_the_metrics_wins() -> None:
    assert recommend(POLICY, pods(4, 8000, 90), 4) == 6
    assert recommend(POLICY, pods(4, 16_000, 30), 4) == 8


def test_with_one_metric_unknown_only_upwards() -> None:
    assert recommend(POLICY, pods(4, 2000, None), 4) is None
    assert recommend(POLICY, pods(4, 16_000, None), 4) == 8


def test_up_by_four_pods_or_a_doubling_in_fifteen_seconds() -> None:
    few, memory = next_replicas(POLICY, pods(2, 80_000), 2, HpaMemory(), 0.0)
    assert few == 6
    again, _ = next_replicas(POLICY, pods(6, 80_000), 6, memory, 10.0)
    assert again == 6  # within the same 15 s
    later, _ = next_replicas(POLICY, pods(6, 80_000), 6, memory, 15.0)
    assert later == 12
    assert next_replicas(POLICY, pods(10, 80_000), 10, HpaMemory(), 0.0)[0] == 20


def test_down_only_to_the_highest_wish_of_five_minutes() -> None:
    size, memory = next_replicas(POLICY, pods(10, 8000), 10, HpaMemory(), 0.0)
    for now in range(15, 300, 15):
        size, memory = next_replicas(POLICY, pods(size, 1000, 10), size, memory, float(now))
        assert size == 10
    size, memory = next_replicas(POLICY, pods(size, 1000, 10), size, memory, 300.0)
    assert size == 2  # all at once: 10 x 1000 / 8000 and 10 x 10 / 60, the higher


def test_the_bounds_hold() -> None:
    policy = HpaPolicy(connections=8000, cpu_percent=60, min_replicas=3, max_replicas=5)
    assert next_replicas(policy, pods(4, 80_000), 4, HpaMemory(), 0.0)[0] == 5
    assert next_replicas(policy, pods(2, 8000), 2, HpaMemory(), 0.0)[0] == 3
    assert next_replicas(policy, pods(4, 8000), 0, HpaMemory(), 0.0)[0] == 0


def test_cpu_of_a_young_pod_counts_once_it_was_measured_while_ready() -> None:
    young = HpaPod(connections=1, cpu_percent=90, age=60, ready_changed_age=10, cpu_age=0)
    assert young.cpu_unready
    measured = HpaPod(connections=1, cpu_percent=90, age=60, ready_changed_age=40, cpu_age=5)
    assert not measured.cpu_unready
    old_and_unready = HpaPod(connections=1, cpu_percent=90, ready=False, age=3600, ready_changed_age=60)
    assert not old_and_unready.cpu_unready
    never_ready = HpaPod(connections=1, cpu_percent=90, ready=False, age=3600, ready_changed_age=3590)
    assert never_ready.cpu_unready
