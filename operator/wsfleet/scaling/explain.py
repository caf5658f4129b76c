"""Why a fleet has the size it has, in sentences: from its status alone, so that any client can say it."""

from __future__ import annotations

from collections.abc import Iterator

from wsfleet.api.status import ScalingDecision, WsFleetStatus
from wsfleet.scaling.decision import Trigger
from wsfleet.scaling.words import counted, number_of_nodes, verb

_BECAUSE = {
    Trigger.CONNECTIONS: "for its connections",
    Trigger.GROWTH: "for connections that are about to come",
    Trigger.WAITING: "for clients that full nodes turned away",
    Trigger.CPU: "for CPU",
    Trigger.REJECTIONS: "for clients that were turned away",
    Trigger.NODE_LOSS: "in place of nodes that are lost",
    Trigger.MIN_REPLICAS: "up to its minimum",
    Trigger.SCHEDULE: "up to the minimum of a schedule",
    Trigger.MAX_REPLICAS: "down to its maximum",
    Trigger.LOW_LOAD: "because the load is low",
    Trigger.REPLICAS: "as spec.replicas says",
}


def explain(status: WsFleetStatus, now: float) -> tuple[str, ...]:
    """The present, what holds the fleet there, and its last decisions (newest first), a line each.

    `now` is in epoch seconds; times are told in UTC and as ages.
    """
    return (*_present(status), *_holds(status), *_decisions(status, now))


def explain_decision(decision: ScalingDecision, now: float) -> str:
    """One decision: when, from what to what, for what, why, and what was held back."""
    before, after = decision.from_replicas, decision.to_replicas
    moved = f"grew from {before} to" if after > before else f"shrank from {before} to"
    if after == before:
        moved = "stayed at"
    why = _BECAUSE.get(_trigger(decision.trigger) or Trigger.STEADY, f"by the rule {decision.trigger}")
    when = decision.time.strftime("%Y-%m-%d %H:%M:%S")
    age = _age(now - decision.time.timestamp())
    text = f"{when} UTC ({age} ago): {moved} {number_of_nodes(after)}, {why}"
    if decision.reasons:
        text += f": {'; '.join(decision.reasons)}"
    if decision.holds:
        text += f". Held back: {'; '.join(decision.holds)}"
    return f"{text}."


def _present(status: WsFleetStatus) -> Iterator[str]:
    wanted, ready = status.desired_replicas, status.ready_replicas
    if wanted is None:
        yield "No decision has been made yet."
        return
    are = verb(wanted, "is", "are")
    size = f"{number_of_nodes(wanted)} {are} wanted"
    yield f"{size}, {ready or 0} {verb(ready or 0, 'is', 'are')} ready."
    if status.connections is not None:
        load = counted(status.connections, "connection")
        if status.capacity:
            load += f" of {status.capacity:,} ({status.connections * 100 / status.capacity:.0f} %)"
        if status.cpu_percent is not None:
            load += f", CPU {status.cpu_percent:.0f} %"
        yield f"The load is {load}."
    for condition in status.conditions:
        if condition.type == "ScalingLimited" and condition.status == "True" and condition.message:
            yield f"Limited ({condition.reason}): {condition.message}."
        if condition.type == "ScalingActive" and condition.status == "False" and condition.message:
            yield f"Not scaling by itself ({condition.reason}): {condition.message}."


def _holds(status: WsFleetStatus) -> Iterator[str]:
    if status.holds:
        yield "What keeps it at this size now:"
    yield from (f"  - {text}." for text in status.holds)


def _decisions(status: WsFleetStatus, now: float) -> Iterator[str]:
    if not status.scaling:
        yield "The size has not changed since the operator began to watch."
        return
    yield "Last decisions, newest first:"
    yield from (f"  {explain_decision(one, now)}" for one in status.scaling)


def _trigger(word: str) -> Trigger | None:
    """The rule of that name; None for one of another release."""
    try:
        return Trigger(word)
    except ValueError:
        return None


def _age(seconds: float) -> str:
    """A length of time in its two largest units: "40 s", "12 min", "3 h 5 min", "2 d 4 h"."""
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 1:
        return f"{max(0, int(seconds))} s"
    hours, days = minutes // 60, minutes // 1440
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"
