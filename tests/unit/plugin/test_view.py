"""A fleet as a value: what programs get, what holds it, and what is left out where data is odd."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fleets import fleet_document
from tests.support.seen_fleets import OLD_SHAPE, ago, condition, node_status, seen_fleet, seen_pod
from tests.unit.plugin.test_nodes import ODD
from wsfleet.plugin.nodes import nodes_from
from wsfleet.plugin.sorting import sorted_fleets, sorted_nodes
from wsfleet.plugin.view import FleetView, view_of
from wsfleet.scrape import parse_status

NOW = 1_764_000_000.0


def seen(*pods: dict[str, Any], **status: Any) -> FleetView:
    answers: Any = {pod["metadata"]["uid"]: parse_status(node_status(), 0.0) for pod in pods}
    return view_of(seen_fleet(now=NOW, **status), nodes_from(pods, answers, NOW), NOW)


def test_what_a_program_gets_of_a_fleet_keeps_its_fields() -> None:
    conditions = [condition("Ready", "True", "AllNodesReady", "2 of 2 nodes are ready", now=NOW)]
    assert seen(conditions=conditions).to_dict() == {
        "schema": "wsfleet.io/status/v1",
        "name": "odin",
        "namespace": "games",
        "phase": "Running",
        "ageSeconds": 259200,
        "generation": 3,
        "observedGeneration": 3,
        "nodes": {"ready": 2, "present": 2, "desired": 2},
        "connections": {"current": 8123, "capacity": 20000, "percent": 40.6},
        "cpuPercent": 12.4,
        "image": "registry.example/wsnode:1",
        "shape": "6f7d9c8b5d",
        "paused": {"scaling": False, "scaleIn": False, "scaleOut": False, "bySpec": False},
        "holds": [],
        "rebalance": None,
        "rollout": {"rolling": False, "newNodes": 0, "newReady": 0, "oldNodes": 0, "message": ""},
        "settings": {
            "inForce": 2,
            "hash": "abc123",
            "refused": None,
            "values": {"WS_MAX_CONNECTIONS": "10000", "WS_CPU_REJECT_THRESHOLD": "75.0"},
            "notes": ["one worker a core"],
        },
        "recommendation": None,
        "lastDecision": {
            "time": ago(180, NOW),
            "from": 1,
            "to": 2,
            "trigger": "Connections",
            "reasons": ["8,123 connections need 2 nodes at 80 % of 10,000"],
            "holds": [],
            "figures": {"connections": 8123.0, "targetPercent": 80.0},
        },
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AllNodesReady",
                "message": "2 of 2 nodes are ready",
                "sinceSeconds": 300,
            }
        ],
        "pods": [],
        "remarks": [],
    }


def test_a_fleet_that_no_operator_has_seen_has_all_fields_and_no_figures() -> None:
    told = view_of(fleet_document(), None, NOW).to_dict()
    assert told.keys() == seen().to_dict().keys()
    assert told["nodes"] == {"ready": None, "present": None, "desired": None}
    assert told["connections"] == {"current": None, "capacity": None, "percent": None}
    assert (told["phase"], told["lastDecision"], told["conditions"], told["pods"]) == (None, None, [], None)


def test_figures_that_can_not_be_are_left_out() -> None:
    view = seen(
        connections=math.nan,
        capacity=-5,
        replicas=10**400,
        cpuPercent=math.inf,
        readyReplicas="two",
        scaling="x",
    )
    assert (view.connections, view.capacity, view.cpu_percent, view.ready) == (None, None, None, None)
    assert view.decisions == ()
    json.dumps(view.to_dict(), allow_nan=False)


@given(ODD, ODD, ODD)
def test_nothing_odd_in_a_status_breaks_it(status: Any, inner: Any, spec: Any) -> None:
    fleets: list[Any] = [
        {"metadata": {"name": "odin"}, "spec": spec, "status": status},
        {"metadata": inner, "status": {"conditions": [inner], "scaling": [inner], "nodeSettings": inner}},
    ]
    for fleet in fleets:
        json.dumps(view_of(fleet, None, NOW).to_dict(), allow_nan=False)


def test_how_far_a_rollout_is() -> None:
    message = "waiting for odin-x to be ready"
    view = seen(
        seen_pod("aaaaa"),
        seen_pod("bbbbb", ready=False),
        seen_pod("ccccc", shape=OLD_SHAPE),
        seen_pod("ddddd", shape=OLD_SHAPE, terminating=True),
        phase="RollingOut",
        conditions=[condition("Progressing", "True", "Moving", message, now=NOW)],
    )
    assert view.rollout.to_dict() == {
        "rolling": True,
        "newNodes": 2,
        "newReady": 1,
        "oldNodes": 1,
        "message": message,
    }


def test_what_holds_a_fleet_is_said_in_order_and_once() -> None:
    fleet = seen_fleet(
        now=NOW,
        annotations={"wsfleet.io/paused-scale-in": "true", "wsfleet.io/paused": "no"},
        conditions=[
            condition("ScalingActive", "False", "Paused", "scale-in is paused; it would have 1 node"),
            condition("ScalingLimited", "True", "MaxReplicas", "the load asks for 5, maxReplicas allows 2"),
            condition("Stalled", "True", "DeadlineExceeded", "odin-x is not ready after 600 s"),
        ],
    )
    assert view_of(fleet, None, NOW).holds == (
        "scale-in is paused by the annotation wsfleet.io/paused-scale-in",
        "odin-x is not ready after 600 s",
        "scale-in is paused; it would have 1 node",
        "the load asks for 5, maxReplicas allows 2",
    )
    fleet["spec"]["autoscaling"] = {"paused": True, "maxReplicas": 3}
    assert view_of(fleet, None, NOW).holds[0] == "scaling is paused by spec.autoscaling.paused"


def test_what_the_operator_itself_says_of_its_holds_is_taken() -> None:
    active = condition("ScalingActive", "True", "Stabilization", "in short")
    assert seen(conditions=[active]).holds == ("in short",)
    holds = ["2 nodes are kept for 120 s more", "no drain while a rollout is under way"]
    assert seen(conditions=[active], holds=holds).holds == tuple(holds)
    assert seen(conditions=[active], holds=[]).holds == ()


@pytest.mark.parametrize("reason", ["FiguresComplete", "AutoscalingAbsent"])
def test_a_fleet_that_follows_its_load_is_held_by_nothing(reason: str) -> None:
    active = condition("ScalingActive", "True", reason, "8,123 connections need 2 nodes")
    assert seen(conditions=[active]).holds == ()


def test_nodes_and_fleets_are_sorted_and_the_unknown_come_last() -> None:
    pods = [seen_pod(end, now=NOW, age=age) for end, age in (("aaaaa", 10), ("bbbbb", 30), ("ccccc", 20))]
    told = {"aaaaa": node_status(5, cpu={"percent": 9.0}), "bbbbb": node_status(7, cpu={"percent": 1.0})}
    answers: Any = {
        pod["metadata"]["uid"]: parse_status(told.get(pod["metadata"]["name"][-5:]), 0.0) for pod in pods
    }
    view = view_of(seen_fleet(now=NOW), nodes_from(pods, answers, NOW), NOW)

    def order(by: str) -> str:
        return " ".join(node.pod[-5:-4] for node in sorted_nodes(view, by).nodes or ())

    assert {by: order(by) for by in ("connections", "cpu", "name", "age")} == {
        "connections": "b a c",
        "cpu": "a b c",
        "name": "a b c",
        "age": "a c b",
    }
    small = view_of(seen_fleet("abba", connections=1), None, NOW)
    unseen = view_of(fleet_document("zappa"), None, NOW)
    assert [one.name for one in sorted_fleets([unseen, small, view], "connections")] == [
        "odin",
        "abba",
        "zappa",
    ]


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=5))
def test_connections_now_are_the_sum_of_what_the_nodes_tell(connections: list[int]) -> None:
    pods = [seen_pod(f"{number:05}") for number in range(len(connections))]
    answers: Any = {
        pod["metadata"]["uid"]: parse_status(node_status(number), 0.0)
        for pod, number in zip(pods, connections, strict=True)
    }
    assert view_of(seen_fleet(), nodes_from(pods, answers, NOW), NOW).now_connections == sum(connections)
    assert view_of(seen_fleet(), None, NOW).now_connections == 8123
