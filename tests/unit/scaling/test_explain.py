"""Why a fleet has its size, in sentences."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.scaling.fleet_script import Fleet, node, settled
from wsfleet.api import WsFleetStatus
from wsfleet.scaling import ScalingPolicy, explain, scaling_conditions

POLICY = ScalingPolicy(max_connections=10_000, max_replicas=20)


def status_of(fleet: Fleet, connections: int, ready: int) -> WsFleetStatus:
    assert fleet.last is not None
    conditions = [
        {
            "type": one.type,
            "status": str(one.status),
            "reason": one.reason,
            "message": one.message,
            "lastTransitionTime": "2027-01-15T08:00:00Z",
        }
        for one in scaling_conditions(fleet.last)
    ]
    return WsFleetStatus.model_validate(
        {
            "desiredReplicas": fleet.last.desired,
            "readyReplicas": ready,
            "connections": connections,
            "capacity": ready * 10_000,
            "cpuPercent": 10.2,
            "scaling": fleet.history.decisions_to_status(),
            "holds": [hold.text for hold in fleet.last.holds],
            "conditions": conditions,
        }
    )


def test_a_fleet_that_grew_and_is_kept() -> None:
    fleet = settled(POLICY, 1)
    fleet.look(node("a", 9000))
    fleet.look_for(60, [node("a", 7000), node("b", 100)])
    assert explain(status_of(fleet, 7100, 2), fleet.now) == (
        "2 nodes are wanted, 2 are ready.",
        "The load is 7,100 connections of 20,000 (36 %), CPU 10 %.",
        "What keeps it at this size now:",
        "  - the last 300 s may have needed 2 nodes, silent nodes taken as full.",
        "Last decisions, newest first:",
        "  2027-01-15 08:00:00 UTC (1 min ago): grew from 1 to 2 nodes, for its connections: "
        "9,000 connections need 2 nodes at 80 % of 10,000 each.",
    )


def test_a_pause() -> None:
    fleet = settled(replace(POLICY, paused=True), 1)
    fleet.look(node("a", 9000))
    lines = explain(status_of(fleet, 9000, 1), fleet.now)
    held = "scaling is paused; without that the fleet would have 2 nodes"
    assert f"Not scaling by itself (Paused): {held}." in lines
    assert f"  - {held}." in lines
    assert lines[-1] == "The size has not changed since the operator began to watch."


def test_a_bound_that_limits() -> None:
    fleet = settled(replace(POLICY, max_replicas=2), 2)
    fleet.look(node("a", 9999), node("b", 9999))
    lines = explain(status_of(fleet, 19_998, 2), fleet.now)
    assert "Limited (MaxReplicas): the load asks for 3 nodes, maxReplicas allows 2." in lines


def test_a_fleet_that_nobody_has_looked_at() -> None:
    assert explain(WsFleetStatus(), 0.0)[0] == "No decision has been made yet."


def test_a_decision_of_another_release_is_told_as_well() -> None:
    status = WsFleetStatus.model_validate(
        {
            "desiredReplicas": 2,
            "scaling": [{"time": "2027-01-15T05:00:00Z", "from": 3, "to": 2, "trigger": "Weather"}],
        }
    )
    assert explain(status, 1_800_000_000.0)[-1] == (
        "  2027-01-15 05:00:00 UTC (3 h 0 min ago): shrank from 3 to 2 nodes, by the rule Weather."
    )


def test_a_fleet_whose_cpu_no_number_of_nodes_lowers_shrinks_and_says_so() -> None:
    fleet = settled(POLICY, 3)
    fleet.fixed_percent = 62.0
    fleet.look_for(400, [node(name, 100, 63.0) for name in "abc"])
    lines = explain(status_of(fleet, 300, 3), fleet.now)
    (decision,) = [line for line in lines if "shrank from 3 to 2 nodes, because the load is low" in line]
    assert "each node spends 62 % whatever it serves: more nodes do not help" in decision


def test_a_lost_node() -> None:
    fleet = settled(POLICY, 3)
    dead = node("c", 0, ready=False, unready_seconds=70.0, been_ready=True)
    fleet.look(node("a", 9000), node("b", 9000), dead)
    lines = explain(status_of(fleet, 18_000, 2), fleet.now)
    told = "grew from 3 to 4 nodes, in place of nodes that are lost: 1 node (c) has not been ready"
    assert any(told in line for line in lines)
