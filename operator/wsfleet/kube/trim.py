"""The fields of watched objects that the operator reads; the rest is let go at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wsfleet.kube.kinds import Object

_METADATA = (
    "name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations",
    "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences",
)  # fmt: skip
_POD_STATUS = ("phase", "podIP", "reason", "message")
_CONDITIONS = ("Ready", "PodScheduled", "DisruptionTarget")


def _picked(source: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: source[name] for name in names if name in source}


def trim_metadata(obj: Object) -> Object:
    """Everything but managedFields and what else nobody reads in metadata."""
    return {**obj, "metadata": _picked(obj["metadata"], _METADATA)}


def trim_pod(obj: Object) -> Object:
    """What scaling, drain and status read of a pod."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    containers = [
        {"name": container.get("name"), **_picked(container, ("ready", "restartCount", "state"))}
        for container in status.get("containerStatuses") or ()
    ]
    return {
        "metadata": _picked(obj["metadata"], _METADATA),
        "spec": _picked(spec, ("nodeName",)),
        "status": {
            **_picked(status, _POD_STATUS),
            "conditions": [c for c in status.get("conditions") or () if c.get("type") in _CONDITIONS],
            "containerStatuses": containers,
        },
    }


def trim_node(obj: Object) -> Object:
    """Of a Kubernetes node: whether it is cordoned, ready, and what it has to give."""
    status = obj.get("status") or {}
    return {
        "metadata": _picked(obj["metadata"], ("name", "resourceVersion", "deletionTimestamp")),
        "spec": _picked(obj.get("spec") or {}, ("unschedulable", "taints")),
        "status": {
            **_picked(status, ("allocatable",)),
            "conditions": [c for c in status.get("conditions") or () if c.get("type") == "Ready"],
        },
    }
