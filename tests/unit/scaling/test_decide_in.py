"""Shrinking: late, one at a time, and never on what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.unit.scaling.fleet_script import Fleet, node, pending, settled, silent
from wsfleet.scaling import Decision, DrainState, HoldKind, NodeSample, Phase, ScalingPolicy, Trigger

POLICY = ScalingPolicy(max_connections=10_000, min_replicas=1, max_replicas=20)


def nodes(*connections: int, cpu: float = 10.0) -> list[NodeSample]:
    return [node(f"n{number}", each, cpu) for number, each in enumerate(connections)]


def last(decisions: Sequence[Decision]) -> Decision:
    return decisions[-1]


def test_a_quiet_fleet_gives_up_one_node_after_300_seconds_and_not_before() -> None:
    fleet = settled(POLICY, 3)
    decisions = fleet.look_for(420, nodes(100, 100, 100))
    step = next(decision for decision in decisions if decision.changes)
    assert (step.current, step.desired, step.trigger) == (3, 2, Trigger.LOW_LOAD)
    assert 300 <= step.time - decisions[0].time <= 305
    assert decisions[0].held(HoldKind.NOT_OBSERVED)


def test_only_one_node_at_a_time_while_the_step_is_carried_out() -> None:
    fleet = settled(POLICY, 4)
    assert {decision.desired for decision in fleet.look_for(900, nodes(9, 9, 9, 9))} == {4, 3}
    assert fleet.last is not None
    assert fleet.last.held(HoldKind.DRAIN)


def test_the_highest_recommendation_of_the_last_300_seconds_counts() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(600, nodes(4500, 4500))
    peak = fleet.now
    fleet.look(*nodes(4600, 4600))
    decisions = fleet.look_for(600, nodes(3300, 3300))
    step = next(decision for decision in decisions if decision.changes)
    assert 300 <= step.time - peak <= 365


def test_the_rest_must_stay_below_the_headroom() -> None:
    fleet = settled(POLICY, 2)
    held = last(fleet.look_for(900, nodes(3600, 3500)))
    assert held.desired == 2
    assert held.wish == 1
    assert [hold.text for hold in held.holds] == [
        "7,100 connections on 1 node would be above 70 % of 10,000 each"
    ]
    assert last(settled(POLICY, 2).look_for(400, nodes(3500, 3500))).desired == 1


def test_the_rest_must_stay_below_the_headroom_of_cpu_too() -> None:
    fleet = settled(POLICY, 2)
    held = last(fleet.look_for(900, nodes(100, 100, cpu=28.0)))
    assert held.desired == 2
    assert held.holds[0].text == "CPU on 1 node would be above 52 %"
    assert last(settled(POLICY, 2).look_for(400, nodes(100, 100, cpu=25.0))).desired == 1


def test_the_fixed_part_of_cpu_keeps_no_node_that_does_not_lower_it() -> None:
    fleet = settled(POLICY, 4)
    fleet.fixed_percent = 54.0
    decisions = fleet.look_for(900, nodes(100, 100, 100, 100, cpu=55.0))
    assert last(decisions).desired == 3, "54 + 4 / 3 is below 54 + (60 - 54) x 70 / 80"
    fleet = settled(POLICY, 4)
    fleet.fixed_percent = 54.0
    held = last(fleet.look_for(900, nodes(100, 100, 100, 100, cpu=58.0)))
    assert held.desired == 4
    assert held.holds[-1].text == "CPU on 3 nodes would be above 59 %"


def test_where_the_fixed_part_alone_is_the_target_cpu_keeps_no_node_for_ever() -> None:
    fleet = settled(POLICY, 4)
    fleet.fixed_percent = 62.0
    decisions = fleet.look_for(900, nodes(100, 100, 100, 100, cpu=63.0))
    step = next(decision for decision in decisions if decision.changes)
    assert (step.desired, step.trigger) == (3, Trigger.LOW_LOAD)
    texts = [hold.text for hold in step.holds]
    assert texts == [
        "CPU 63 % on 4 nodes, above 60 % in 100 % of the last 300 s; "
        "each node spends 62 % whatever it serves: more nodes do not help, and none is kept for it"
    ]
    assert any("none is kept for it" in reason for reason in step.reasons)


def test_what_its_clients_take_still_keeps_a_node_below_the_rejection_of_the_others() -> None:
    fleet = settled(POLICY, 2)
    fleet.fixed_percent = 62.0
    held = last(fleet.look_for(900, nodes(100, 100, cpu=68.0)))
    assert held.desired == 2, "62 + 2 x 6 is above 62 + (75 - 62) x 70 / 80"
    assert "CPU on 1 node would be above 73 %" in [hold.text for hold in held.holds]


def test_where_the_fixed_part_alone_has_clients_turned_away_the_connections_decide() -> None:
    fleet = settled(POLICY, 3)
    fleet.fixed_percent = 80.0
    assert last(fleet.look_for(900, nodes(100, 100, 100, cpu=90.0))).desired == 2


def test_never_during_a_rollout() -> None:
    fleet = settled(POLICY, 3)
    fleet.look_for(600, nodes(3000, 3000, 3000))
    decision = fleet.look(*nodes(1, 1, 1), replicas=4, rolling=True)
    assert decision.desired == fleet.history.desired
    assert decision.held(HoldKind.ROLLOUT) or decision.held(HoldKind.STABILIZATION)
    fleet = settled(POLICY, 3)
    for _ in range(200):
        decision = fleet.look(*nodes(1, 1, 1), replicas=4, rolling=True)
    assert decision.desired == 3
    assert decision.held(HoldKind.ROLLOUT)


def test_never_while_a_node_is_emptied_or_leaves() -> None:
    for leaving in (
        node("x", 5, drain=DrainState.CLOSING, ready=False),
        node("x", 5, marked_seconds=3.0),
        node("x", 5, phase=Phase.TERMINATING, terminating_seconds=9.0),
    ):
        decision = last(settled(POLICY, 3).look_for(900, [*nodes(1, 1), leaving]))
        assert decision.desired == 3
        assert decision.held(HoldKind.DRAIN)


def test_a_missing_figure_counts_as_a_full_node() -> None:
    fleet = settled(POLICY, 2)
    decision = last(fleet.look_for(900, [node("a", 100), silent("b")]))
    assert decision.desired == 2
    fleet = settled(POLICY, 4)
    decision = last(fleet.look_for(900, [*nodes(100, 100, 100), silent("b")]))
    assert decision.desired == 3, "one silent node of four, taken as full, leaves room enough"


def test_scale_in_is_held_while_more_than_one_or_a_tenth_are_missing() -> None:
    fleet = settled(POLICY, 12)
    quiet = [node(f"n{number}", 10) for number in range(10)]
    decision = last(fleet.look_for(900, [*quiet, silent("a"), silent("b")]))
    assert decision.desired == 12
    assert "2 of 12 nodes give no figures; more than 1 hold scale-in" in [
        hold.text for hold in decision.holds
    ]


def test_a_drop_of_the_total_that_is_not_ours_holds_scale_in_for_30_minutes() -> None:
    fleet = settled(POLICY, 3)
    fleet.look_for(600, nodes(7000, 7000, 7000))
    dropped = fleet.now
    decisions = fleet.look_for(2400, nodes(1000, 1000, 1000))
    step = next(decision for decision in decisions if decision.changes)
    assert 1800 <= step.time - dropped <= 1810
    assert decisions[100].held(HoldKind.OUTAGE)


def test_our_own_drain_is_no_outage() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(600, nodes(3000, 3000))
    empty = [node("a", 3000), node("n1", 0, marked_seconds=60.0, drain=DrainState.DRAINED, ready=False)]
    fleet.look(node("n0", 3000), node("n1", 3000, marked_seconds=5.0, drain=DrainState.CLOSING))
    fleet.look_for(60, [replace(empty[0], uid="n0"), empty[1]])
    assert fleet.history.outage_until is None


def test_a_node_that_falls_silent_is_no_outage() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(600, nodes(5000, 5000))
    fleet.look_for(300, [node("n0", 5000), silent("n1")])
    assert fleet.history.outage_until is None


def test_a_tiny_fall_is_no_outage() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(400, nodes(5, 5))
    fleet.look_for(60, nodes(1, 1))
    assert fleet.history.outage_until is None


def test_an_unschedulable_node_does_not_count_as_room_and_goes_without_headroom() -> None:
    fleet = settled(POLICY, 3)
    fleet.look_for(60, [*nodes(8200, 8200), pending("c", unschedulable=True)])
    assert fleet.history.desired == 3
    decision = last(fleet.look_for(500, [*nodes(6900, 6900), pending("c", unschedulable=True)]))
    assert decision.desired == 2


def test_max_replicas_below_the_size_is_the_users_wish() -> None:
    fleet = settled(replace(POLICY, max_replicas=2), 4)
    decision = fleet.look(*nodes(9000, 9000, 9000, 9000))
    assert (decision.desired, decision.trigger, decision.limited) == (
        2,
        Trigger.MAX_REPLICAS,
        Trigger.MAX_REPLICAS,
    )


def test_the_minimum_is_kept() -> None:
    decision = last(settled(replace(POLICY, min_replicas=2), 2).look_for(900, nodes(0, 0)))
    assert decision.desired == 2
    assert decision.limited is Trigger.MIN_REPLICAS


def test_a_fleet_never_scales_itself_to_nothing() -> None:
    assert last(settled(replace(POLICY, min_replicas=0), 1).look_for(900, nodes(0))).desired == 1


def test_a_pause_of_scale_in_keeps_the_size_and_says_so() -> None:
    decision = last(settled(replace(POLICY, paused_scale_in=True), 2).look_for(400, nodes(0, 0)))
    assert (decision.desired, decision.recommended) == (2, 1)
    assert decision.holds[-1].text == "scale-in is paused; without that the fleet would have 1 node"


def test_an_operator_that_was_away_for_long_watches_for_300_seconds_again() -> None:
    fleet = settled(POLICY, 2)
    fleet.look_for(290, nodes(1, 1))
    fleet.now += 600
    decisions = fleet.look_for(400, nodes(1, 1))
    assert decisions[0].held(HoldKind.NOT_OBSERVED)
    step = next(decision for decision in decisions if decision.changes)
    assert step.time - decisions[0].time >= 300


def test_a_new_node_that_has_not_answered_yet_is_starting_not_missing() -> None:
    fleet = settled(POLICY, 2)
    starting = silent("new", ready=False, ready_seconds=None, pod_age_seconds=20.0)
    decision = fleet.look(node("a", 100), starting)
    assert decision.figures["missing"] == 0
    assert decision.figures["capacity"] == 20_000


def test_clocks_that_go_back_forget_the_future_and_fail_nothing() -> None:
    fleet = Fleet(POLICY)
    fleet.look_for(400, nodes(9000))
    fleet.now -= 7200
    assert fleet.look(*nodes(9000, 100)).desired == 2


# Lost nodes


def lost(uid: str, seconds: float, **more: object) -> NodeSample:
    """A node that served, and has not been ready for so long."""
    return node(uid, 5000, 10.0, ready=False, unready_seconds=seconds, been_ready=True, **more)


def test_a_node_that_is_not_ready_for_a_minute_gets_another_in_its_place() -> None:
    fleet = settled(POLICY, 3)
    serving = nodes(7000, 7000)
    assert fleet.look(*serving, lost("c", 59.0)).desired == 3
    decision = fleet.look(*serving, lost("c", 61.0))
    assert (decision.desired, decision.trigger) == (4, Trigger.NODE_LOSS)
    assert decision.reasons[0] == (
        "1 node (c) has not been ready for more than 60 s; with others in place of it 4 nodes"
    )
    assert last(fleet.look_for(600, [*serving, lost("c", 90.0), node("d", 0)])).desired == 4, "only once"


def test_the_minimum_counts_nodes_that_serve() -> None:
    fleet = settled(replace(POLICY, min_replicas=3), 3)
    assert fleet.look(*nodes(100, 100), lost("c", 61.0)).desired == 4


def test_when_the_lost_node_is_back_or_gone_the_fleet_shrinks_as_ever() -> None:
    fleet = settled(POLICY, 3)
    fleet.look(*nodes(7000, 7000), lost("c", 61.0))
    decisions = fleet.look_for(900, nodes(5000, 5000, 5000, 5000))
    assert last(decisions).desired == 3
    assert not any(decision.held(HoldKind.REGRET) for decision in decisions)
    assert fleet.history.regretted is None


def test_no_replacement_is_asked_for_where_more_than_single_nodes_are_lost() -> None:
    serving = nodes(7000, 7000)
    assert settled(POLICY, 4).look(*serving, lost("c", 61.0), lost("d", 61.0)).desired == 5
    fleet = settled(POLICY, 5)
    assert fleet.look(*serving, *(lost(uid, 61.0) for uid in "cde")).desired == 5
    outage = settled(POLICY, 3)
    outage.history = replace(outage.history, outage_until=outage.now + 600)
    assert outage.look(*nodes(7000, 7000), lost("c", 61.0)).desired == 3


def test_nodes_that_start_drain_or_leave_are_not_lost() -> None:
    for other in (
        lost("c", 90.0, marked_seconds=5.0),
        lost("c", 90.0, drain=DrainState.CLOSING),
        lost("c", 90.0, phase=Phase.TERMINATING, terminating_seconds=5.0),
        replace(lost("c", 90.0), been_ready=False),
        pending("c"),
        node("c", 5000),
    ):
        assert settled(POLICY, 3).look(*nodes(7000, 7000), other, replicas=3).desired == 3
