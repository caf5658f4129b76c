"""A robust estimate of costs from intervals of many nodes.

    CPU a second = idle + deliveries x cost of a delivery + reads x cost of a message taken in

By weighted least squares without negative costs, where each interval counts by how far it lies from the
rest: first absolute deviations, which a minority of outliers can't move, then Tukey's biweight, which leaves
them out (Huber and Ronchetti, Robust Statistics, chapter 7). Noise is taken as a share of the CPU in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from wsfleet.costs.meter import Interval
from wsfleet.costs.solve import non_negative, variance

LEAST_INTERVALS = 20
"""Fewer say nothing yet: twenty minutes of one node."""
LEAST_DELIVERIES = 10_000
SURE_SHARE = 0.10
"""A cost is known when its standard error is below this share of it."""
ASSUMED_READ_US = 300.0
"""What a message taken in is counted as at most, where its cost can't be told from the idle part. Measured
with real nodes: 260 us for one that comes alone, on a busy machine; less where several come together."""

_NOISE_SHARE = 0.05
_NOISE_FLOOR_US = 500.0  # half a thousandth of a core
_LEAST_NOISE = 0.2
_ABSOLUTE_ROUNDS, _BIWEIGHT_ROUNDS = 12, 12
_BIWEIGHT = 4.685  # 95 % as good as least squares where there are no outliers
_MAD_TO_SIGMA = 1.4826
_RIDGE = 1e-7
# Neighbouring intervals of one node resemble each other: they are counted as half of what they are.
_ALIKE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What traffic costs a node, as far as the intervals tell. CPU in microseconds."""

    intervals: int = 0
    """On which it rests."""
    outliers: int = 0
    message_us: float | None = None
    """CPU of a delivered message, None where not known; with all that is idle in it unless `split`."""
    message_error_us: float | None = None
    read_us: float = 0.0
    """CPU of a message taken in by one process."""
    read_known: bool = False
    """Whether it could be told from the idle part; else as much of that as ASSUMED_READ_US allows."""
    idle_us: float = 0.0
    """CPU a second that is spent whatever comes."""
    fixed_error_us: float = math.inf
    """Standard error of what `fixed_us` gives at the rate at which messages came."""
    split: bool = False
    """Whether what grows with deliveries could be told from what does not."""

    @property
    def known(self) -> bool:
        """Whether the cost of a message is known well enough to go by."""
        return self.message_us is not None

    def fixed_us(self, reads: float) -> float:
        """CPU microseconds a second that a node spends whatever it serves, at so many reads a second."""
        if not self.split:
            return 0.0
        return self.idle_us + self.read_us * reads

    def careful_fixed_us(self, reads: float) -> float:
        """The same on the safe side: too large a fixed part would make a fleet shrink too far."""
        return max(0.0, self.fixed_us(reads) - 2 * self.fixed_error_us) if self.split else 0.0


def fit(intervals: Sequence[Interval]) -> Estimate:
    """The costs behind intervals; an estimate that knows nothing where there are too few."""
    good = [one for one in intervals if all(math.isfinite(value) and value >= 0 for value in one)]
    if len(good) < LEAST_INTERVALS:
        return Estimate(intervals=len(good))
    return _Fit(good).estimate()


