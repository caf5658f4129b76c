"""A history as JSON values, for the resource's status, and back.

Compact: lists in the order of the tuples' fields, times in whole tenths of a second. Read leniently: what an
older or newer operator wrote and this one does not understand is not remembered, and nothing fails by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from wsfleet.scaling.decision import Decision, Hold, HoldKind, Trigger
from wsfleet.scaling.history import (
    CpuBucket,
    CpuStep,
    Event,
    Growth,
    History,
    LastKnown,
    Minute,
    Sample,
    Span,
)
from wsfleet.scaling.samples import figure

LAST_KNOWN_KEPT = 50
"""Pods whose last figures go into the status. In a larger fleet one silent node weighs little, and the status
is written to etcd."""

T = TypeVar("T")


def history_to_status(history: History) -> dict[str, Any]:
    """The history without its decisions, which the status shows in a list of their own."""
    memory: dict[str, Any] = {
        "desired": history.desired,
        "observedSince": _tenths(history.observed_since),
        "lastSeen": _tenths(history.last_seen),
        "rejectingSince": _tenths(history.rejecting_since),
        "outageUntil": _tenths(history.outage_until),
        "growth": None if history.growth is None else _rounded(history.growth),
        "cpu": [_rounded(one) for one in history.cpu],
        "cpuSteps": [_rounded(one) for one in history.cpu_steps],
        "recommendations": [_rounded(one) for one in history.recommendations],
        "totals": [_rounded(one) for one in history.totals],
        "ownCloses": [_rounded(one) for one in history.own_closes],
        "rejections": [_rounded(one) for one in history.rejections],
        "turnedAway": [_rounded(one) for one in history.turned_away],
        "trend": [_rounded(one) for one in history.trend],
        "spans": [_rounded(one) for one in history.spans],
        "starts": _rounded(history.starts),
        "shrunk": _tenths(history.shrunk),
        "regretted": _tenths(history.regretted),
        "lastKnown": {},
    }
    if len(history.last_known) <= LAST_KNOWN_KEPT:
        memory["lastKnown"] = {uid: _rounded(last) for uid, last in history.last_known.items()}
    return {name: value for name, value in memory.items() if value not in (None, [], {})}


def history_from_status(
    memory: Mapping[str, Any] | None, decisions: Iterable[Mapping[str, Any]] = ()
) -> History:
    """A history from what `history_to_status` wrote and the decisions of the status, newest first."""
    memory = memory if isinstance(memory, Mapping) else {}
    desired = memory.get("desired")
    known = memory.get("lastKnown")
    last_known = {
        str(uid): last
        for uid, value in (known.items() if isinstance(known, Mapping) else ())
        if (last := _tuple(LastKnown, value)) is not None
    }
    kept = [one for value in decisions if (one := decision_from_status(value)) is not None]
    return History(
        desired=desired if isinstance(desired, int) and desired >= 0 else None,
        observed_since=figure(memory.get("observedSince")),
        last_seen=figure(memory.get("lastSeen")),
        rejecting_since=figure(memory.get("rejectingSince")),
        outage_until=figure(memory.get("outageUntil")),
        growth=_tuple(Growth, memory.get("growth")),
        cpu=_tuples(CpuBucket, memory.get("cpu")),
        cpu_steps=_tuples(CpuStep, memory.get("cpuSteps")),
        recommendations=_tuples(Minute, memory.get("recommendations")),
        totals=_tuples(Minute, memory.get("totals")),
        own_closes=_tuples(Minute, memory.get("ownCloses")),
        rejections=_tuples(Event, memory.get("rejections")),
        turned_away=_tuples(Event, memory.get("turnedAway")),
        trend=_tuples(Sample, memory.get("trend")),
        spans=_tuples(Span, memory.get("spans")),
        starts=_tuple(_floats, memory.get("starts")) or (),
        shrunk=figure(memory.get("shrunk")),
        regretted=figure(memory.get("regretted")),
        last_known=last_known,
        decisions=tuple(reversed(kept)),
    )


def decision_to_status(decision: Decision) -> dict[str, Any]:
    """A decision as the status shows it (`status.scaling[]`)."""
    return {
        "time": datetime.fromtimestamp(int(decision.time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "from": decision.current,
        "to": decision.desired,
        "trigger": str(decision.trigger),
        "reasons": list(decision.reasons),
        "holds": [hold.text for hold in decision.holds],
        "figures": dict(decision.figures),
    }


def decision_from_status(value: Mapping[str, Any]) -> Decision | None:
    """A decision from the status, good for showing (of its holds the texts); None if it isn't one."""
    try:
        current, desired = int(value["from"]), int(value["to"])
        return Decision(
            time=datetime.fromisoformat(str(value["time"])).timestamp(),
            current=current,
            desired=desired,
            recommended=desired,
            wish=desired,
            trigger=Trigger(value["trigger"]),
            reasons=tuple(str(one) for one in value.get("reasons", ())),
            holds=tuple(Hold(HoldKind.PAST, str(one)) for one in value.get("holds", ())),
            figures={str(name): float(number) for name, number in value.get("figures", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _tenths(time: float | None) -> float | None:
    return None if time is None else round(time, 1)


def _rounded(values: Sequence[Any]) -> list[Any]:
    return [round(one, 2) if isinstance(one, float) else one for one in values]


def _tuple(kind: Callable[..., T], value: object) -> T | None:
    """One named tuple of figures, flags and words; None if the value is not one."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    if not all(one is None or isinstance(one, str | bool) or figure(one) is not None for one in value):
        return None
    try:
        return kind(*value)
    except (TypeError, ValueError):
        return None


def _floats(*values: float) -> tuple[float, ...]:
    return tuple(float(one) for one in values)


def _tuples(kind: Callable[..., T], values: object) -> tuple[T, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return ()
    return tuple(one for value in values if (one := _tuple(kind, value)) is not None)
