"""What a decision and a step mean, as conditions that a person understands."""

from __future__ import annotations

from dataclasses import dataclass

from wsfleet.scaling.decision import Decision, HoldKind, Trigger
from wsfleet.scaling.words import number_of_nodes, part_of
from wsfleet.scaling.world import Idle, Stalled, Step

MESSAGE_CHARACTERS = 1000
"""The schema bounds a condition's message."""


_KEEPS_SIZE = (HoldKind.STABILIZATION, HoldKind.OUTAGE, HoldKind.REGRET, HoldKind.HEADROOM)


@dataclass(frozen=True, slots=True)
class ConditionText:
    """A condition as scaling sees it; the reconciler adds times and the generation."""

    type: str
    status: bool
    reason: str
    message: str


def scaling_conditions(decision: Decision) -> tuple[ConditionText, ...]:
    """ScalingActive (the fleet's size follows its load) and ScalingLimited (something cuts the wish)."""
    return _active(decision), _limited(decision)


def progress_conditions(step: Step) -> tuple[ConditionText, ...]:
    """Progressing, and Reconciling and Stalled for tools that read kstatus."""
    stalled = isinstance(step, Stalled)
    moving = not isinstance(step, Stalled | Idle)
    reason = "DeadlineExceeded" if stalled else "Moving" if moving else "Complete"
    return (
        ConditionText("Progressing", moving, reason, _cut(step.reason)),
        ConditionText("Reconciling", moving, reason, _cut(step.reason)),
        ConditionText("Stalled", stalled, reason, _cut(step.reason if stalled else "")),
    )


def decision_text(decision: Decision) -> str:
    """A decision in one line: "2 -> 3 nodes (Connections): 16,400 connections need …"."""
    move = (
        f"{decision.current} -> {number_of_nodes(decision.desired)}"
        if decision.changes
        else number_of_nodes(decision.current)
    )
    why = "; ".join((*decision.reasons, *(hold.text for hold in decision.holds)))
    return _cut(f"{move} ({decision.trigger}): {why}")


def _active(decision: Decision) -> ConditionText:
    if not decision.autoscaling:
        reasons = _cut("; ".join(decision.reasons))
        return ConditionText("ScalingActive", False, "AutoscalingAbsent", reasons)
    for kind in (HoldKind.PAUSED, HoldKind.CPU_NOT_SCALABLE, HoldKind.MISSING):
        for hold in decision.holds:
            if hold.kind is kind:
                # Missing figures and a CPU that does not divide hold back one direction or trigger only.
                return ConditionText("ScalingActive", kind is not HoldKind.PAUSED, str(kind), _cut(hold.text))
    missing = decision.figures.get("missing", 0)
    if missing:
        nodes = int(decision.figures.get("nodes", 0))
        text = part_of(int(missing), nodes, "node", "gives no figures", "give no figures")
        text += "; silent nodes count as full"
        return ConditionText("ScalingActive", True, str(HoldKind.MISSING), text)
    # Why a fleet keeps its size although its load fell is what its user asks next.
    kept = [hold for hold in decision.holds if hold.kind in _KEEPS_SIZE]
    reason = str(kept[0].kind) if kept else "FiguresComplete"
    texts = (*decision.reasons, *(hold.text for hold in kept))
    return ConditionText("ScalingActive", True, reason, _cut("; ".join(texts)))


def _limited(decision: Decision) -> ConditionText:
    if decision.limited is Trigger.MAX_REPLICAS:
        text = (
            f"the load asks for {number_of_nodes(decision.wish)}, maxReplicas allows {decision.recommended}"
        )
        return ConditionText("ScalingLimited", True, str(Trigger.MAX_REPLICAS), text)
    if decision.limited is Trigger.MIN_REPLICAS:
        text = f"the load asks for {decision.wish}; {decision.minimum_reason}"
        return ConditionText("ScalingLimited", True, str(Trigger.MIN_REPLICAS), text)
    for kind in (HoldKind.CPU_NOT_SCALABLE, HoldKind.STEP, HoldKind.UNSCHEDULABLE):
        for hold in decision.holds:
            if hold.kind is kind:
                return ConditionText("ScalingLimited", True, str(kind), _cut(hold.text))
    return ConditionText("ScalingLimited", False, "WithinBounds", "the size is what the load asks for")


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARACTERS else text[: MESSAGE_CHARACTERS - 1] + "…"
