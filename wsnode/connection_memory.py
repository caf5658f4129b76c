"""What a connection takes of memory, from how the node's memory grew while connections came.

Memory that clients leave behind is not given back to the system at once, so figures are taken only on the
way up: near the most connections that there were. Memory is sampled in steps of connections, a median each,
and the slope between the steps is the figure. Plain integers, a sample a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_KEPT = 9
"""Samples a step, the newest."""
_LEAST_SPAN = 200
"""Connections between the lowest and the highest step; with fewer, noise is larger than what they take."""
_SETTLE_SAMPLES = 10
"""Not sampled before: what starts up grows on its own."""


@dataclass(frozen=True, slots=True)
class ConnectionMemory:
    """Memory of one connection, in bytes, and over how many connections it was seen to grow."""

    bytes_each: int
    connections: int


class MemoryGrowth:
    """Call `sample` each second; `figure` is worked out when it is asked for."""

    def __init__(self) -> None:
        self._steps: dict[int, list[tuple[int, int]]] = {}
        self._most = self._seen = 0

    def sample(self, connections: int, memory_bytes: int) -> None:
        """Takes one sample; `memory_bytes` is without what grows by itself, such as the ring."""
        self._seen += 1
        if self._seen <= _SETTLE_SAMPLES:
            return
        self._most = max(self._most, connections)
        if 4 * connections < 3 * self._most:
            return
        samples = self._steps.setdefault(_step(connections), [])
        if len(samples) == _KEPT:
            del samples[0]
        samples.append((connections, memory_bytes))

    def reset(self) -> None:
        """Forgets everything: a process that was replaced begins anew."""
        self._steps.clear()
        self._most = self._seen = 0

    @property
    def figure(self) -> ConnectionMemory | None:
        """The slope, None while the node has not seen enough connections come."""
        points = _medians(self._steps)
        if len(points) < 2:
            return None
        span = points[-1][0] - points[0][0]
        if span < _LEAST_SPAN:
            return None
        slopes = [
            (right[0] - left[0], (right[1] - left[1]) / (right[0] - left[0]))
            for at, left in enumerate(points)
            for right in points[at + 1 :]
            if right[0] > left[0]
        ]
        return ConnectionMemory(max(0, round(_weighted_median(slopes))), span)


def _step(connections: int) -> int:
    """Steps of a quarter of a power of two: 0, 1, 2, ..., 8, 10, 12, 14, 16, 20, ..."""
    if connections < 8:
        return connections
    shift = connections.bit_length() - 3
    return (connections >> shift) << shift


def _medians(steps: Mapping[int, Sequence[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Connections and memory of each step, in order."""
    points = []
    for step in sorted(steps):
        samples = steps[step]
        middle = len(samples) // 2
        points.append((sorted(c for c, _ in samples)[middle], sorted(b for _, b in samples)[middle]))
    return points


def _weighted_median(slopes: Sequence[tuple[int, float]]) -> float:
    """By the connections that a slope spans: over few of them it is mostly noise."""
    ordered = sorted(slopes, key=lambda one: one[1])
    half = sum(weight for weight, _ in ordered) / 2
    passed = 0.0
    for weight, slope in ordered:
        passed += weight
        if passed >= half:
            return slope
    return ordered[-1][1]
