"""Growing: the seed's three triggers, and the traps beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.scaling.fleet_script import Fleet, node, pending, settled, silent
from wsfleet.scaling import HoldKind, NodeSample, ScalingPolicy, Trigger
from wsfleet.scaling.policy import CpuTrigger

POLICY = ScalingPolicy(max_connections=10_000, min_replicas=1, max_replicas=20)


@pytest.mark.parametrize(
    ("connections", "nodes"),
    [(0, 1), (1, 1), (8000, 1), (8001, 2), (15_000, 2), (16_000, 2), (16_001, 3), (160_000, 20)],
)
def test_nodes_are_the_total_over_80_percent_of_the_limit(connections: int, nodes: int) -> None:
    decision = Fleet(POLICY).look(node("a", connections), replicas=1)
    assert decision.wish == nodes


def test_the_8001st_connection_asks_for_a_second_node_and_says_why() -> None:
    decision = settled(POLICY, 1).look(node("a", 8001))
    assert (decision.current, decision.desired, decision.trigger) == (1, 2, Trigger.CONNECTIONS)
    assert decision.reasons == ("8,001 connections need 2 nodes at 80 % of 10,000 each",)
    assert decision.figures["connections"] == 8001
    assert decision.figures["neededByConnections"] == 2


def test_one_full_node_among_empty_ones_asks_for_nothing() -> None:
    fleet = settled(POLICY, 3)
    for decision in fleet.look_for(900, [node("full", 9900), node("b", 100), node("c", 100)]):
        assert decision.desired <= 3
        assert decision.wish == 2


def test_sockets_that_stay_on_the_old_node_do_not_run_the_fleet_to_its_maximum() -> None:
    fleet = settled(POLICY, 1)
    assert fleet.look(node("old", 9000)).desired == 2
    for decision in fleet.look_for(1200, [node("old", 9000), node("new", 0)]):
        assert decision.desired == 2


def test_pending_nodes_are_coming_and_are_not_asked_for_twice() -> None:
    fleet = settled(POLICY, 2)
    assert fleet.look(node("a", 8000), node("b", 8500)).desired == 3
    for decision in fleet.look_for(60, [node("a", 8000), node("b", 8500), pending("c")]):
        assert decision.desired == 3


def test_nodes_that_no_machine_takes_do_not_call_for_more_and_more() -> None:
    fleet = settled(POLICY, 2)
    fleet.look(node("a", 8000), node("b", 8500))
    for decision in fleet.look_for(600, [node("a", 8000), node("b", 8500), pending("c", unschedulable=True)]):
        assert decision.desired == 3
        assert decision.figures["unschedulable"] == 1
        assert decision.figures["capacity"] == 20_000


def test_at_most_four_nodes_or_a_doubling_each_15_seconds() -> None:
    fleet = settled(POLICY, 1)
    nodes = [node(f"n{number}", 10_000) for number in range(16)]
    sizes = [fleet.look(*nodes, replicas=1).desired for _ in range(8)]
    assert sizes == [5, 5, 5, 10, 10, 10, 20, 20]
    assert fleet.history.decisions[0].held(HoldKind.STEP)


def test_max_replicas_limits_and_says_so() -> None:
    decision = settled(replace(POLICY, max_replicas=2), 2).look(node("a", 9999), node("b", 9999))
    assert (decision.desired, decision.wish, decision.limited) == (2, 3, Trigger.MAX_REPLICAS)


def test_min_replicas_limits_and_says_so() -> None:
    fleet = settled(replace(POLICY, min_replicas=3), 1)
    decision = fleet.look(node("a", 10))
    assert (decision.desired, decision.trigger) == (3, Trigger.MIN_REPLICAS)
    assert decision.limited is Trigger.MIN_REPLICAS


def test_a_new_fleet_starts_with_its_minimum() -> None:
    assert Fleet(POLICY).look().desired == 1
    assert Fleet(replace(POLICY, min_replicas=2)).look().desired == 2


# CPU


def hot(percent: float, nodes: int = 2) -> list[NodeSample]:
    return [node(f"n{number}", 100, percent) for number in range(nodes)]


def test_cpu_must_be_above_60_percent_for_five_minutes() -> None:
    fleet = settled(POLICY, 2)
    early = fleet.look_for(290, hot(72.0))
    assert {decision.desired for decision in early} == {2}
    late = fleet.look_for(30, hot(72.0))
    assert late[-1].desired == 3
    step = fleet.history.decisions[-1]
    assert step.trigger is Trigger.CPU
    assert step.reasons[0] == "CPU 72 % on 2 nodes, above 60 % in 100 % of the last 300 s; needs 3 nodes"


def test_cpu_needs_the_nodes_that_bring_the_mean_to_the_target() -> None:
    fleet = settled(POLICY, 4)
    fleet.look_for(320, hot(90.0, nodes=4))
    assert fleet.last is not None
    assert fleet.last.desired == 6


def test_one_sample_in_twenty_below_the_target_does_not_reset_the_clock() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(320, lambda second: hot(40.0 if second % 100 == 0 else 72.0))
    assert fleet.history.desired == 3


def test_a_spike_every_second_minute_is_not_sustained() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(1200, lambda second: hot(95.0 if second % 120 < 60 else 30.0))
    assert fleet.history.desired == 2


def test_a_paused_feed_counts_as_80_percent_because_pausing_lowers_cpu() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(320, [replace(one, feed_paused=True) for one in hot(35.0)])
    assert fleet.history.desired == 3


def test_young_nodes_neither_count_as_sustained_nor_reset_the_clock() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(600, [replace(one, pod_age_seconds=30) for one in hot(95.0)])
    assert fleet.history.desired == 2, "young nodes do not count"
    fleet = settled(POLICY, 2)
    fleet.look_for(150, hot(72.0))
    fleet.look_for(50, [replace(one, pod_age_seconds=30) for one in hot(5.0)])
    fleet.look_for(120, hot(72.0))
    assert fleet.history.desired == 3, "the clock ran on"


def test_a_cpu_step_is_not_repeated_while_the_new_node_starts() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(320, hot(72.0))
    assert fleet.history.desired == 3
    fleet.look_for(120, [*hot(72.0), pending("new")])
    fleet.look_for(60, [*hot(72.0), node("new", 0, 90.0, pod_age_seconds=20, ready_seconds=10)])
    assert fleet.history.desired == 3


def test_where_each_node_spends_the_target_on_the_feed_more_nodes_do_not_help() -> None:
    fleet = settled(POLICY, 2)
    fleet.fixed_percent = 65.0
    fleet.look_for(400, hot(80.0))
    assert fleet.history.desired == 2
    assert fleet.last is not None
    assert fleet.last.cpu_not_scalable


def test_the_fixed_part_of_cpu_does_not_divide() -> None:
    fleet = settled(POLICY, 2)
    fleet.fixed_percent = 40.0
    fleet.look_for(320, hot(72.0))
    assert fleet.history.desired == 4, "2 x (72 - 40) / (60 - 40) = 3.2"


def test_two_cpu_steps_without_gain_are_the_last() -> None:
    fleet = settled(POLICY, 2)
    sizes = []
    for _ in range(8):
        size = fleet.history.desired or 0
        fleet.look_for(400, [node(f"n{number}", 1200 // size, 80.0) for number in range(size)])
        sizes.append(fleet.history.desired)
    assert sizes == [3, 4, 4, 4, 4, 4, 4, 4]
    assert fleet.last is not None
    assert fleet.last.cpu_not_scalable
    assert fleet.last.held(HoldKind.CPU_NOT_SCALABLE)


def test_cpu_steps_go_on_while_each_brings_its_gain() -> None:
    fleet = settled(POLICY, 2)
    for load in (150.0, 220.0, 300.0, 400.0):
        size = fleet.history.desired or 0
        fleet.look_for(400, [node(f"n{number}", int(load), load / size) for number in range(size)])
        size = fleet.history.desired or 0
        fleet.look_for(400, [node(f"n{number}", int(load), load / size) for number in range(size)])
    assert fleet.history.desired == 7
    assert fleet.last is not None
    assert not fleet.last.cpu_not_scalable


def test_a_short_sustained_window_needs_more_than_one_sample() -> None:
    fleet = settled(replace(POLICY, cpu=CpuTrigger(sustained_seconds=10)), 2)
    assert fleet.look(*hot(80.0)).desired == 2
    assert fleet.look(*hot(80.0)).desired == 2
    fleet.look_for(10, hot(80.0))
    assert fleet.history.desired == 3


# Rejections


def rejecting(total: int, **more: object) -> NodeSample:
    return node("a", 100, 74.0, rejections={"cpu": total}, **more)


def test_clients_turned_away_for_cpu_again_and_again_bring_one_node_at_once() -> None:
    fleet = settled(POLICY, 1)
    decisions = fleet.look_for(60, lambda second: [rejecting(int(second))])
    step = next(decision for decision in decisions if decision.changes)
    assert (step.desired, step.trigger) == (2, Trigger.REJECTIONS)
    assert step.time - decisions[0].time == 35.0
    assert step.reasons[0].endswith("one more node at once")


def test_one_burst_of_rejections_is_not_repeated_ones() -> None:
    fleet = settled(POLICY, 1)
    fleet.look_for(120, lambda second: [rejecting(500 if second > 10 else 0)])
    assert fleet.history.desired == 1


def test_rejections_at_the_connection_limit_steer_and_do_not_scale() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(
        120, lambda second: [node("a", 10_000, rejections={"connections": int(second) * 9}), node("b", 0)]
    )
    assert fleet.history.desired == 2


def test_no_second_node_for_rejections_before_the_first_has_been_ready_for_a_while() -> None:
    fleet = settled(POLICY, 1)
    fleet.look_for(40, lambda second: [rejecting(int(second))])
    assert fleet.history.desired == 2
    base = 100
    fleet.look_for(120, lambda second: [rejecting(base + int(second)), pending("b")])
    assert fleet.history.desired == 2
    young = {"pod_age_seconds": 60.0, "ready_seconds": 30.0}
    fleet.look_for(30, lambda second: [rejecting(300 + int(second)), node("b", 5, 70.0, **young)])
    assert fleet.history.desired == 2
    assert fleet.last is not None
    assert fleet.last.held(HoldKind.SETTLING)
    grown = {"pod_age_seconds": 100.0, "ready_seconds": 70.0}
    fleet.look_for(30, lambda second: [rejecting(400 + int(second)), node("b", 5, 70.0, **grown)])
    assert fleet.history.desired == 3


def test_a_counter_that_starts_again_with_its_container_is_no_negative_number() -> None:
    fleet = settled(POLICY, 1)
    fleet.look(rejecting(5000))
    assert fleet.look(rejecting(3)).figures["rejectionsPerMinute"] == 3


# Missing figures


def test_a_missing_figure_is_not_zero_the_last_known_one_stands_in_for_60_seconds() -> None:
    fleet = settled(POLICY, 2)
    fleet.look(node("a", 7000), node("b", 9000))
    assert fleet.history.desired == 2
    for decision in fleet.look_for(55, [node("a", 7500), silent("b")]):
        assert decision.figures["connections"] == 16_500
    assert fleet.history.desired == 3
    fleet.look_for(10, [node("a", 7500), silent("b")])
    assert fleet.last is not None
    assert fleet.last.figures["connections"] == 7500
    assert fleet.history.desired == 3


def test_scale_out_is_not_blocked_by_nodes_that_give_no_figures() -> None:
    fleet = settled(POLICY, 4)
    decision = fleet.look(node("a", 20_000), node("b", 20_000), silent("c"), silent("d"))
    assert decision.desired == 5


def test_cpu_is_not_diluted_by_nodes_that_give_no_figures() -> None:
    fleet = settled(POLICY, 4)
    fleet.look_for(320, [*hot(66.0, nodes=2), silent("c"), silent("d")])
    assert fleet.history.desired == 5, "4 x 66 / 60 = 4.4"


@pytest.mark.parametrize("bad", [float("nan"), -5.0, float("inf")])
def test_figures_that_cannot_be_are_missing(bad: float) -> None:
    one = node("a", bad, bad)  # type: ignore[arg-type]
    assert one.connections is None
    assert one.cpu_percent is None
    assert settled(POLICY, 1).look(one).figures["missing"] == 1


def test_draining_nodes_are_part_of_the_total_because_their_clients_come_back() -> None:
    fleet = settled(POLICY, 2)
    decision = fleet.look(node("a", 7000), node("b", 5000), node("c", 5000, marked_seconds=9.0))
    assert decision.figures["connections"] == 17_000


# Pauses, surges, fixed sizes


def test_a_pause_shows_what_would_be_done_and_does_not_do_it() -> None:
    fleet = settled(replace(POLICY, paused=True), 1)
    decision = fleet.look(node("a", 9000))
    assert (decision.desired, decision.recommended) == (1, 2)
    assert decision.holds[-1].text == "scaling is paused; without that the fleet would have 2 nodes"


def test_a_pause_is_said_also_while_nothing_would_change() -> None:
    decision = settled(replace(POLICY, paused=True), 1).look(node("a", 10))
    assert [hold.text for hold in decision.holds] == [
        "scaling is paused; without that the size would be the same"
    ]


def test_a_paused_fleet_still_gets_its_first_node() -> None:
    assert Fleet(replace(POLICY, paused=True)).look().desired == 1


def test_the_gain_of_a_cpu_step_is_judged_by_the_part_that_divides() -> None:
    fleet = settled(POLICY, 2)
    fleet.fixed_percent = 55.0
    load = 36.0  # CPU % of all nodes beside the fixed 55 of each
    for _ in range(6):
        size = fleet.history.desired or 0
        fleet.look_for(400, [node(f"n{number}", 1200 // size, 55 + load / size) for number in range(size)])
    assert fleet.history.desired == 8, "36 / (60 - 55) = 7.2"
    assert fleet.last is not None
    assert not fleet.last.cpu_not_scalable


def test_a_pause_of_scale_in_lets_the_fleet_grow() -> None:
    assert settled(replace(POLICY, paused_scale_in=True), 1).look(node("a", 9000)).desired == 2
    assert settled(replace(POLICY, paused_scale_out=True), 1).look(node("a", 9000)).desired == 1


def test_the_surge_of_a_rollout_is_never_taken_for_the_size() -> None:
    fleet = Fleet(POLICY)
    nodes = [node("a", 8000), node("b", 8000), node("surge", 0)]
    for _ in range(100):
        decision = fleet.look(*nodes, replicas=3, rolling=True)
        assert (decision.current, decision.desired) == (2, 2)


def test_without_autoscaling_the_spec_says_the_size() -> None:
    policy = ScalingPolicy(max_connections=10_000, autoscaling=False, replicas=5)
    assert settled(policy, 2).look(node("a", 99_999)).desired == 5


def test_without_autoscaling_and_replicas_a_new_fleet_has_one_node_and_an_old_one_keeps_its_size() -> None:
    policy = ScalingPolicy(max_connections=10_000, autoscaling=False)
    assert Fleet(policy).look().desired == 1
    assert Fleet(policy).look(node("a"), node("b"), node("c")).desired == 3


def test_autoscaling_removed_does_not_move_the_running_count() -> None:
    fleet = settled(POLICY, 4)
    fleet.look_for(60, [node(f"n{number}", 7000) for number in range(4)])
    fleet.policy = ScalingPolicy(max_connections=10_000, autoscaling=False)
    assert fleet.look(*[node(f"n{number}", 0) for number in range(4)]).desired == 4
