"""What a user may wonder about, said once as an event and not again while it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsfleet.kube.kinds import Object
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.stream import STREAM_DIFFERS
from wsfleet.status import Finding, is_true

REPLICAS_IGNORED = "ReplicasIgnored"
SCALE_NEEDS_REPLICAS = "ScaleNeedsReplicas"

_TEXTS = {
    REPLICAS_IGNORED: "spec.replicas is ignored while spec.autoscaling is set",
    SCALE_NEEDS_REPLICAS: (
        "neither spec.autoscaling nor spec.replicas is set: the fleet holds its size. A "
        "HorizontalPodAutoscaler or KEDA can't read /scale before spec.replicas is set once "
        "(kubectl scale does it)"
    ),
}
_WARNED_CONDITIONS = ("NoMachineFits", "Unschedulable", "PodsRefused", "PodsFailing", "SettingsRefused")


def remarks_on(spec: dict[str, Any]) -> set[str]:
    """The reasons of what there is to remark on a spec."""
    autoscaling, replicas = spec.get("autoscaling") is not None, spec.get("replicas") is not None
    if autoscaling:
        return {REPLICAS_IGNORED} if replicas else set()
    return set() if replicas else {SCALE_NEEDS_REPLICAS}


def remark(context: Context, fleet: Object, state: FleetState) -> None:
    """Say what was not said yet of the spec; the status remembers it over restarts."""
    found = remarks_on(fleet.get("spec") or {})
    for reason in sorted(found - state.said):
        context.events.normal(fleet, reason, "Scale", _TEXTS[reason])
    state.said = found


def warn_of(context: Context, fleet: Object, state: FleetState, findings: Sequence[Finding]) -> None:
    """Events of what has just gone wrong; conditions say it for as long as it does."""
    for finding in findings:
        if finding.status != "True" or is_true(state.status, finding.type):
            continue
        if finding.type == STREAM_DIFFERS:
            context.events.warning(fleet, STREAM_DIFFERS, "Compare", finding.message)
        elif finding.type == "Degraded" and finding.reason in _WARNED_CONDITIONS:
            context.events.warning(fleet, finding.reason, "Observe", finding.message)
