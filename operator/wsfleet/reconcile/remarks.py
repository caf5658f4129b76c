"""What a user may wonder about, said once as an event and not again while it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsfleet.kube.kinds import Object
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.findings import NOT_WRITTEN
from wsfleet.reconcile.stream import STREAM_DIFFERS
from wsfleet.status import Finding, is_true

REPLICAS_IGNORED = "ReplicasIgnored"
SCALE_NEEDS_REPLICAS = "ScaleNeedsReplicas"

_NEEDS_REPLICAS_TEXT = (
    "neither spec.autoscaling nor spec.replicas is set: the fleet holds its size. A "
    "HorizontalPodAutoscaler or KEDA can't read /scale before spec.replicas is set once "
    "(kubectl scale does it)"
)
_WARNED_CONDITIONS = (
    "NoMachineFits",
    "Unschedulable",
    "PodsRefused",
    "PodsFailing",
    "SettingsRefused",
    "NatsNotReached",
    NOT_WRITTEN,
)


def remarks_on(spec: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What there is to remark on a spec: reason and text, by what is remembered of it.

    That has the number in it: who scales a fleet again to another size is told again.
    """
    replicas = spec.get("replicas")
    if spec.get("autoscaling") is not None:
        if replicas is None:
            return {}
        text = f"spec.replicas ({replicas}) is ignored while spec.autoscaling is set"
        return {f"{REPLICAS_IGNORED}: {replicas}": (REPLICAS_IGNORED, text)}
    if replicas is not None:
        return {}
    return {SCALE_NEEDS_REPLICAS: (SCALE_NEEDS_REPLICAS, _NEEDS_REPLICAS_TEXT)}


def remark(context: Context, fleet: Object, state: FleetState) -> None:
    """Say what was not said yet of the spec; the status remembers it over restarts."""
    found = remarks_on(fleet.get("spec") or {})
    for mark in sorted(found.keys() - state.said):
        reason, text = found[mark]
        context.events.normal(fleet, reason, "Scale", text)
    state.said = set(found)


def warn_of(context: Context, fleet: Object, state: FleetState, findings: Sequence[Finding]) -> None:
    """Events of what has just gone wrong; conditions say it for as long as it does."""
    for finding in findings:
        if finding.status != "True" or is_true(state.status, finding.type):
            continue
        if finding.type == STREAM_DIFFERS:
            context.events.warning(fleet, STREAM_DIFFERS, "Compare", finding.message)
        elif finding.type == "Degraded" and finding.reason in _WARNED_CONDITIONS:
            context.events.warning(fleet, finding.reason, "Observe", finding.message)
