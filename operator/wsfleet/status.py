"""The status as a document: conditions that flip rarely, and when a new one is worth a write. Pure.

Source of the pace: what says something new (conditions, counts, decisions) is written at once, at
most once a second; texts, and figures that moved by more than 5 %, at most each 15 s; the rest, such
as numbers within texts, about once a minute. So an idle fleet writes at most once a minute, and a
busy one does not flood etcd. What changes with every look is never news.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wsfleet.api import CONDITION_TYPES

NEWS_SECONDS = 1.0
FIGURES_SECONDS = 15.0
ROUTINE_SECONDS = 60.0
_MOVED_SHARE = 0.05
_MOVED_CPU_POINTS = 5.0  # of an idle node's 0.5 % CPU 5 % would be noise

_FIGURES = ("connections", "capacity", "cpuPercent")
_ROUTINE = ("memory", "costs")
_TEXTS = ("holds",)
_REBALANCE_NEWS = {"Labels": "running", "Closing": "running", "Held": "held"}
"""Phases that begin or stop a run; the rest comes and goes as nodes differ."""
MESSAGE_LENGTH = 1024
_NUMBER = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one condition should say now."""

    type: str
    status: str
    """True, False or Unknown."""
    reason: str
    message: str = ""

    @classmethod
    def of(cls, type_: str, holds: bool, reason: str, message: str = "") -> Finding:
        return cls(type_, "True" if holds else "False", reason, message)


def rfc3339(epoch_seconds: float) -> str:
    """A moment as Kubernetes writes it, to the second."""
    return dt.datetime.fromtimestamp(epoch_seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=65_536)  # each look reads two or three of each pod again
def epoch_seconds(text: str | None) -> float | None:
    """A moment that Kubernetes wrote, None where there is none or it can't be read."""
    if not text:
        return None
    try:
        return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def merge_conditions(
    previous: Sequence[Mapping[str, Any]], findings: Iterable[Finding], now: float, generation: int
) -> list[dict[str, Any]]:
    """The conditions after `findings`: the transition time moves only where the status flips.

    Conditions without a finding stay as they were; those of other release's operators do too.
    """
    merged = {str(old.get("type")): dict(old) for old in previous}
    for finding in findings:
        old = merged.get(finding.type, {})
        flipped = old.get("status") != finding.status
        merged[finding.type] = {
            "type": finding.type,
            "status": finding.status,
            "reason": finding.reason,
            "message": finding.message[:MESSAGE_LENGTH],
            "lastTransitionTime": rfc3339(now) if flipped else old["lastTransitionTime"],
            "observedGeneration": generation,
        }
    order = {name: place for place, name in enumerate(CONDITION_TYPES)}
    return [merged[name] for name in sorted(merged, key=lambda name: (order.get(name, 99), name))]


def is_true(status: Mapping[str, Any], type_: str) -> bool:
    """Whether a condition of a status holds."""
    conditions = status.get("conditions") or ()
    return any(one.get("type") == type_ and one.get("status") == "True" for one in conditions)


def seconds_until_write(
    old: Mapping[str, Any], new: Mapping[str, Any], since_written: float, jitter: float
) -> float:
    """Seconds to wait before `new` is written over `old`: 0 is now, infinity is never (nothing differs).

    `since_written` are the seconds since the last write, `jitter` is a fixed number from 0 to 1 that
    keeps fleets apart.
    """
    if _without_nulls(old) == _without_nulls(new):
        return math.inf
    if _news(old) != _news(new):
        pause = NEWS_SECONDS
    elif (
        _texts(old) != _texts(new)
        or _in_force(new) > _in_force(old) * (1 + _MOVED_SHARE)
        or any(_moved(name, old.get(name), new.get(name)) for name in _FIGURES)
    ):
        pause = FIGURES_SECONDS
    else:
        pause = ROUTINE_SECONDS * (1 + 0.25 * jitter)
    return max(0.0, pause - since_written)


def _news(status: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth a write at once."""
    kept = {
        name: value
        for name, value in _without_nulls(status).items()
        if name not in (*_FIGURES, *_ROUTINE, *_TEXTS, "conditions", "nodeSettings", "rebalance")
    }
    # A figure that appears or goes is news: there was nothing to compare it with.
    kept["figures"] = [status.get(name) is None for name in _FIGURES]
    kept["conditions"] = [
        (one.get("type"), one.get("status"), one.get("reason"), one.get("observedGeneration"))
        for one in status.get("conditions") or ()
    ]
    settings = status.get("nodeSettings") or {}
    # How many nodes have them in force moves with each that is late to tell, and so does whose refusal it is.
    kept["settings"] = {name: value for name, value in settings.items() if name not in ("inForce", "refused")}
    kept["refused"] = bool(settings.get("refused"))
    # Between its rounds a run changes its phase with every few looks, and before a run a fleet may for ever.
    kept["rebalance"] = _REBALANCE_NEWS.get(str(status.get("rebalance")), "")
    return kept


def _in_force(status: Mapping[str, Any]) -> int:
    return int((status.get("nodeSettings") or {}).get("inForce") or 0)


def _texts(status: Mapping[str, Any]) -> list[str]:
    """Messages but for their numbers: those of a busy fleet differ at each look and say nothing new."""
    messages = [one.get("message") or "" for one in status.get("conditions") or ()]
    lists = [text for name in _TEXTS for text in status.get(name) or ()]
    refused = (status.get("nodeSettings") or {}).get("refused") or ""
    return [_NUMBER.sub("#", text) for text in (*messages, *lists, refused)]


def _moved(name: str, old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is not new
    if name == "cpuPercent":
        return abs(new - old) > _MOVED_CPU_POINTS
    return abs(new - old) > _MOVED_SHARE * old


def _without_nulls(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if value is not None}