class _Fit:
    """One regression. Columns (idle, deliveries, reads) are scaled to a mean square of one."""

    def __init__(self, intervals: Sequence[Interval]) -> None:
        self._intervals = intervals
        self._cpu = [one.cpu_us for one in intervals]
        columns = ([1.0] * len(intervals), [i.deliveries for i in intervals], [i.reads for i in intervals])
        self._noise = self._noise_of(self._cpu)
        self._scales = [
            math.sqrt(sum((v / s) ** 2 for v, s in zip(column, self._noise, strict=True)) / len(intervals))
            or 1.0
            for column in columns
        ]
        self._rows = [
            tuple(value / scale for value, scale in zip(row, self._scales, strict=True))
            for row in zip(*columns, strict=True)
        ]
        self._weights = [1.0] * len(intervals)
        self._found = [0.0, 0.0, 0.0]

    def estimate(self) -> Estimate:
        for _ in range(_ABSOLUTE_ROUNDS):
            self._solve()
            self._weights = [1 / max(abs(one), 0.1) for one in self._residuals()]
        sigma = _LEAST_NOISE
        for _ in range(_BIWEIGHT_ROUNDS):
            self._solve()
            residuals = self._residuals()
            sigma = max(_LEAST_NOISE, _MAD_TO_SIGMA * median(abs(one) for one in residuals))
            self._weights = [_biweight(one / (_BIWEIGHT * sigma)) for one in residuals]
            self._noise = self._noise_of([self._predicted(row) for row in self._rows])
        return self._told(sigma)

    @staticmethod
    def _noise_of(cpu: Sequence[float]) -> list[float]:
        return [_NOISE_FLOOR_US + _NOISE_SHARE * one for one in cpu]

    def _predicted(self, row: Sequence[float]) -> float:
        return sum(one * cost for one, cost in zip(row, self._found, strict=True))

    def _residuals(self) -> list[float]:
        """How far each interval lies from the fit, in units of its noise."""
        return [
            (cpu - self._predicted(row)) / noise
            for cpu, row, noise in zip(self._cpu, self._rows, self._noise, strict=True)
        ]

    def _matrix(self) -> tuple[list[list[float]], list[float]]:
        matrix, right = [[0.0] * 3 for _ in range(3)], [0.0] * 3
        for row, cpu, noise, weight in zip(self._rows, self._cpu, self._noise, self._weights, strict=True):
            counts = weight / noise**2
            for at in range(3):
                part = counts * row[at]
                right[at] += part * cpu
                for column in range(3):
                    matrix[at][column] += part * row[column]
        return matrix, right

    def _solve(self) -> None:
        matrix, right = self._matrix()
        total = sum(self._weights) or 1.0
        self._found = non_negative(
            [[one / total for one in row] for row in matrix], [one / total for one in right]
        )

    def _told(self, sigma: float) -> Estimate:
        """What the fit says, and of what it can be sure."""
        matrix, _ = self._matrix()
        kept = [one for one, weight in zip(self._intervals, self._weights, strict=True) if weight > 0]
        idle, message, read = (cost / scale for cost, scale in zip(self._found, self._scales, strict=True))

        def error(direction: tuple[float, float, float]) -> float:
            scaled = [one / scale for one, scale in zip(direction, self._scales, strict=True)]
            ridge = _RIDGE * sum(self._weights)
            return sigma * math.sqrt(_ALIKE * variance(matrix, scaled, ridge))

        reads = median(one.reads for one in kept) if kept else 0.0
        message_error, read_error = error((0.0, 1.0, 0.0)), error((0.0, 0.0, 1.0))
        nothing = Estimate(intervals=len(self._intervals), outliers=len(self._intervals) - len(kept))
        delivered = sum(one.deliveries for one in kept)
        if not delivered or delivered * 60 < LEAST_DELIVERIES or len(kept) < LEAST_INTERVALS / 2:
            return nothing
        if message <= 0 or message_error > SURE_SHARE * message:
            # All of the CPU over all deliveries: never too low, however much of it is the idle part.
            most = sum(one.cpu_us for one in kept) / delivered
            return replace(nothing, message_us=most)
        known_read = read_error <= max(SURE_SHARE * read, 5.0)
        if not known_read:
            together = idle + read * reads
            read = min(ASSUMED_READ_US, together / reads) if reads > 0 else 0.0
            idle = together - read * reads
        return replace(
            nothing,
            message_us=message,
            message_error_us=message_error,
            read_us=read,
            read_known=known_read,
            idle_us=idle,
            fixed_error_us=error((1.0, 0.0, reads)),
            split=True,
        )


def _biweight(distance: float) -> float:
    return (1 - distance**2) ** 2 if abs(distance) < 1 else 0.0
