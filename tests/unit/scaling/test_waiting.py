"""Clients that full nodes turned away count: the connections of a full fleet do not tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsfleet.scaling import Decision, History, NodeSample, ScalingPolicy, Snapshot, Trigger, decide
from wsfleet.scaling.policy import GrowthTrigger

NOW = 1_800_000_000.0
POLICY = ScalingPolicy(max_connections=10_000, max_replicas=100, growth=GrowthTrigger(enabled=False))


def node(number: int, connections: int, turned_away: int | None) -> NodeSample:
    return NodeSample(
        uid=f"u{number}",
        name=f"p{number}",
        shape="a",
        ready=True,
        ready_seconds=900.0,
        connections=connections,
        cpu_percent=20.0,
        rejections={} if turned_away is None else {"connections": turned_away, "cpu": 0},
        sample_age_seconds=0.0,
        pod_age_seconds=900.0,
    )


def looks(*fleets: Sequence[tuple[int, int | None]], policy: ScalingPolicy = POLICY) -> Decision:
    """The last of several looks, 5 s apart, at nodes with (connections, clients turned away so far)."""
    history, decision = History(), None
    for number, fleet in enumerate(fleets):
        now = NOW + 5 * number
        nodes = [node(at, *one) for at, one in enumerate(fleet)]
        decision, history = decide(policy, Snapshot.of(now, nodes, len(nodes)), history, now)
        history = History.from_status(history.to_status())  # as after a restart: nothing is lost
    assert decision is not None
    return decision


def test_a_full_fleet_grows_by_those_who_wait() -> None:
    # 2 x 10,000 connected ask for 3; with 9,000 that wait they are 29,000, and have risen by 9,000 in 5 s: in
    # 20 s by more than are connected, so that 40,000 in all are reckoned with, at 8,000 each.
    found = looks([(10_000, 500), (10_000, 500)], [(10_000, 5_000), (10_000, 5_000)])
    assert (found.desired, found.trigger) == (5, Trigger.WAITING)
    assert "full nodes turned clients away 9,000 times in 10 s" in found.reasons[0]
    assert "20,000 connections, 9,000 that wait and 11,000 to come need 5 nodes" in found.reasons[0]


def test_a_crowd_that_is_being_let_in_rises_no_more() -> None:
    # 20,000 and 9,000 that wait; a new node takes them, and one more is turned away.
    full = [(10_000, 0), (10_000, 0)], *[[(10_000, 4_500), (10_000, 4_500)]] * 2
    coming = [[(10_000, 4_500), (10_000, 4_500), (each, 0)] for each in (3_000, 6_000)]
    found = looks(*full, *coming, [(10_000, 4_500), (10_000, 4_501), (9_000, 0)])
    assert found.wish == 4
    assert "neededByWaitingClients" not in found.figures


def test_a_rise_is_taken_to_go_on() -> None:
    # From 8,000 to 16,000 in 5 s, so 32,000 more in 20 s, of which with the 6 that wait as many as are
    # connected count.
    found = looks([(4_000, 0), (4_000, 0)], [(8_000, 3), (8_000, 3)])
    assert found.figures["neededByWaitingClients"] == 4
    assert "16,000 connections, 6 that wait and 15,994 to come need 4 nodes" in found.reasons[0]


def test_those_who_wait_and_the_rise_are_the_same_clients_where_a_crowd_is_let_in() -> None:
    # 60,000 tries are at most as many clients as are connected, and then there is no rise beside them.
    found = looks([(10_000, 0), (10_000, 0)], [(15_000, 30_000), (15_000, 30_000)])
    assert found.figures["neededByWaitingClients"] == 8


def test_who_comes_back_after_an_outage_counts_no_more_than_were_there() -> None:
    # 200,000 on 25 nodes; the ingress is out, then all come back, and most are sent to the same six nodes.
    before, out = [(8_000, 0)] * 25, [(0, 0)] * 25
    back = [(10_000, 40_000)] * 6 + [(3_000, 0)] * 19
    found = looks(before, out, out, back)
    assert found.figures["neededByWaitingClients"] == 25
    assert not found.changes


def test_more_than_were_there_before_an_outage_are_new_clients() -> None:
    # 19,800 and 10,000 that wait are 13,800 more than before the outage, 10 s ago: 39,600 are reckoned with.
    found = looks([(8_000, 0)] * 2, [(0, 0)] * 2, [(9_900, 5_000)] * 2)
    assert found.desired == 5


def test_clients_that_are_counted_twice_are_no_rise() -> None:
    # One of three nodes fell silent, and 4,000 of its clients are on the others by now: 28,000 in all.
    whole = [node(number, 8_000, 0) for number in range(3)]
    _, history = decide(POLICY, Snapshot.of(NOW, whole, 3), History(), NOW)
    late = replace(whole[2], sample_age_seconds=6.0)
    seen = [node(0, 10_000, 40), node(1, 10_000, 60), late]
    found, _ = decide(POLICY, Snapshot.of(NOW + 5, seen, 3), history, NOW + 5)
    assert found.figures["neededByConnections"] == 4
    assert "neededByWaitingClients" not in found.figures


@settings(max_examples=60, deadline=None)
@given(st.integers(500, 10_000), st.integers(0, 10_000), st.integers(0, 1_000_000))
def test_however_often_clients_try_they_count_within_bounds(before: int, back: int, tries: int) -> None:
    found = looks([(before, 0)] * 4, [(0, 0)] * 4, [(0, 0)] * 4, [(back, tries)] * 4)
    asked = found.figures.get("neededByWaitingClients", 0)
    assert asked <= -(-2 * 4 * back // 8_000)
    if back < before:
        assert asked <= -(-4 * before // 8_000)


def test_lost_nodes_are_no_room_for_those_who_wait() -> None:
    whole = [node(number, 8_000, 0) for number in range(4)]
    _, history = decide(POLICY, Snapshot.of(NOW, whole, 4), History(), NOW)
    gone = {"ready": False, "ready_seconds": None, "unready_seconds": 25.0, "sample_age_seconds": 70.0}
    left = [node(number, 10_000, 4_500) for number in range(2)]
    seen = [*left, *(replace(one, **gone) for one in whole[2:])]  # type: ignore[arg-type]
    found, _ = decide(POLICY, Snapshot.of(NOW + 70, seen, 4), history, NOW + 70)
    # 20,000 and 9,000 that wait need 4 nodes, beside the 2 that only Kubernetes still counts.
    assert (found.desired, found.trigger) == (6, Trigger.WAITING)
    assert "need 6 nodes, of which 2 no longer serve" in found.reasons[0]


def test_without_refusals_a_rise_is_growths_affair() -> None:
    found = looks([(4_000, 0), (4_000, 0)], [(8_000, 0), (8_000, 0)])
    assert "neededByWaitingClients" not in found.figures


def test_one_full_node_among_emptier_ones_asks_for_nothing() -> None:
    quiet, loud = [(10_000, 0), (2_000, 0), (2_000, 0)], [(10_000, 900), (2_000, 0), (2_000, 0)]
    assert not looks(quiet, loud).changes


def test_those_who_wait_count_at_most_as_those_who_are_there() -> None:
    found = looks([(10_000, 0)], [(10_000, 1_000_000)])
    assert found.figures["neededByWaitingClients"] == 3  # 20,000


@pytest.mark.parametrize("first", [None, 0, 50_000])
def test_a_first_figure_and_a_counter_that_began_anew_are_no_flood(first: int | None) -> None:
    found = looks([(8_000, first), (7_900, 0)], [(8_000, 3), (7_900, 0)])
    assert not found.changes


def test_it_ends_with_the_refusals() -> None:
    full = [(10_000, 0), (10_000, 0)], [(10_000, 9_000), (10_000, 9_000)]
    still = [[(10_000, 9_000), (10_000, 9_000)]] * 2
    calm = replace(POLICY, max_replicas=2)
    assert looks(*full, *still[:1], policy=calm).wish == 5
    assert looks(*full, *still[:2], policy=calm).wish == 3
