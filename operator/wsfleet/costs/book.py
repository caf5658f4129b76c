"""What is kept of one fleet's costs: intervals in bounded number, the estimate they give, memory, readers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from wsfleet.costs.fit import Estimate, fit
from wsfleet.costs.meter import Interval, Meter, NodeCount

INTERVALS_KEPT = 96
KEPT_SECONDS = 14 * 86_400.0
FIT_SECONDS = 300.0
"""A fit takes some milliseconds, and a minute changes little."""
LEAST_SPAN_CONNECTIONS = 500
"""A node's own figure of memory a connection counts once it has seen so many come."""
_RECENT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMemory:
    """A node's own figure of memory a connection, and over how many connections it saw memory grow."""

    bytes_per_connection: float
    connections: float

    @property
    def usable(self) -> bool:
        values = (self.bytes_per_connection, self.connections)
        return all(map(math.isfinite, values)) and self.bytes_per_connection > 0


class CostBook:
    """The costs of one fleet as far as its nodes have told them. Lives as long as the operator looks at it.

    Attributes:
        intervals: kept ones, oldest first.
        measured: how many intervals there have been in all.
        estimate: of the last fit.
        memory_bytes: memory a connection, None before a node could tell.
        readers: processes of a node that each read the feed.
        reads: messages taken in a second by a node, times its readers, at present.
    """

    def __init__(self) -> None:
        self.intervals: list[Interval] = []
        self.measured = 0
        self.estimate = Estimate()
        # Minus infinity: never. It is kept over a restart, so that a thousand fleets are not fitted at once.
        self.fitted_at = -math.inf
        self.memory_bytes: float | None = None
        self.readers = 1
        self.reads = 0.0
        self._meter = Meter()

    def observe(self, counts: Iterable[NodeCount], memories: Iterable[NodeMemory], now: float) -> bool:
        """Take in one look (`now` in epoch seconds); whether there is a new estimate."""
        seen = list(counts)
        fresh = self._meter.observe(seen, now)
        if seen:
            self.readers = max(1, round(median(one.readers for one in seen)))
        for interval in fresh:
            self._keep(interval)
        due = bool(self.intervals) and not 0 <= now - self.fitted_at < FIT_SECONDS
        # An idle fleet's figures need not be worked out anew: nothing has come.
        if not due or not (fresh or self.fitted_at == -math.inf):
            return False
        self._fit(list(memories), now)
        return True

    def fixed_percent(self, cpu_limit_cores: float) -> float:
        """Of a node's CPU %, what it spends whatever it serves; 0 where that can't be told.

        CPU % is the greater of the share of the limit and the busiest loop's share of one core.
        """
        cores = min(cpu_limit_cores, float(self.readers))
        if not cores > 0:
            return 0.0
        return min(100.0, self.estimate.careful_fixed_us(self.reads) / (cores * 10_000))

    def _fit(self, memories: list[NodeMemory], now: float) -> None:
        self.intervals = [one for one in self.intervals if one.time > now - KEPT_SECONDS]
        recent = [one.reads for one in self.intervals if one.time > now - _RECENT_SECONDS]
        self.reads = median(recent) if recent else self.reads
        self.estimate, self.fitted_at = fit(self.intervals), now
        told = [one for one in memories if one.usable and one.connections >= LEAST_SPAN_CONNECTIONS]
        if told:
            self.memory_bytes = _weighted_median(told)

    def _keep(self, interval: Interval) -> None:
        """Keep it; where there are too many, the oldest of those goes that are most alike."""
        self.measured += 1
        self.intervals.append(interval)
        if len(self.intervals) <= INTERVALS_KEPT:
            return
        cells = [_cell(one) for one in self.intervals]
        crowded = Counter(cells).most_common(1)[0][0]
        del self.intervals[cells.index(crowded)]


def _cell(interval: Interval) -> tuple[int, int]:
    """Intervals of about the same load: within a factor of two. Rare loads are what tells costs apart."""
    return tuple(math.frexp(one)[1] for one in (interval.deliveries, interval.reads))  # type: ignore[return-value]


def _weighted_median(told: Iterable[NodeMemory]) -> float:
    ordered = sorted(told, key=lambda one: one.bytes_per_connection)
    half = sum(one.connections for one in ordered) / 2
    passed = 0.0
    for one in ordered:
        passed += one.connections
        if passed >= half:
            return one.bytes_per_connection
    return ordered[-1].bytes_per_connection
