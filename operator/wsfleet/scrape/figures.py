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
    whole = _part(answer)
    connections, cpu, memory = (_part(whole.get(name)) for name in ("connections", "cpu", "memory"))
    feed, drain, shed = (_part(whole.get(name)) for name in ("feed", "drain", "shed"))
    settings, costs = (_part(whole.get(name)) for name in ("settings", "costs"))
    return NodeFigures(
        taken=taken,
        version=_text(whole.get("version")) or "",
        uptime_seconds=_finite(whole.get("uptime_seconds")),
        ready=_flag(whole.get("ready")) or False,
        connections=_whole_number(connections.get("current")),
        max_connections=_whole_number(connections.get("max")),
        cpu_percent=_finite(cpu.get("percent")),
        cpu_limit_cores=_finite(cpu.get("limit_cores")),
        memory_bytes=_whole_number(memory.get("bytes")),
        rejections=_counts(whole.get("rejections")),
        feed_connected=_flag(feed.get("connected")),
        feed_paused=_flag(feed.get("paused")) or False,
        feed_seeded=_flag(feed.get("seeded")),
        feed_problem=_text(feed.get("problem")),
        feed_trouble=_text(feed.get("trouble")),
        stream=_stream(feed.get("stream")),
        drain_state=_text(drain.get("state")) or "none",
        drain_remaining=_whole_number(drain.get("remaining")),
        shed_remaining=_whole_number(shed.get("remaining")),
        settings_hash=_text(settings.get("hash")),
        settings_error=_text(settings.get("error")),
        cpu_seconds_total=_finite(costs.get("cpu_seconds_total")),
        deliveries_total=_finite(costs.get("deliveries_total")),
        replayed_total=_finite(costs.get("replayed_total")),
        messages_in_total=_finite(costs.get("messages_in_total")),
        feed_readers=_whole_number(costs.get("feed_readers")),
        memory_per_connection=_finite(costs.get("memory_bytes_per_connection")),
        memory_over_connections=_whole_number(costs.get("memory_over_connections")),
    )


# What JSON carries exactly. A node that says more would else make a status that the API server refuses.
_LARGEST = 2.0**53
_LONGEST_TEXT = 1000

_NOTHING: Mapping[str, Any] = {}


def _part(value: Any) -> Mapping[str, Any]:
    """An object of foreign JSON, empty where there is none."""
    return value if isinstance(value, dict) else _NOTHING


def _whole_number(value: Any) -> int | None:
    number = _finite(value)
    return None if number is None else int(number)


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else None


def _stream(value: Any) -> StreamFigures | None:
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


def _counts(value: Any) -> dict[str, int]:
    items = _part(value).items()
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
