"""The policies of one fleet from its spec and its plan: the only place where scaling meets the resource's models."""

from __future__ import annotations

from collections.abc import Mapping

from wsfleet.api import WsFleetSpec
from wsfleet.scaling.policy import (
    ConnectionsTrigger,
    CpuTrigger,
    RejectionsTrigger,
    RetirePolicy,
    RolloutPolicy,
    ScaleDown,
    ScalingPolicy,
)

PAUSED_ANNOTATION = "wsfleet.io/paused"
PAUSED_SCALE_IN_ANNOTATION = "wsfleet.io/paused-scale-in"
PAUSED_SCALE_OUT_ANNOTATION = "wsfleet.io/paused-scale-out"


def policy_from_spec(
    spec: WsFleetSpec, max_connections: int, annotations: Mapping[str, str] | None = None
) -> ScalingPolicy:
    """The scaling policy of a fleet; `max_connections` is its plan's, the annotations may pause it."""
    marks = annotations or {}
    paused = _is_set(marks, PAUSED_ANNOTATION)
    paused_scale_in = _is_set(marks, PAUSED_SCALE_IN_ANNOTATION)
    paused_scale_out = _is_set(marks, PAUSED_SCALE_OUT_ANNOTATION)
    auto = spec.autoscaling
    if auto is None:
        return ScalingPolicy(
            max_connections=max_connections,
            autoscaling=False,
            replicas=spec.replicas,
            paused=paused,
            paused_scale_in=paused_scale_in,
            paused_scale_out=paused_scale_out,
        )
    return ScalingPolicy(
        max_connections=max_connections,
        min_replicas=auto.min_replicas,
        max_replicas=auto.max_replicas,
        connections=ConnectionsTrigger(target_percent=auto.connections.target_percent),
        cpu=CpuTrigger(
            target_percent=auto.cpu.target_percent, sustained_seconds=auto.cpu.sustained_seconds
        ),
        rejections=RejectionsTrigger(
            per_minute=auto.rejections.per_minute, sustained_seconds=auto.rejections.sustained_seconds
        ),
        scale_down=ScaleDown(
            stabilization_seconds=auto.scale_down.stabilization_seconds,
            headroom_percent=auto.scale_down.headroom_percent,
        ),
        paused=paused or auto.paused,
        paused_scale_in=paused_scale_in,
        paused_scale_out=paused_scale_out,
    )


def rollout_policy_from_spec(spec: WsFleetSpec) -> RolloutPolicy:
    """How this fleet replaces and removes nodes."""
    return RolloutPolicy(
        progress_deadline_seconds=spec.rollout.progress_deadline_seconds,
        revision_history_limit=spec.rollout.revision_history_limit,
        retire=RetirePolicy(
            delay_seconds=spec.drain.delay_seconds, timeout_seconds=spec.drain.timeout_seconds
        ),
    )


def _is_set(annotations: Mapping[str, str], name: str) -> bool:
    return annotations.get(name, "").strip().lower() in ("true", "yes", "1")
