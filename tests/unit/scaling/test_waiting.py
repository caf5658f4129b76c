"""Clients that full nodes turned away count: the connections of a full fleet do not tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

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
    # 2 x 10,000 connected ask for 3; 18,000 tries are 9,000 that wait: 29,000 at 8,000 each are 4.
    found = looks([(10_000, 500), (10_000, 500)], [(10_000, 9_500), (10_000, 9_500)])
    assert (found.desired, found.trigger) == (4, Trigger.WAITING)
    assert "full nodes turned clients away 18,000 times in 15 s" in found.reasons[0]
    assert "20,000 connections, 9,000 that wait and 0 to come need 4 nodes" in found.reasons[0]


def test_a_rise_is_taken_to_go_on() -> None:
    # From 8,000 to 16,000 in 5 s, so 32,000 more in 20 s, of which as many as are connected count.
    found = looks([(4_000, 0), (4_000, 0)], [(8_000, 3), (8_000, 3)])
    assert found.figures["neededByWaitingClients"] == 5  # 16,000 + 3 + 16,000


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
    still = [[(10_000, 9_000), (10_000, 9_000)]] * 3
    calm = replace(POLICY, max_replicas=2)
    assert looks(*full, *still[:2], policy=calm).wish == 4
    assert looks(*full, *still, policy=calm).wish == 3
