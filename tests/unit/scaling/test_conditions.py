"""Conditions in words that a person understands."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.scaling.fleet_script import node, settled, silent
from wsfleet.scaling import Idle, ScalingPolicy, Stalled, Wait, progress_conditions, scaling_conditions
from wsfleet.scaling.conditions import decision_text

POLICY = ScalingPolicy(max_connections=10_000, max_replicas=2)


def test_a_fleet_that_follows_its_load() -> None:
    active, limited = scaling_conditions(settled(POLICY, 1).look(node("a", 5)))
    assert (active.type, active.status, active.reason) == ("ScalingActive", True, "FiguresComplete")
    assert active.message == "5 connections need 1 node at 80 % of 10,000 each"
    assert (limited.type, limited.status, limited.reason) == ("ScalingLimited", False, "WithinBounds")


def test_a_maximum_that_cuts_the_wish() -> None:
    _, limited = scaling_conditions(settled(POLICY, 2).look(node("a", 20_000)))
    assert (limited.status, limited.reason) == (True, "MaxReplicas")
    assert limited.message == "the load asks for 3 nodes, maxReplicas allows 2"


def test_a_pause() -> None:
    active, _ = scaling_conditions(settled(replace(POLICY, paused=True), 1).look(node("a", 9000)))
    assert (active.status, active.reason) == (False, "Paused")


def test_missing_figures() -> None:
    active, _ = scaling_conditions(settled(POLICY, 1).look(silent("a")))
    assert (active.status, active.reason) == (True, "FiguresMissing")
    assert active.message == "1 of 1 node gives no figures; silent nodes count as full"


def test_a_size_kept_after_an_outage() -> None:
    fleet = settled(replace(POLICY, max_replicas=9), 2)
    fleet.look_for(600, [node("a", 7000), node("b", 7000)])
    fleet.look_for(60, [node("a", 0), node("b", 0)])
    assert fleet.last is not None
    active, _ = scaling_conditions(fleet.last)
    assert (active.status, active.reason) == (True, "ConnectionsDropped")
    assert active.message == (
        "0 connections need 1 node at 80 % of 10,000 each; connections dropped and not by our own closes; "
        "clients may come back at once, so no node goes for about 30 min; "
        "the last 300 s may have needed 2 nodes, silent nodes taken as full"
    )
    fleet.look_for(300, [node("a", 0), node("b", 0)])
    active, _ = scaling_conditions(fleet.last)
    assert (active.status, active.reason) == (True, "ConnectionsDropped")
    assert active.message == (
        "0 connections need 1 node at 80 % of 10,000 each; at most 1 node asked for in the last 300 s; "
        "connections dropped and not by our own closes; "
        "clients may come back at once, so no node goes for about 25 min"
    )


def test_cpu_that_does_not_divide() -> None:
    fleet = settled(replace(POLICY, max_replicas=9), 1)
    fleet.fixed_percent = 70.0
    fleet.look_for(330, [node("a", 5, 80.0)])
    assert fleet.last is not None
    active, limited = scaling_conditions(fleet.last)
    assert (active.status, active.reason) == (True, "CPUNotScalable")
    assert (limited.status, limited.reason) == (True, "CPUNotScalable")
    assert "each node spends 70 % whatever it serves" in limited.message


def test_without_autoscaling() -> None:
    policy = ScalingPolicy(max_connections=10_000, autoscaling=False, replicas=2)
    active, _ = scaling_conditions(settled(policy, 2).look(node("a"), node("b")))
    assert (active.status, active.reason) == (False, "AutoscalingAbsent")
    assert active.message == "spec.replicas is 2"


def test_progress() -> None:
    assert [(one.type, one.status) for one in progress_conditions(Wait(reason="x"))] == [
        ("Progressing", True),
        ("Reconciling", True),
        ("Stalled", False),
    ]
    assert [one.status for one in progress_conditions(Idle())] == [False, False, False]
    stalled = progress_conditions(Stalled(reason="surge has been waited for 700 s"))
    assert [one.status for one in stalled] == [False, False, True]
    assert stalled[2].message == "surge has been waited for 700 s"


def test_a_decision_in_one_line() -> None:
    text = decision_text(settled(POLICY, 1).look(node("a", 8001)))
    assert text == "1 -> 2 nodes (Connections): 8,001 connections need 2 nodes at 80 % of 10,000 each"
