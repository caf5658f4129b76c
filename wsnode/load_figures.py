"""Figures of a load run: counted in plain integers by the engine, handed out as one value."""

from __future__ import annotations

import math
import resource
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

_NOTES_KEPT = 20
_RATE_SECONDS = 5


class Histogram:
    """Counts in bins of equal width, exact to one bin; what is above the last bin counts there."""

    def __init__(self, unit_ms: float, bins: int) -> None:
        self.unit_ms = unit_ms
        self.bins = array("Q", bytes(8 * bins))
        self.top = bins - 1
        self.longest_ms = 0.0

    def add(self, value_ms: float) -> None:
        """One value; below zero (another machine's clock) counts as zero."""
        self.longest_ms = max(self.longest_ms, value_ms)
        self.bins[min(max(int(value_ms / self.unit_ms), 0), self.top)] += 1

    def percentiles(self, *shares: float) -> dict[str, float]:
        """Milliseconds that the given shares (per cent) of all values do not exceed, as p50, p99, …

        With the longest value and their count; empty where there are no values.
        """
        counts = self.bins[: min(int(self.longest_ms / self.unit_ms), self.top) + 1]
        total = sum(counts)
        if total == 0:
            return {}
        result: dict[str, float] = {}
        wanted = sorted(shares, reverse=True)
        seen = 0
        for number, amount in enumerate(counts):
            seen += amount
            while wanted and seen >= math.ceil(total * wanted[-1] / 100):
                upper = min((number + 1) * self.unit_ms, self.longest_ms)
                result[f"p{wanted.pop():g}"] = round(upper, 3)
            if not wanted:
                break
        return {**result, "max": round(self.longest_ms, 3), "count": total}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures at one moment. Times are seconds since the epoch, latencies milliseconds.

    `lost`, `doubled`, `reordered` and `unasked` are judged only in checking mode; `lost` counts ranges
    with at least one message missing. `missed_while_away` counts ranges missed between a close and the
    reconnect by clients that do not resume. Of those that do: `resumed` counts resumes, `told` ranges
    that a node said to be missing, `unrecovered` resumes of which a node knew nothing, and the figures
    of `catch_up_ms` are from subscribe to caught up. `behind` counts the subscribed clients' channels of
    which others have had something newer already. Replays do not count in `latency_ms`.
    """

    wanted: int = 0
    started: int = 0
    open: int = 0
    subscribed: int = 0
    waiting: int = 0
    opened_total: int = 0
    reconnects: int = 0
    failed_opens: dict[str, int] = field(default_factory=dict)
    closes: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    connect_ms: dict[str, float] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    messages: int = 0
    deliveries: int = 0
    messages_per_second: float = 0.0
    deliveries_per_second: float = 0.0
    bytes_in: int = 0
    positions: int = 0
    pings: int = 0
    pongs: int = 0
    feed_losses: int = 0
    checked: bool = False
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    unasked: int = 0
    missed_while_away: int = 0
    resumed: int = 0
    told: int = 0
    unrecovered: int = 0
    behind: int = 0
    catch_up_ms: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    nodes: dict[str, dict[str, float]] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    started_at: float = 0.0
    taken_at: float = 0.0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    error: str | None = None

    @property
    def broken(self) -> int:
        """How often a node's promise was broken; being away breaks none."""
        return self.lost + self.doubled + self.reordered + self.unasked

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**values)


class Figures:
    """The engine's counters. Written by the engine's thread only; read by any."""

    def __init__(self, marks: tuple[int, ...] = ()) -> None:
        self.started_at = time.time()
        self.open = 0
        self.subscribed = 0
        self.opened_total = 0
        self.reconnects = 0
        self.failed_opens: dict[str, int] = {}
        self.closes: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.connect = Histogram(0.5, 60_000)
        self.latency = Histogram(1.0, 60_000)
        self.catch_up = Histogram(1.0, 60_000)
        self.resumed = 0
        self.unrecovered = 0
        self.messages = 0
        self.deliveries = 0
        self.bytes_in = 0
        self.positions = 0
        self.pings = 0
        self.pongs = 0
        self.feed_losses = 0
        self.notes: list[str] = []
        self.nodes: dict[str, list[float]] = {}
        """Node name to [connections now, first seen]."""
        self.marks: dict[str, float] = {}
        self._marks_ahead = sorted(set(marks), reverse=True)
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_RATE_SECONDS + 1)

    def opened(self) -> None:
        """One more open connection; notes the marks it crosses."""
        self.open += 1
        self.opened_total += 1
        while self._marks_ahead and self.open >= self._marks_ahead[-1]:
            self.marks[str(self._marks_ahead.pop())] = time.time()

    def greeted(self, node: str) -> None:
        """A hello of this node."""
        entry = self.nodes.setdefault(node, [0, time.time()])
        entry[0] += 1

    def left(self, node: str) -> None:
        """A connection that this node greeted is over."""
        self.nodes[node][0] -= 1

    def note(self, text: str) -> None:
        """Keep the first few findings in words."""
        if len(self.notes) < _NOTES_KEPT:
            self.notes.append(text)

    def sample(self, now: float) -> None:
        """To be called about once a second; rates are over the last few samples."""
        self._samples.append((now, self.messages, self.deliveries))

    def rates(self) -> tuple[float, float]:
        """Messages and deliveries a second, lately."""
        samples = list(self._samples)
        if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
            return 0.0, 0.0
        span = samples[-1][0] - samples[0][0]
        return (samples[-1][1] - samples[0][1]) / span, (samples[-1][2] - samples[0][2]) / span

    def snapshot(self, **others: Any) -> Snapshot:
        """Everything now; `others` are the figures that the engine's tables hold."""
        messages_rate, deliveries_rate = self.rates()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Snapshot(
            open=self.open,
            subscribed=self.subscribed,
            opened_total=self.opened_total,
            reconnects=self.reconnects,
            failed_opens=dict(self.failed_opens),
            closes=dict(self.closes),
            errors=dict(self.errors),
            connect_ms=self.connect.percentiles(50, 90, 99),
            latency_ms=self.latency.percentiles(50, 99, 99.9),
            catch_up_ms=self.catch_up.percentiles(50, 99),
            resumed=self.resumed,
            unrecovered=self.unrecovered,
            messages=self.messages,
            deliveries=self.deliveries,
            messages_per_second=round(messages_rate, 1),
            deliveries_per_second=round(deliveries_rate, 1),
            bytes_in=self.bytes_in,
            positions=self.positions,
            pings=self.pings,
            pongs=self.pongs,
            feed_losses=self.feed_losses,
            notes=list(self.notes),
            nodes={
                name: {"open": int(n), "first_seen": seen} for name, (n, seen) in dict(self.nodes).items()
            },
            marks=dict(self.marks),
            started_at=self.started_at,
            taken_at=time.time(),
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
            memory_bytes=_resident_bytes(),
            **others,
        )


def count(counts: dict[str, int], key: str) -> None:
    """One more of `key`."""
    counts[key] = counts.get(key, 0) + 1


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()
