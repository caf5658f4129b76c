"""Fleets as a cluster has them: resource with status, pods, and what their nodes say."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from tests.support.fleets import fleet_document

SHAPE = "6f7d9c8b5d"
OLD_SHAPE = "5c4b7a9f44"


def ago(seconds: float, now: float | None = None) -> str:
    """A moment as Kubernetes writes it."""
    moment = (time.time() if now is None else now) - seconds
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(
    type_: str, status: str, reason: str, message: str, seconds: float = 300, now: float | None = None
) -> dict[str, Any]:
    """A condition that has stood for so long."""
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": ago(seconds, now),
        "observedGeneration": 3,
    }


def seen_fleet(
    name: str = "odin", now: float | None = None, annotations: dict[str, str] | None = None, **status: Any
) -> dict[str, Any]:
    """A fleet of two nodes that runs; fields of its status can be given, None takes one away."""
    fleet = fleet_document(name, annotations)
    fleet["metadata"] |= {"generation": 3, "creationTimestamp": ago(86_400 * 3, now)}
    found: dict[str, Any] = {
        "observedGeneration": 3,
        "phase": "Running",
        "replicas": 2,
        "readyReplicas": 2,
        "desiredReplicas": 2,
        "selector": f"wsfleet.io/fleet={name}",
        "connections": 8123,
        "capacity": 20000,
        "cpuPercent": 12.4,
        "image": "registry.example/wsnode:1",
        "shape": SHAPE,
        "provenShape": SHAPE,
        "nodeSettings": {
            "hash": "abc123",
            "inForce": 2,
            "refused": "",
            "values": {"WS_MAX_CONNECTIONS": "10000", "WS_CPU_REJECT_THRESHOLD": "75.0"},
            "notes": ["one worker a core"],
        },
        "lastDecision": "1 to 2: Connections",
        "scaling": [
            {
                "time": ago(180, now),
                "from": 1,
                "to": 2,
                "trigger": "Connections",
                "reasons": ["8,123 connections need 2 nodes at 80 % of 10,000"],
                "holds": [],
                "figures": {"connections": 8123, "targetPercent": 80},
            }
        ],
        "conditions": [
            condition("Ready", "True", "AllNodesReady", "2 of 2 nodes are ready", now=now),
            condition("Progressing", "False", "Complete", "all nodes have the fleet's shape", now=now),
            condition("Degraded", "False", "AsExpected", "nothing is wrong", now=now),
            condition("ScalingActive", "True", "FiguresComplete", "2 nodes are wanted", now=now),
            condition("ScalingLimited", "False", "WithinBounds", "the size is what is asked for", now=now),
            condition("FeedConnected", "True", "Connected", "all 2 nodes read from NATS", now=now),
            condition("Reconciling", "False", "Complete", "", now=now),
            condition("Stalled", "False", "Complete", "", now=now),
        ],
    }
    found |= status
    fleet["status"] = {key: value for key, value in found.items() if value is not None}
    return fleet


def seen_pod(
    end: str = "aaaaa",
    fleet: str = "odin",
    shape: str = SHAPE,
    now: float | None = None,
    ready: bool = True,
    serving: bool = True,
    phase: str = "Running",
    age: float = 3600,
    annotations: dict[str, str] | None = None,
    terminating: bool = False,
) -> dict[str, Any]:
    """A pod of a fleet."""
    labels = {"wsfleet.io/fleet": fleet, "wsfleet.io/shape": shape}
    name = f"{fleet}-{shape}-{end}"
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "games",
        "uid": f"uid-{name}",
        "labels": {**labels, **({"wsfleet.io/serving": "true"} if serving else {})},
        "annotations": annotations or {},
        "creationTimestamp": ago(age, now),
        "ownerReferences": [{"kind": "ReplicaSet", "name": f"{fleet}-{shape}", "controller": True}],
    }
    if terminating:
        metadata["deletionTimestamp"] = ago(0, now)
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": phase, "conditions": conditions}
    if phase == "Running":
        status["podIP"] = "10.0.0.7"
    spec = {"nodeName": "machine-1"} if phase == "Running" else {}
    return {"metadata": metadata, "spec": spec, "status": status}


def node_status(
    connections: Any = 4000, drain: str = "none", remaining: Any = 0, **more: Any
) -> dict[str, Any]:
    """What a node says of itself."""
    return {
        "version": "0.1.0",
        "uptime_seconds": 3600.0,
        "ready": drain == "none",
        "connections": {"current": connections, "max": 10000},
        "cpu": {"percent": 12.4, "limit_cores": 1.8},
        "memory": {"bytes": 300 * 2**20, "limit_bytes": 1792 * 2**20},
        "rejections": {},
        "feed": {"connected": True, "paused": False, "seeded": True},
        "drain": {"state": drain, "remaining": remaining},
        "settings": {"hash": "abc123", "error": None},
        **more,
    }
