"""A stream against what the settings ask: what differs, and what a change would cost. Pure.

What can be changed and what not is nats-server's rule (NATS documentation, "Streams"): never the storage,
and not from or to another retention without leaving consumers and messages behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from wsnode.config import Settings
from wsnode.jetstream import covers, fed_otherwise, wanted_stream

_NANOSECONDS = 1_000_000_000
_MICROSECONDS_DIGITS = 6
_FOREVER = "unlimited"

Change = Literal["possible", "loses", "impossible"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One property of the stream that is not as the settings ask.

    Attributes:
        name: as the variable that asks for it is called; storage, retention and discard have none.
        found, wanted: in words.
        change: possible; loses what can't be had back; impossible.
        note: what is lost, or what to do instead.
    """

    name: str
    found: str
    wanted: str
    change: Change
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs, and the configuration that takes it away: the stream's own, changed only there."""

    differences: tuple[Difference, ...]
    config: Mapping[str, Any]

    def of(self, change: Change) -> list[Difference]:
        """Those of one kind."""
        return [one for one in self.differences if one.change == change]


def compare(settings: Settings, info: Mapping[str, Any], now: datetime) -> Comparison:
    """`info` is the server's answer to STREAM.INFO. Other properties of the stream are left as they are."""
    config, state, wanted = info["config"], info["state"], wanted_stream(settings)
    found: list[Difference] = []
    new = dict(config)
    for key in ("storage", "retention"):
        if config.get(key) != wanted[key]:
            found.append(_never(settings, key, str(config.get(key)), str(wanted[key])))
    if config.get("discard") != wanted["discard"]:
        note = "where the stream is full, its oldest messages go then, and no new one is refused"
        found.append(Difference("discard", str(config.get("discard")), "old", "loses", note))
        new["discard"] = wanted["discard"]
    for key, name, unit in (
        ("max_age", "JS_STREAM_MAX_AGE", _NANOSECONDS),
        ("max_msgs", "JS_STREAM_MAX_MSGS", 1),
        ("max_bytes", "JS_STREAM_MAX_BYTES", 1),
    ):
        is_, asked = int(config.get(key) or 0), int(wanted[key])
        if is_ == asked:
            continue
        lost = _lost(key, asked, state, now)
        change: Change = "loses" if lost else "possible"
        found.append(Difference(name, _limit(key, is_, unit), _limit(key, asked, unit), change, lost))
        new[key] = asked
    if new.get("max_age") and new.get("duplicate_window", 0) > new["max_age"]:
        new["duplicate_window"] = new["max_age"]  # or the server refuses the rest
    found += _subjects(settings, config, new)
    if int(config.get("num_replicas") or 1) != wanted["num_replicas"]:
        copies = str(config.get("num_replicas") or 1), str(wanted["num_replicas"])
        found.append(Difference("JS_STREAM_REPLICAS", *copies, "possible"))
        new["num_replicas"] = wanted["num_replicas"]
    found += _republish(config, wanted, new)
    return Comparison(tuple(found), new)


def _never(settings: Settings, key: str, is_: str, wanted: str) -> Difference:
    name = settings.js_stream_name
    note = (
        f"JetStream can't change it: name another stream in JS_STREAM_NAME, on subjects that {name} "
        f"does not take, or delete {name} with all its messages (nats stream rm {name}) and apply again"
    )
    return Difference(key, is_, wanted, "impossible", note)


def _lost(key: str, asked: int, state: Mapping[str, Any], now: datetime) -> str:
    """What a lower limit would take away of what the stream holds now, in words; empty for nothing."""
    messages = int(state.get("messages") or 0)
    if key == "max_msgs" and messages > asked:
        return f"the oldest {messages - asked} of {messages} messages go"
    if key == "max_bytes" and int(state.get("bytes") or 0) > asked:
        return f"the oldest messages go, until {state['bytes']} bytes are {asked}"
    if key == "max_age" and messages:
        age = (now - _time(str(state["first_ts"]))).total_seconds()
        if age > asked / _NANOSECONDS:
            return f"messages above the age go: the oldest is {age:.0f} s old"
    return ""


def _subjects(settings: Settings, config: Mapping[str, Any], new: dict[str, Any]) -> list[Difference]:
    """Ours are added where they are missing; those of others stay."""
    there = list(config.get("subjects") or ())
    lacking = [one for one in settings.js_stream_subjects if not any(covers(own, one) for own in there)]
    if fed_otherwise(config) or not lacking:
        return []
    # The server refuses subjects of one stream that overlap: ours take the place of those within.
    kept = [own for own in there if not any(covers(one, own) for one in lacking)]
    new["subjects"] = [*kept, *lacking]
    return [Difference("JS_STREAM_SUBJECTS", ", ".join(there), ", ".join(new["subjects"]), "possible")]


def _republish(config: Mapping[str, Any], wanted: Mapping[str, Any], new: dict[str, Any]) -> list[Difference]:
    """Only where the settings ask for it: without, whoever reads what is republished is not ours."""
    asked, is_ = wanted.get("republish"), config.get("republish")
    if asked is None or (is_ and _republishes(is_) == _republishes(asked)):
        return []
    new["republish"] = asked
    before = f"{is_.get('src') or '>'} on {is_.get('dest')}" if is_ else "nothing"
    note = "who reads what is republished now gets no more of it" if is_ else ""
    change: Change = "loses" if is_ else "possible"
    wish = f"{asked['src']} on {asked['dest']}"
    return [Difference("WS_REPUBLISH_SUBJECT", before, wish, change, note)]


def _republishes(one: Mapping[str, Any]) -> tuple[str, str, bool]:
    return one.get("src") or ">", one.get("dest", ""), bool(one.get("headers_only"))


def _limit(key: str, value: int, unit: int) -> str:
    if value <= 0:
        return _FOREVER
    return f"{value / unit:.15g} s" if key == "max_age" else str(value)


def _time(text: str) -> datetime:
    """RFC 3339 with as many digits as the server gives, of which `datetime` takes six."""
    head, dot, tail = text.partition(".")
    if dot:
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        text = f"{head}.{digits[:_MICROSECONDS_DIGITS].ljust(_MICROSECONDS_DIGITS, '0')}{tail[len(digits) :]}"
    return datetime.fromisoformat(text)
