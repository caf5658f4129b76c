"""Why a fleet has its size, in the operator's own sentences, from whatever its status holds. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from wsfleet.api.status import Condition, ScalingDecision, WsFleetStatus
from wsfleet.plugin.view import DecisionView, FleetView
from wsfleet.scaling.explain import explain, explain_decision
from wsfleet.status import epoch_seconds

_TEXT_LENGTH = 1024


def size_reasons(view: FleetView, last: int, now: float) -> tuple[str, ...]:
    """The present, what holds the fleet there, and its last decisions, newest first, a line each."""
    conditions = _conditions(view)
    told = {one.message for one in conditions}
    decisions = [found for one in view.decisions[:last] if (found := _decision(one)) is not None]
    status = WsFleetStatus(
        desired_replicas=view.desired,
        ready_replicas=view.ready,
        connections=view.connections,
        capacity=view.capacity,
        cpu_percent=view.cpu_percent,
        conditions=conditions,
        holds=[text for hold in view.holds if (text := _cut(hold)) not in told],
        scaling=decisions,
    )
    return explain(status, now)


def decision_reason(decision: DecisionView, now: float) -> str | None:
    """One decision in a sentence; None for one that says neither when nor what."""
    found = _decision(decision)
    return None if found is None else explain_decision(found, now)


def _decision(one: DecisionView) -> ScalingDecision | None:
    made = epoch_seconds(one.time)
    if made is None or one.before is None or one.after is None:
        return None
    return ScalingDecision(
        time=datetime.fromtimestamp(made, UTC),
        from_replicas=one.before,
        to_replicas=one.after,
        trigger=one.trigger[:256],
        reasons=[_cut(reason) for reason in one.reasons[:16]],
        holds=[_cut(hold) for hold in one.holds[:16]],
    )


def _conditions(view: FleetView) -> list[Condition]:
    """Those that the sentences are made of."""
    return [
        Condition(
            type=one.type,
            status="True" if one.status == "True" else "False",
            reason=one.reason[:128],
            message=_cut(one.message),
            last_transition_time=datetime.fromtimestamp(0, UTC),
        )
        for one in view.conditions
        if one.type in ("ScalingLimited", "ScalingActive") and one.status in ("True", "False")
    ]


def _cut(text: str) -> str:
    """Without the point at its end: the sentence that it becomes part of has one."""
    return text[:_TEXT_LENGTH].rstrip(". ")
