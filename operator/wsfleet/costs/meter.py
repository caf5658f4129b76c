"""Intervals of about a minute from the counters that nodes show every few seconds.

An interval in which a node did something else than serve (filled its ring, took in a crowd, replayed,
drained, paused, started again) says little about what serving costs, and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

INTERVAL_SECONDS = 60.0
LONGEST_SECONDS = 180.0
"""Scrapes that failed for longer than this end an interval unused."""
YOUNG_SECONDS = 60.0
"""A node younger than this fills its ring and takes clients in."""
NODES_WATCHED = 200
"""Of a larger fleet some nodes speak for all: those whose UID comes first."""
STEADY_SHARE = 0.2
"""Connections may change by this share within an interval; opening and closing cost too."""
REPLAYED_SHARE = 0.1
"""Of the deliveries that may be of the past: a replay writes many messages at once, which costs less."""
_FEW_CONNECTIONS = 20
_CLOCK_SECONDS = 5.0  # by which a node's uptime and our clock may part, as an answer may take
_MOST = 2.0**53
_MOST_CORES = 1024.0
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCount:
    """One node's counters at one moment. `taken` are seconds of any clock that only goes forward.

    `readers` are the processes that each read the feed: a message is taken in by every one of them, while
    `messages_in` counts it once.
    """

    uid: str
    taken: float
    uptime_seconds: float | None = None
    cpu_seconds: float | None = None
    deliveries: float | None = None
    replayed: float | None = None
    messages_in: float | None = None
    readers: int = 1
    connections: int | None = None
    steady: bool = True
    """Serving: ready, seeded, neither paused nor draining."""

    @property
    def usable(self) -> bool:
        """Whether all that an interval needs is there, and can be true."""
        needed = (self.uptime_seconds, self.cpu_seconds, self.deliveries, self.messages_in, self.connections)
        known = all(one is not None and math.isfinite(one) and 0 <= one <= _MOST for one in needed)
        return known and self.steady and self.readers >= 1 and math.isfinite(self.taken)


class Interval(NamedTuple):
    """What a node did in about a minute, as rates a second."""

    time: float
    """Epoch seconds of its end."""
    cpu_us: float
    """CPU microseconds a second."""
    deliveries: float
    reads: float
    """Messages taken in, times the processes that each took them in."""
    connections: float


class Meter:
    """The counters from which each node's present interval began; gives an interval when one is full."""

    def __init__(
        self, interval_seconds: float = INTERVAL_SECONDS, young_seconds: float = YOUNG_SECONDS
    ) -> None:
        self._interval_seconds, self._young_seconds = interval_seconds, young_seconds
        self._began: dict[str, NodeCount] = {}

    def observe(self, counts: Iterable[NodeCount], now: float) -> list[Interval]:
        """Take in one look at the nodes (`now` in epoch seconds); the intervals that it completed."""
        began, found = {}, []
        for count in sorted(counts, key=lambda one: one.uid)[:NODES_WATCHED]:
            before = self._began.get(count.uid)
            if not count.usable:
                continue
            if before is None or not self._continues(before, count):
                began[count.uid] = count
            elif count.taken - before.taken < self._interval_seconds:
                began[count.uid] = before
            else:
                began[count.uid] = count
                interval = _interval(before, count, now)
                if interval is not None:
                    found.append(interval)
        self._began = began
        return found

    def _continues(self, before: NodeCount, count: NodeCount) -> bool:
        """Whether it is the same run of the same node, old enough, and the gap is not too long."""
        up_before, up = before.uptime_seconds or 0.0, count.uptime_seconds or 0.0
        seconds = count.taken - before.taken
        return (
            0 <= seconds <= LONGEST_SECONDS
            and up_before >= self._young_seconds
            # One that started again has run for less time than has passed.
            and abs(up - up_before - seconds) < _CLOCK_SECONDS
            and count.readers == before.readers
        )


def _interval(before: NodeCount, count: NodeCount, now: float) -> Interval | None:
    """The rates between two counts of one run, None where the node did not just serve."""
    seconds = count.taken - before.taken
    cpu = _grown(before.cpu_seconds, count.cpu_seconds)
    delivered = _grown(before.deliveries, count.deliveries)
    taken_in = _grown(before.messages_in, count.messages_in)
    if min(cpu, delivered, taken_in) < 0 or cpu / seconds > _MOST_CORES:
        return None
    if _grown(before.replayed, count.replayed) > REPLAYED_SHARE * delivered:
        return None
    first, last = before.connections or 0, count.connections or 0
    if abs(last - first) > max(_FEW_CONNECTIONS, STEADY_SHARE * max(first, last)):
        return None
    return Interval(
        time=now,
        cpu_us=cpu / seconds * _MICROSECONDS,
        deliveries=delivered / seconds,
        reads=taken_in / seconds * count.readers,
        connections=(first + last) / 2,
    )


def _grown(before: float | None, after: float | None) -> float:
    return (after or 0.0) - (before or 0.0)
