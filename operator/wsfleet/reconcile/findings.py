"""What a person and other tools should know of a fleet now: its conditions and its phase. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsfleet.reconcile.machines import FIELD as REQUESTS_FIELD
from wsfleet.reconcile.observe import Observed
from wsfleet.scaling import Decision, NodeSample, Stalled, Step, progress_conditions, scaling_conditions
from wsfleet.status import Finding, is_true

_CORDONED = "unschedulable"  # in what the scheduler says of machines that are cordoned
_UNCORDON = "Uncordon machines or add some"

# Why a container waits, where waiting longer does not help by itself.
_BAD_WAITS = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
)


def all_findings(
    seen: Observed,
    decision: Decision,
    step: Step,
    before: Mapping[str, Any],
    stream: Finding,
    no_room: str = "",
) -> list[Finding]:
    """The conditions of a fleet whose spec is good; `before` is the last status.

    `stream` is what `stream_finding` says, `no_room` why no machine is large enough for a pod.
    """
    return [
        ready_finding(seen, decision.desired, before),
        feed_finding(seen),
        degraded_finding(seen, step, decision.desired, no_room),
        stream,
        *(
            Finding.of(text.type, text.status, text.reason, text.message)
            for text in (*scaling_conditions(decision), *progress_conditions(step))
        ),
    ]


def ready_finding(seen: Observed, desired: int, before: Mapping[str, Any]) -> Finding:
    """Ready at first with all nodes; from then on while at least half of them are.

    A fleet that grows, rolls or loses a node goes on serving, and what waits for Ready should not
    be told otherwise.
    """
    ready = len(seen.ready)
    text = f"{ready} of {desired} nodes are ready"
    if ready >= desired:
        return Finding.of("Ready", True, "AllNodesReady" if desired else "ScaledToZero", text)
    if is_true(before, "Ready") and ready >= max(1, desired / 2):
        return Finding.of("Ready", True, "EnoughNodesReady", text)
    return Finding.of("Ready", False, "NodesNotReady" if seen.active else "NoNodes", text)


def feed_finding(seen: Observed) -> Finding:
    """Whether the nodes hear from NATS; a lost feed takes no node out of the Service."""
    spoke = {pod.name: seen.figures[pod.uid] for pod in seen.active if pod.uid in seen.figures}
    if not spoke:
        return Finding("FeedConnected", "Unknown", "NoFigures", "no node has told of its feed")
    cut = sorted(name for name, figures in spoke.items() if figures.feed_connected is False)
    unusable = {name: why for name, figures in spoke.items() if (why := figures.feed_problem)}
    if unusable:
        name, why = sorted(unusable.items())[0]
        text = f"{len(unusable)} of {len(spoke)} nodes can't use the stream; {name}: {why}"
        return Finding.of("FeedConnected", False, "StreamUnusable", text)
    if cut:
        never = [pod.name for pod in seen.active if pod.name in cut and not pod.ready]
        if len(never) == len(cut):
            text = f"{len(cut)} of {len(spoke)} nodes have not reached NATS yet, see their logs: {_some(cut)}"
            return Finding.of("FeedConnected", False, "NotReached", text)
        text = f"{len(cut)} of {len(spoke)} nodes have lost NATS: {_some(cut)}"
        return Finding.of("FeedConnected", False, "FeedLost", text)
    return Finding.of("FeedConnected", True, "Connected", f"all {len(spoke)} nodes read from NATS")


def degraded_finding(seen: Observed, step: Step, desired: int = 0, no_room: str = "") -> Finding:
    """Pods that will not come up by waiting, settings that a node refused, a rollout that stands still."""
    homeless = [pod for pod in seen.active if pod.unschedulable]
    if no_room and (len(seen.active) < desired or any(pod.machine is None for pod in seen.active)):
        return Finding.of("Degraded", True, "NoMachineFits", no_room)
    if homeless:
        why = _scheduler_says(seen, homeless[0])
        text = (
            f"no Kubernetes node takes {len(homeless)} of {len(seen.active)} pods; {homeless[0].name}: {why} "
            + (_UNCORDON if _CORDONED in why else f"Add machines, or lower {REQUESTS_FIELD}")
        )
        return Finding.of("Degraded", True, "Unschedulable", text)
    if seen.refusals:
        return Finding.of("Degraded", True, "PodsRefused", f"pods can't be made; {seen.refusals[0]}")
    stuck = {pod.name: why for pod in seen.active if (why := waits_in_vain(seen, pod))}
    if stuck:
        name, why = sorted(stuck.items())[0]
        text = f"{len(stuck)} of {len(seen.active)} pods do not come up; {name}: {why}"
        return Finding.of("Degraded", True, "PodsFailing", text)
    refused = {
        pod.name: figures.settings_error
        for pod in seen.active
        if (figures := seen.figures.get(pod.uid)) and figures.settings_error
    }
    if refused:
        name, why = sorted(refused.items())[0]
        text = f"{len(refused)} nodes refuse their settings file; {name}: {why}"
        return Finding.of("Degraded", True, "SettingsRefused", text)
    if isinstance(step, Stalled):
        return Finding.of("Degraded", True, "Stalled", step.reason)
    return Finding.of("Degraded", False, "AsExpected", "nothing is wrong")


def waits_in_vain(seen: Observed, pod: NodeSample) -> str:
    """Why a pod will not come up by waiting, empty if it may."""
    raw = seen.raw_pods[pod.uid]
    for container in raw["status"].get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _BAD_WAITS:
            return f"{waiting['reason']}: {waiting.get('message', '')}".strip(": ")
    return ""


def _scheduler_says(seen: Observed, pod: NodeSample) -> str:
    conditions = seen.raw_pods[pod.uid]["status"].get("conditions") or ()
    texts = [one.get("message", "") for one in conditions if one.get("type") == "PodScheduled"]
    return (texts[0] if texts else "").rstrip(". ")[:400] + "."


def problem_findings(reason: str, message: str, *, stalled: bool) -> list[Finding]:
    """The conditions of a look that failed. What is known of the nodes stays as it was.

    `stalled`: it will not get better without the user.
    """
    return [
        Finding.of("Degraded", True, reason, message),
        Finding.of("Stalled", stalled, reason if stalled else "Retrying", message if stalled else ""),
        Finding.of("Reconciling", not stalled, reason, message),
        Finding.of("Progressing", False, reason, message),
    ]


def phase_of(findings: Sequence[Finding], seen: Observed, decision: Decision, rolling: bool) -> str:
    """The state in one word, the most urgent first."""
    held = {finding.type: finding.status == "True" for finding in findings}
    if held.get("Degraded"):
        return "Degraded"
    if rolling:
        return "RollingOut"
    if not held.get("Ready"):
        return "Pending"
    if len(seen.active) != decision.desired or len(seen.ready) < decision.desired:
        return "Scaling"
    if any(hold.kind == "Paused" for hold in decision.holds):
        return "Paused"
    return "Running"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
