"""Growing before the clients are there, and not on noise."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.unit.scaling.fleet_script import START, Fleet, node, pending, settled, silent
from wsfleet.scaling import Decision, DrainState, NodeSample, Phase, ScalingPolicy, Trigger
from wsfleet.scaling.growth import lead_seconds
from wsfleet.scaling.history import Sample, Span
from wsfleet.scaling.policy import GrowthTrigger
from wsfleet.scaling.trend import highest_after_drop, trend_of

POLICY = ScalingPolicy(max_connections=10_000, min_replicas=1, max_replicas=50)
RULE = GrowthTrigger()


def spread(total: float, nodes: int, **more: object) -> list[NodeSample]:
    return [node(f"n{number}", int(total / nodes), 10.0, **more) for number in range(nodes)]


def rising(fleet: Fleet, start: float, per_second: float, seconds: float, nodes: int = 1) -> list[Decision]:
    return fleet.look_for(seconds, lambda second: spread(start + per_second * second, nodes))


def test_a_node_is_asked_for_before_the_limit_is_reached() -> None:
    fleet = settled(POLICY, 1)
    decisions = rising(fleet, 4000, 20, 300)
    step = next(decision for decision in decisions if decision.changes)
    assert step.trigger is Trigger.GROWTH
    # 600 more in the 30 s that a node is taken to need: 8,000 are reached 30 s after the decision.
    assert step.figures["connections"] == 7500
    assert step.figures["connectionsToCome"] == 600
    assert step.figures["growthPerSecond"] == 20
    assert step.reasons[0] == (
        "7,500 connections grow by 20 a second; with 600 more by the time a node has started (30 s) "
        "they need 2 nodes"
    )


def test_growth_counts_as_far_as_a_node_takes_to_start_here() -> None:
    fleet = settled(POLICY, 1)
    starts = {"pod_age_seconds": 90.0, "ready_seconds": 30.0}
    fleet.look_for(20, lambda second: spread(4000, 1, **starts))
    assert fleet.history.starts == (60.0,)
    decisions = rising(fleet, 4000, 20, 300)
    step = next(decision for decision in decisions if decision.changes)
    assert step.figures["startSeconds"] == 60
    assert step.figures["connections"] == 6900


def test_a_start_is_remembered_once_for_each_node_that_becomes_ready() -> None:
    fleet = settled(POLICY, 2)
    fleet.look(*spread(100, 1, pod_age_seconds=5000.0, ready_seconds=4990.0), pending("new"))
    first = fleet.history.starts
    assert first == (10.0,)

    def growing_older(second: float) -> list[NodeSample]:
        new = node("new", 0, pod_age_seconds=25.0 + second, ready_seconds=second)
        return [*spread(100, 1, pod_age_seconds=5005.0 + second, ready_seconds=4995.0 + second), new]

    fleet.look_for(120, growing_older)
    assert fleet.history.starts == (*first, 25.0)


def test_a_node_that_stumbled_late_in_its_life_says_nothing_of_starts() -> None:
    fleet = settled(POLICY, 1)
    fleet.look(node("a", 5, pod_age_seconds=90_000.0, ready_seconds=60.0))
    assert fleet.history.starts == ()


@pytest.mark.parametrize(
    ("starts", "seconds"),
    [((), 30), ((20.0,), 20), ((9.0, 20.0, 590.0), 20), ((590.0,), 180), ((0.5, 0.5), 5)],
)
def test_the_time_a_node_takes_is_the_median_within_bounds(starts: tuple[float, ...], seconds: float) -> None:
    assert lead_seconds(RULE, starts) == seconds


def test_at_most_half_of_the_connections_come_on_top() -> None:
    fleet = settled(replace(POLICY, max_connections=1000), 1)
    rising(fleet, 100, 400, 60)
    assert fleet.last is not None
    assert fleet.last.figures["connectionsToCome"] == int(fleet.last.figures["connections"] / 2)


def test_a_surge_is_growth_at_its_first_look() -> None:
    fleet = settled(POLICY, 3)
    fleet.look_for(60, spread(20_000, 3))
    decision = fleet.look(*spread(23_000, 3))
    # 600 a second for 30 s would be 18,000; a step may be all there is: twice its 3,000, and 29,000 need 4.
    assert (decision.desired, decision.trigger) == (4, Trigger.GROWTH)
    assert decision.figures["connectionsToCome"] == 6_000


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([20_000], 21_900),  # less than a tenth
        ([20_000, 18_000], 23_900),  # less than twice what it moved by anyway
        ([400], 890),  # less than a twentieth of what one node takes
    ],
)
def test_what_is_no_surge(before: list[int], now: int) -> None:
    fleet = settled(POLICY, 3)
    for _ in range(8):
        for total in before:
            fleet.look(*spread(total, 3))
    assert "growthPerSecond" not in fleet.look(*spread(now, 3)).figures


def test_clients_counted_twice_after_a_node_fell_silent_are_no_surge() -> None:
    fleet = settled(POLICY, 3)
    fleet.look_for(60, spread(18_000, 3))
    late = node("n0", 6_000, 10.0, sample_age_seconds=5.0)
    decision = fleet.look(late, node("n1", 9_000), node("n2", 9_000))
    assert "growthPerSecond" not in decision.figures


def test_switched_off_only_the_connections_that_are_there_count() -> None:
    fleet = settled(replace(POLICY, growth=GrowthTrigger(enabled=False)), 1)
    decisions = rising(fleet, 4000, 20, 300)
    step = next(decision for decision in decisions if decision.changes)
    assert (step.trigger, step.figures["connections"]) == (Trigger.CONNECTIONS, 8100)


@pytest.mark.parametrize(
    "leaving",
    [
        {"drain": DrainState.CLOSING, "ready": False},
        {"marked_seconds": 3.0},
        {"shedding": True},
    ],
)
def test_clients_that_come_back_from_our_own_closes_are_no_growth(leaving: dict[str, object]) -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(60, lambda second: [*spread(4000 + 50 * second, 1), node("x", 100, 10.0, **leaving)])
    assert fleet.last is not None
    assert "growthPerSecond" not in fleet.last.figures


def test_nor_is_there_growth_during_a_rollout_or_while_its_closes_are_among_the_samples() -> None:
    fleet = settled(POLICY, 2)
    for second in range(0, 60, 5):
        decision = fleet.look(*spread(4000 + 50 * second, 2), replicas=3, rolling=True)
    assert "growthPerSecond" not in decision.figures
    fleet = settled(POLICY, 1)
    fleet.look(*spread(4000, 1), node("x", 500, marked_seconds=3.0))
    fleet.look(*spread(4000, 1), node("x", 100, marked_seconds=8.0))
    quiet = rising(fleet, 4000, 20, 90)
    assert not any("growthPerSecond" in decision.figures for decision in quiet)
    assert any("growthPerSecond" in decision.figures for decision in rising(fleet, 5800, 20, 120))


def test_draining_nodes_are_part_of_the_total_that_grows() -> None:
    fleet = settled(POLICY, 2)
    gone = node("x", 3000, phase=Phase.TERMINATING, terminating_seconds=3.0)
    fleet.look_for(30, [*spread(4000, 1), gone])
    assert fleet.history.trend[-1].value == 7000


def test_after_a_drop_at_most_the_last_hours_peak_is_foreseen() -> None:
    fleet = settled(POLICY, 1)
    fleet.look_for(600, spread(7900, 1))
    fleet.look_for(120, spread(1000, 1))
    back = rising(fleet, 1000, 100, 69)
    assert {decision.desired for decision in back} == {1}, "whoever was there before has room"
    foreseen = [one.figures["connections"] + one.figures.get("connectionsToCome", 0) for one in back]
    assert max(foreseen) == 7900
    assert any("connectionsToCome" in decision.figures for decision in back)


def test_figures_that_come_back_are_no_growth() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(300, [node("a", 5000), node("b", 5000)])
    fleet.look_for(100, [node("a", 5000), silent("b")])
    decisions = fleet.look_for(300, [node("a", 5000), node("b", 5000)])
    assert not any("growthPerSecond" in decision.figures for decision in decisions)


def test_the_slope_is_not_moved_by_a_quarter_of_bad_samples() -> None:
    samples = [Sample(START + 5 * number, 1000 + 50 * number) for number in range(24)]
    for number in (3, 9, 12, 17, 20):
        samples[number] = samples[number]._replace(value=90_000 if number % 2 else 0)
    trend = trend_of(samples)
    assert trend is not None
    assert trend.per_second == pytest.approx(10, abs=1)


def test_a_trend_needs_two_samples() -> None:
    assert trend_of([Sample(START, 5)]) is None
    assert trend_of([]) is None


@pytest.mark.parametrize(
    ("spans", "highest"),
    [
        ([], None),
        ([(0, 100, 90, 100)], None),
        ([(0, 100, 50, 50)], 100),
        ([(0, 100, 50, 100)], None),  # the drop was before the peak
        ([(0, 100, 100, 100), (300, 97, 96, 96)], None),
        ([(0, 100, 100, 100), (300, 97, 94, 96)], 100),
        ([(0, 100, 10, 10), (300, 100, 98, 99)], None),  # back at the peak
    ],
)
def test_a_drop_is_a_total_below_the_hours_peak_after_it(
    spans: list[tuple[int, int, int, int]], highest: int | None
) -> None:
    assert highest_after_drop([Span(START + s[0], *s[1:]) for s in spans], START + 600, RULE) == highest


@pytest.mark.parametrize("seed", range(20))
def test_noise_around_a_steady_total_is_no_growth(seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    fleet = settled(POLICY, 4)
    decisions = fleet.look_for(3600, lambda _: spread(31_000 * chance.uniform(0.97, 1.03), 4))
    assert {decision.desired for decision in decisions} == {4}


def test_the_memory_of_growth_stays_small() -> None:
    fleet = settled(POLICY, 4)
    rising(fleet, 100, 1, 7500, nodes=4)
    assert len(fleet.history.trend) <= 27
    assert len(fleet.history.spans) <= 14
    assert len(fleet.history.starts) <= 9
