"""A fleet beside others that scale: the scale subresource for them, and none of them where we scale."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Client
from tests.support.metrics_source import METRIC, metrics_source
from tests.support.operating import status_of, wait_condition, wsfleet
from tests.support.wsfleet_clients import clients

SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
QUICK = {"drain": {"delaySeconds": 1, "timeoutSeconds": 20}, "template": SMALL}
SYNC_SECONDS = 15
"""The controller manager's usual `--horizontal-pod-autoscaler-sync-period`; the local cluster's is 5 s."""
CONNECTIONS_A_NODE = 10


def autoscaler(most: int) -> dict[str, Any]:
    """By the connections of the fleet, down at once."""
    target = {"type": "AverageValue", "averageValue": str(CONNECTIONS_A_NODE)}
    metric = {"type": "External", "external": {"metric": {"name": METRIC}, "target": target}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "odin"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "wsfleet.io/v1alpha1", "kind": "WsFleet", "name": "odin"},
            "minReplicas": 1,
            "maxReplicas": most,
            "metrics": [metric],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }


def events(release: Client, namespace: str, reason: str) -> list[dict[str, Any]]:
    """Events of one reason about the fleet."""
    fields = f"reason={reason},regarding.kind=WsFleet"
    found = release.kubectl_json("get", "events.events.k8s.io", "-n", namespace, "--field-selector", fields)
    items: list[dict[str, Any]] = found["items"]
    return items


@pytest.mark.timeout(400)
def test_an_hpa_scales_a_fleet_without_autoscaling_out_and_in(
    release: Client, namespace: str, tmp_path: Path
) -> None:
    release.apply(wsfleet("odin", replicas=1, **QUICK), namespace=namespace)
    wait_condition(release, "odin", namespace, "Ready", timeout_seconds=90)
    address = release.service_address("odin", namespace)

    def connections() -> float:
        return float(status_of(release, "odin", namespace).get("connections") or 0)

    def size(nodes: int) -> Any:
        status = status_of(release, "odin", namespace)
        return (status.get("desiredReplicas"), status.get("readyReplicas")) == (nodes, nodes)

    with metrics_source(release, namespace, tmp_path, connections):
        release.apply(autoscaler(most=2), namespace=namespace)
        with clients(address, CONNECTIONS_A_NODE + 5) as opened:
            release.wait("two nodes", lambda: size(2), 4 * SYNC_SECONDS + 60)
            assert all(client.alive() for client in opened)
        release.wait("one node again", lambda: size(1), 4 * SYNC_SECONDS + 120)
    decisions = status_of(release, "odin", namespace)["scaling"]
    assert {one["trigger"] for one in decisions} == {"Replicas"}
    pods = release.kubectl_json("get", "pods", "-n", namespace, "-l", "wsfleet.io/fleet=odin")["items"]
    assert len([pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]) == 1


def test_foreign_writes_to_replicas_are_ignored_where_we_scale_and_told_once(
    release: Client, namespace: str
) -> None:
    autoscaling = {"minReplicas": 1, "maxReplicas": 3}
    release.apply(wsfleet("odin", autoscaling=autoscaling, **QUICK), namespace=namespace)
    wait_condition(release, "odin", namespace, "Ready", timeout_seconds=90)
    for _ in range(3):
        release.kubectl("scale", "wsf/odin", "-n", namespace, "--replicas=3")
        release.kubectl(
            "annotate", "wsf/odin", "-n", namespace, "--overwrite", f"again={time.monotonic_ns()}"
        )
    release.wait("the event", lambda: events(release, namespace, "ReplicasIgnored"), 30)
    release.kubectl("label", "wsf/odin", "-n", namespace, "later=1")
    generation = release.kubectl_json("get", "wsf", "odin", "-n", namespace)["metadata"]["generation"]
    wait_condition(release, "odin", namespace, "Ready")
    found = release.kubectl_json("get", "wsf", "odin", "-n", namespace)
    told = events(release, namespace, "ReplicasIgnored")
    assert len(told) == 1
    assert "series" not in told[0]
    assert found["spec"]["replicas"] == 3, "the user's spec is never written"
    assert found["metadata"]["generation"] == generation
    assert found["status"]["desiredReplicas"] == 1
    assert len(release.kubectl_json("get", "rs", "-n", namespace)["items"]) == 1
