"""What a person and other tools should know of a fleet now: its conditions and its phase. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wsfleet.reconcile.machines import FIELD as REQUESTS_FIELD
from wsfleet.reconcile.observe import Observed
from wsfleet.scaling import Decision, NodeSample, Stalled, Step, progress_conditions, scaling_conditions
from wsfleet.scaling.words import counted, part_of, verb
from wsfleet.scrape import NodeFigures
from wsfleet.status import Finding, is_true

# In what the scheduler says of machines that are cordoned, and of those that are full.
_CORDONED, _FULL = "unschedulable", "Insufficient"
NOT_WRITTEN = "ObjectNotWritten"
"""Reason of Degraded: something of the fleet's objects can't be written."""
_UNREACHED_SECONDS = 60.0
"""For which a new node may fail to reach NATS before the fleet is called degraded."""

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
    text = part_of(ready, desired, "node", "is ready", "are ready")
    if ready >= desired:
        return Finding.of("Ready", True, "AllNodesReady" if desired else "ScaledToZero", text)
    if is_true(before, "Ready") and ready >= max(1, desired / 2):
        return Finding.of("Ready", True, "EnoughNodesReady", text)
    return Finding.of("Ready", False, "NodesNotReady" if seen.active else "NoNodes", text)


def feed_finding(seen: Observed) -> Finding:
    """Whether the nodes hear from NATS; a lost feed takes no node out of the Service."""
    spoke = {pod.name: seen.recent[pod.uid] for pod in seen.active if pod.uid in seen.recent}
    if not spoke:
        return Finding("FeedConnected", "Unknown", "NoFigures", "no node has told of its feed")
    cut = sorted(name for name, figures in spoke.items() if figures.feed_connected is False)
    unusable = {name: why for name, figures in spoke.items() if (why := figures.feed_problem)}
    if unusable:
        name, why = sorted(unusable.items())[0]
        nodes = f"{len(unusable)} of {counted(len(spoke), 'node')}"
        text = f"{nodes} can't use the stream; {name}: {why}"
        return Finding.of("FeedConnected", False, "StreamUnusable", text)
    if cut:
        return _cut_finding({name: spoke[name] for name in cut}, len(spoke))
    text = f"all {len(spoke)} nodes read from NATS" if len(spoke) > 1 else "the node reads from NATS"
    return Finding.of("FeedConnected", True, "Connected", text)


def _cut_finding(cut: Mapping[str, NodeFigures], whole: int) -> Finding:
    """Nodes without NATS: those that had it, before those that never did."""
    lost = {name: figures for name, figures in cut.items() if figures.feed_seeded is not False}
    if lost:
        text = part_of(len(lost), whole, "node", "has lost NATS", "have lost NATS")
        return Finding.of("FeedConnected", False, "FeedLost", text + _with_cause(lost))
    text = part_of(len(cut), whole, "node", "has not reached NATS yet", "have not reached NATS yet")
    return Finding.of("FeedConnected", False, "NotReached", text + _with_cause(cut))


def _with_cause(cut: Mapping[str, NodeFigures]) -> str:
    """Which nodes, and what the first that knows says: the address, and why it is not reached."""
    told = [f"; {name}: {figures.feed_trouble}" for name, figures in cut.items() if figures.feed_trouble]
    return told[0] if told and len(cut) == 1 else f": {_some(list(cut))}{told[0] if told else ''}"


def unreached(seen: Observed) -> str:
    """The node that has failed to reach NATS for long since its start, and why; empty if none has."""
    for pod in sorted(seen.active, key=lambda one: one.name):
        figures = seen.recent.get(pod.uid)
        waited = pod.pod_age_seconds if pod.unready_seconds is None else pod.unready_seconds
        late = not pod.ready and waited > _UNREACHED_SECONDS
        if late and figures and figures.feed_seeded is False and figures.feed_trouble:
            return f"{pod.name} has not reached NATS since its start: {figures.feed_trouble}"
    return ""


def degraded_finding(seen: Observed, step: Step, desired: int = 0, no_room: str = "") -> Finding:
    """Pods that will not come up by waiting, settings that a node refused, a rollout that stands still."""
    homeless = [pod for pod in seen.active if pod.unschedulable]
    if no_room and (len(seen.active) < desired or any(pod.machine is None for pod in seen.active)):
        return Finding.of("Degraded", True, "NoMachineFits", no_room)
    if homeless:
        why = _scheduler_says(seen, homeless[0])
        pods = f"{len(homeless)} of {counted(len(seen.active), 'pod')}"
        text = f"no Kubernetes node takes {pods}; {homeless[0].name}: {why} {_advice(why)}"
        return Finding.of("Degraded", True, "Unschedulable", text)
    if seen.refusals:
        return Finding.of("Degraded", True, "PodsRefused", f"pods can't be made; {seen.refusals[0]}")
    stuck = {pod.name: why for pod in seen.active if (why := waits_in_vain(seen, pod))}
    if stuck:
        name, why = sorted(stuck.items())[0]
        pods = part_of(len(stuck), len(seen.active), "pod", "does", "do")
        text = f"{pods} not come up; {name}: {why}"
        return Finding.of("Degraded", True, "PodsFailing", text)
    refused = {
        pod.name: figures.settings_error
        for pod in seen.active
        if (figures := seen.recent.get(pod.uid)) and figures.settings_error
    }
    if refused:
        name, why = sorted(refused.items())[0]
        nodes = f"{counted(len(refused), 'node')} {verb(len(refused), 'refuses its', 'refuse their')}"
        text = f"{nodes} settings file; {name}: {why}"
        return Finding.of("Degraded", True, "SettingsRefused", text)
    if text := unreached(seen):
        return Finding.of("Degraded", True, "NatsNotReached", text)
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


def _advice(why: str) -> str:
    """What to do about pods that no machine takes, by the scheduler's words."""
    if _CORDONED not in why:
        return f"Add machines, or lower {REQUESTS_FIELD}"
    if _FULL in why:
        return f"Machines are cordoned: uncordon one, add machines, or lower {REQUESTS_FIELD}"
    return "Machines are cordoned and take no pods: uncordon one, or add machines"


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


def with_problem(findings: Sequence[Finding], reason: str, message: str) -> list[Finding]:
    """The conditions of a fleet that is led on by an earlier spec, since the present one is no good.

    Progressing stays as it is: what the nodes do goes on.
    """
    told = {one.type: one for one in problem_findings(reason, message, stalled=True)}
    del told["Progressing"]
    return [told.get(one.type, one) for one in findings]


def with_trouble(findings: Sequence[Finding], text: str) -> list[Finding]:
    """The conditions with what could not be written of the fleet's objects, and is tried again."""
    found = []
    for one in findings:
        if one.type == "Degraded" and one.status == "True":
            one = replace(one, message=f"{one.message}; besides, not written: {text}")
        elif one.type == "Degraded":
            one = Finding.of("Degraded", True, NOT_WRITTEN, f"not written: {text}")
        elif one.type == "Reconciling" and one.status != "True":
            one = Finding.of("Reconciling", True, "Retrying", f"not written: {text}")
        found.append(one)
    return found


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
