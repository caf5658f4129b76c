"""A node's figures, read leniently from its GET /status: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What the node's stream keeps and takes; a limit it does not have is 0 or less."""

    max_age_seconds: float | None
    max_msgs: int | None
    max_bytes: int | None
    subjects: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """One node's own account. A figure that is missing, negative, absurd or not a number is None."""

    taken: float
    """Monotonic seconds at which it was received."""
    version: str = ""
    uptime_seconds: float | None = None
    ready: bool = False
    connections: int | None = None
    max_connections: int | None = None
    cpu_percent: float | None = None
    cpu_limit_cores: float | None = None
    memory_bytes: int | None = None
    rejections: Mapping[str, int] = field(default_factory=dict)
    feed_connected: bool | None = None
    feed_paused: bool = False
    feed_seeded: bool | None = None
    feed_problem: str | None = None
    feed_trouble: str | None = None
    """Address of the broker, and why it is not reached now."""
    stream: StreamFigures | None = None
    drain_state: str = "none"
    drain_remaining: int | None = None
    drain_rate: float | None = None
    """Closes a second of the drain under way."""
    shed_remaining: int | None = None
    """Connections that the node still closes to have fewer, while it serves on."""
    settings_hash: str | None = None
    settings_error: str | None = None
    cpu_seconds_total: float | None = None
    deliveries_total: float | None = None
    replayed_total: float | None = None
    messages_in_total: float | None = None
    feed_readers: int | None = None
    """Processes of the node that each take in every message."""
    memory_per_connection: float | None = None
    """Bytes, by the node's own growth, as seen over so many connections."""
    memory_over_connections: int | None = None

    @property
    def draining(self) -> bool:
        return self.drain_state != "none"


def parse_status(answer: Any, taken: float) -> NodeFigures:
    """Figures from the JSON of GET /status; whatever is missing or strange in it is left out."""
    read = _Reader(answer)
    return NodeFigures(
        taken=taken,
        version=read.text("version") or "",
        uptime_seconds=read.number("uptime_seconds"),
        ready=read.flag("ready") or False,
        connections=read.integer("connections", "current"),
        max_connections=read.integer("connections", "max"),
        cpu_percent=read.number("cpu", "percent"),
        cpu_limit_cores=read.number("cpu", "limit_cores"),
        memory_bytes=read.integer("memory", "bytes"),
        rejections=read.counts("rejections"),
        feed_connected=read.flag("feed", "connected"),
        feed_paused=read.flag("feed", "paused") or False,
        feed_seeded=read.flag("feed", "seeded"),
        feed_problem=read.text("feed", "problem"),
        feed_trouble=read.text("feed", "trouble"),
        stream=read.stream("feed", "stream"),
        drain_state=read.text("drain", "state") or "none",
        drain_remaining=read.integer("drain", "remaining"),
        drain_rate=read.number("drain", "rate_per_second"),
        shed_remaining=read.integer("shed", "remaining"),
        settings_hash=read.text("settings", "hash"),
        settings_error=read.text("settings", "error"),
        cpu_seconds_total=read.number("costs", "cpu_seconds_total"),
        deliveries_total=read.number("costs", "deliveries_total"),
        replayed_total=read.number("costs", "replayed_total"),
        messages_in_total=read.number("costs", "messages_in_total"),
        feed_readers=read.integer("costs", "feed_readers"),
        memory_per_connection=read.number("costs", "memory_bytes_per_connection"),
        memory_over_connections=read.integer("costs", "memory_over_connections"),
    )


# What JSON carries exactly. A node that says more would else make a status that the API server refuses.
_LARGEST = 2.0**53


class _Reader:
    """Values out of foreign JSON by path, None for what is not there or not of the kind."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def _at(self, path: tuple[str, ...]) -> Any:
        value = self._answer
        for name in path:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    def number(self, *path: str) -> float | None:
        return _finite(self._at(path))

    def integer(self, *path: str) -> int | None:
        value = self.number(*path)
        return None if value is None else int(value)

    def flag(self, *path: str) -> bool | None:
        value = self._at(path)
        return value if isinstance(value, bool) else None

    def text(self, *path: str) -> str | None:
        value = self._at(path)
        return value[:1000] if isinstance(value, str) else None

    def stream(self, *path: str) -> StreamFigures | None:
        value = self._at(path)
        if not isinstance(value, dict):
            return None
        subjects = value.get("subjects")
        if not isinstance(subjects, list) or not all(isinstance(one, str) for one in subjects):
            subjects = None
        messages, size = _limit(value.get("max_msgs")), _limit(value.get("max_bytes"))
        return StreamFigures(
            max_age_seconds=_limit(value.get("max_age_seconds")),
            max_msgs=None if messages is None else int(messages),
            max_bytes=None if size is None else int(size),
            subjects=None if subjects is None else tuple(one[:256] for one in subjects),
        )

    def counts(self, *path: str) -> dict[str, int]:
        value = self._at(path)
        items = value.items() if isinstance(value, dict) else ()
        return {str(name): int(number) for name, raw in items if (number := _finite(raw)) is not None}


def _limit(value: Any) -> float | None:
    """A limit of a stream: -1 is none."""
    return -1.0 if value == -1 else _finite(value)


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if 0 <= number <= _LARGEST else None
