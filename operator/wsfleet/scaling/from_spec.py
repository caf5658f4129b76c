"""The policies of one fleet from its spec and its plan; nowhere else does scaling meet those models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsfleet.scaling.policy import (
    ConnectionsTrigger,
    CpuTrigger,
    GrowthTrigger,
    RejectionsTrigger,
    RetirePolicy,
    RolloutPolicy,
    ScaleDown,
    ScalingPolicy,
)
from wsfleet.scaling.rebalance_model import RebalancePolicy
from wsfleet.scaling.schedule import Schedule
from wsfleet.scaling.windows import Window

if TYPE_CHECKING:
    from wsfleet.api import Autoscaling, WsFleetSpec
    from wsfleet.sizing import Plan


def policy_from_spec(
    spec: WsFleetSpec,
    plan: Plan,
    *,
    paused: bool = False,
    paused_scale_in: bool = False,
    paused_scale_out: bool = False,
) -> ScalingPolicy:
    """The scaling policy of a fleet; the pauses are those of its annotations, on top of the spec's."""
    auto = spec.autoscaling
    fixed = ScalingPolicy(
        max_connections=plan.settings.max_connections,
        autoscaling=False,
        replicas=spec.replicas,
        paused=paused,
        paused_scale_in=paused_scale_in,
        paused_scale_out=paused_scale_out,
    )
    return fixed if auto is None else _with_autoscaling(fixed, auto, plan.settings.cpu_reject_threshold)


def rollout_policy_from_spec(spec: WsFleetSpec, plan: Plan) -> RolloutPolicy:
    """How this fleet replaces and removes nodes; a drain is waited for as long as the nodes take for it."""
    return RolloutPolicy(
        progress_deadline_seconds=spec.rollout.progress_deadline_seconds,
        revision_history_limit=spec.rollout.revision_history_limit,
        retire=RetirePolicy(
            delay_seconds=plan.settings.drain_delay, timeout_seconds=plan.settings.drain_timeout
        ),
    )


def rebalance_policy_from_spec(spec: WsFleetSpec, plan: Plan, requested: str = "") -> RebalancePolicy:
    """How this fleet is evened out; `requested` is the annotation that asks for it once."""
    auto, default = spec.autoscaling, RebalancePolicy()
    return RebalancePolicy(
        enabled=spec.rebalance.enabled,
        tolerance=spec.rebalance.tolerance_percent / 100,
        max_connections=plan.settings.max_connections,
        requested=requested[:64],
        rejections_per_minute=default.rejections_per_minute if auto is None else auto.rejections.per_minute,
        soon_seconds=default.soon_seconds if auto is None else 2 * auto.scale_down.stabilization_seconds,
    )


def windows_from_spec(spec: WsFleetSpec) -> tuple[Window, ...]:
    """When a rollout of this fleet may begin; empty is at any time."""
    return tuple(
        Window(cron=one.cron, time_zone=one.time_zone, minutes=one.duration_minutes)
        for one in spec.rollout.maintenance_windows
    )


def _with_autoscaling(fixed: ScalingPolicy, auto: Autoscaling, reject_percent: float) -> ScalingPolicy:
    return ScalingPolicy(
        max_connections=fixed.max_connections,
        min_replicas=auto.min_replicas,
        max_replicas=auto.max_replicas,
        connections=ConnectionsTrigger(target_percent=auto.connections.target_percent),
        cpu=CpuTrigger(
            target_percent=auto.cpu.target_percent,
            sustained_seconds=auto.cpu.sustained_seconds,
            reject_percent=reject_percent,
        ),
        rejections=RejectionsTrigger(
            per_minute=auto.rejections.per_minute, sustained_seconds=auto.rejections.sustained_seconds
        ),
        growth=GrowthTrigger(enabled=auto.growth.enabled, most_percent=auto.growth.max_percent),
        schedules=tuple(
            Schedule(
                cron=one.cron,
                time_zone=one.time_zone,
                min_replicas=one.min_replicas,
                duration_seconds=one.duration_seconds,
            )
            for one in auto.schedules
        ),
        scale_down=ScaleDown(
            stabilization_seconds=auto.scale_down.stabilization_seconds,
            headroom_percent=auto.scale_down.headroom_percent,
        ),
        paused=fixed.paused or auto.paused,
        paused_scale_in=fixed.paused_scale_in,
        paused_scale_out=fixed.paused_scale_out,
    )
