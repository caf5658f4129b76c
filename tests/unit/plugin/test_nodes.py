"""A node's state in words, from its pod and its own figures, whatever is missing or odd in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.seen_fleets import node_status, seen_pod
from wsfleet.kube.errors import ForbiddenError
from wsfleet.plugin.nodes import node_from, nodes_from, silent
from wsfleet.scrape import NodeFigures, ScrapeError, parse_status

NOW = 1_764_000_000.0


def figures(*arguments: Any, **more: Any) -> NodeFigures:
    return parse_status(node_status(*arguments, **more), 0.0)


def waiting(pod: dict[str, Any], reason: str) -> dict[str, Any]:
    pod["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": reason}}}]
    return pod


def unschedulable() -> dict[str, Any]:
    pod = seen_pod(phase="Pending", ready=False, now=NOW)
    pod["status"]["conditions"].append({"type": "PodScheduled", "reason": "Unschedulable"})
    return pod


@pytest.mark.parametrize(
    ("pod", "answer", "state"),
    [
        (seen_pod(), figures(), "serving"),
        (seen_pod(serving=False), figures(), "steered away"),
        (seen_pod(serving=False), figures(shed={"remaining": 1500}), "shedding (1,500 left)"),
        (seen_pod(serving=False), figures(120, "closing", 118), "draining (118 left)"),
        (seen_pod(serving=False), figures(120, "delay", 120), "draining soon (120 left)"),
        (seen_pod(serving=False), figures(0, "drained", 0), "drained"),
        (seen_pod(terminating=True), figures(7, "closing", 7), "terminating (7 left)"),
        (seen_pod(terminating=True), None, "terminating"),
        (seen_pod(ready=False), figures(), "not ready"),
        (seen_pod(phase="Pending", ready=False), None, "starting"),
        (unschedulable(), None, "unschedulable"),
        (waiting(seen_pod(phase="Pending"), "ImagePullBackOff"), None, "ImagePullBackOff"),
        (waiting(seen_pod(phase="Pending"), "ContainerCreating"), None, "starting"),
        (waiting(seen_pod(ready=False), "CrashLoopBackOff"), None, "CrashLoopBackOff"),
        (seen_pod(annotations={"wsfleet.io/replace": "2026-01-01T00:00:00Z"}), figures(), "to be replaced"),
        (seen_pod(annotations={"wsfleet.io/victim": "2026-01-01T00:00:00Z"}), figures(), "chosen to go"),
        (seen_pod(), figures(feed={"connected": False}), "serving, without NATS"),
        (seen_pod(), figures(feed={"connected": True, "paused": True}), "serving, feed paused"),
    ],
)
def test_the_state_says_what_matters_most(pod: dict[str, Any], answer: Any, state: str) -> None:
    assert node_from(pod, answer, NOW).state == state


def test_what_a_program_gets_of_a_node() -> None:
    assert node_from(seen_pod(now=NOW, age=90), figures(), NOW).to_dict() == {
        "pod": "odin-6f7d9c8b5d-aaaaa",
        "shape": "6f7d9c8b5d",
        "machine": "machine-1",
        "state": "serving",
        "ready": True,
        "serving": True,
        "leaving": False,
        "connections": 4000,
        "maxConnections": 10000,
        "cpuPercent": 12.4,
        "memoryBytes": 314572800,
        "version": "0.1.0",
        "settingsHash": "abc123",
        "ageSeconds": 90,
        "silence": None,
    }


def test_a_node_without_figures_says_why() -> None:
    refused = ScrapeError("forbidden")
    refused.__cause__ = ForbiddenError("GET /", 403, "no")
    causes = {
        "no answer in time": None,
        "connection refused": ScrapeError("connection\nrefused"),
        "you may not get pods/proxy": refused,
    }
    for silence, answer in causes.items():
        node = node_from(seen_pod(), answer, NOW)
        assert (node.silence, node.connections, node.state) == (silence, None, "serving")
    assert node_from(seen_pod(phase="Pending"), None, NOW).silence is None


def test_the_silent_are_counted_and_the_first_is_named() -> None:
    pods = [seen_pod("aaaaa"), seen_pod("bbbbb"), seen_pod("ccccc")]
    spoke = {pods[1]["metadata"]["uid"]: figures()}
    nodes = nodes_from(pods, {**spoke, pods[0]["metadata"]["uid"]: ScrapeError("HTTP 500")}, NOW)
    assert silent(nodes) == "no figures from 2 nodes; odin-6f7d9c8b5d-aaaaa: HTTP 500"
    assert silent(nodes[1:2]) is None


def test_where_no_ready_node_can_be_reached_the_network_policy_is_named() -> None:
    pods = [seen_pod("aaaaa"), seen_pod("bbbbb", ready=False)]
    assert silent(nodes_from(pods, {}, NOW)) == (
        "no figures from 2 nodes; odin-6f7d9c8b5d-aaaaa: no answer in time; "
        "does their NetworkPolicy let the API server in (the chart's networkPolicy.adminPeers)?"
    )
    refused = ScrapeError("forbidden")
    refused.__cause__ = ForbiddenError("GET /", 403, "no")
    answers = {pod["metadata"]["uid"]: refused for pod in pods}
    assert silent(nodes_from(pods, {**answers}, NOW)) == (
        "no figures from 2 nodes; odin-6f7d9c8b5d-aaaaa: you may not get pods/proxy"
    )


def test_pods_that_have_ended_are_left_out_and_the_rest_is_in_the_order_of_names() -> None:
    pods = [seen_pod("ccccc"), seen_pod("bbbbb", phase="Failed"), seen_pod("aaaaa")]
    assert [node.pod[-5:] for node in nodes_from(pods, {}, NOW)] == ["aaaaa", "ccccc"]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(metadata=ODD, spec=ODD, status=ODD, conditions=ODD, answer=ODD)
def test_nothing_odd_in_a_pod_or_an_answer_breaks_it(
    metadata: Any, spec: Any, status: Any, conditions: Any, answer: Any
) -> None:
    pods: list[Any] = [
        {"metadata": metadata, "spec": spec, "status": status},
        {"metadata": {"name": "a"}, "status": {"phase": "Running", "conditions": conditions}},
    ]
    for pod in pods:
        node = node_from(pod, parse_status(answer, 0.0), NOW)
        json.dumps(node.to_dict(), allow_nan=False)
