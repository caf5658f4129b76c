"""The HorizontalPodAutoscaler's algorithm (autoscaling/v2) with its documented defaults, as a pure function.

After Kubernetes' documentation of horizontal pod autoscaling: ratio of figure and target, tolerance 0.1,
pods that are not ready or give no figure taken in favour of standing still, the highest of several metrics,
downscale stabilisation of 300 s, up by 100 % or 4 pods in 15 s, down by 100 % in 15 s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

SYNC_SECONDS = 15.0
TOLERANCE = 0.1
DOWNSCALE_STABILIZATION_SECONDS = 300.0
POLICY_SECONDS = 15.0
UP_PERCENT = 100.0
UP_PODS = 4
DOWN_PERCENT = 100.0
CPU_INITIALIZATION_SECONDS = 300.0
INITIAL_READINESS_SECONDS = 30.0
CPU_WINDOW_SECONDS = 15.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaPod:
    """A pod as the HPA sees it; a figure of None is missing. Ages in seconds.

    `ready_changed_age`: since when readiness is as it is.
    """

    connections: float | None
    cpu_percent: float | None
    ready: bool = True
    pending: bool = False
    age: float = 3600.0
    ready_changed_age: float = 3600.0
    cpu_age: float = 0.0

    @property
    def cpu_unready(self) -> bool:
        """Set aside for CPU: while it starts, or unready since its start."""
        if self.pending:
            return True
        if self.age < CPU_INITIALIZATION_SECONDS:
            return not self.ready or self.cpu_age + CPU_WINDOW_SECONDS > self.ready_changed_age
        became = self.age - self.ready_changed_age
        return not self.ready and became < INITIAL_READINESS_SECONDS


class Scaled(NamedTuple):
    """A change of size that was made: when and by how many pods (negative: fewer)."""

    time: float
    change: int


@dataclass(frozen=True, slots=True)
class HpaMemory:
    """What the HPA remembers: recommendations as (time, replicas), and changes made."""

    recommendations: tuple[tuple[float, int], ...] = ()
    changes: tuple[Scaled, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaPolicy:
    """Targets and bounds: a mean of connections a pod, a mean CPU %."""

    connections: float
    cpu_percent: float
    min_replicas: int = 1
    max_replicas: int = 10


def wanted_by_metric(
    values: Sequence[float], missing: int, unready: int, current: int, target: float, fallback: float
) -> int | None:
    """Replicas by one metric; None where no ready pod gives a figure.

    `values` are the figures of the pods that count, `missing` pods give none, `unready` ones are set aside.
    `fallback` stands for a missing figure when the others ask for fewer pods.
    """
    if not values:
        return None
    ratio = sum(values) / len(values) / target
    if not missing and not (unready and ratio > 1):
        if abs(ratio - 1) <= TOLERANCE + _ROUNDING:
            return current
        return math.ceil(ratio * len(values) - _ROUNDING)
    total, count = sum(values), len(values)
    if missing:
        total += missing * fallback if ratio < 1 else 0.0
        count += missing
    if unready and ratio > 1:
        count += unready
    new_ratio = total / count / target
    turned = (ratio < 1 < new_ratio) or (new_ratio < 1 < ratio)
    if abs(new_ratio - 1) <= TOLERANCE + _ROUNDING or turned:
        return current
    wanted = math.ceil(new_ratio * count - _ROUNDING)
    against = (new_ratio < 1 and wanted > current) or (new_ratio > 1 and wanted < current)
    return current if against else wanted


def recommend(policy: HpaPolicy, pods: Sequence[HpaPod], current: int) -> int | None:
    """The highest of both metrics; with one of them unknown only upwards; None: nothing is known."""
    started = [pod for pod in pods if not pod.pending]
    connections = wanted_by_metric(
        [pod.connections for pod in started if pod.connections is not None],
        sum(1 for pod in started if pod.connections is None),
        len(pods) - len(started),
        current,
        policy.connections,
        policy.connections,
    )
    # A pod without a figure is missing before it is judged for readiness.
    known = [pod for pod in started if pod.cpu_percent is not None]
    cpu = wanted_by_metric(
        [pod.cpu_percent for pod in known if pod.cpu_percent is not None and not pod.cpu_unready],
        len(started) - len(known),
        len(pods) - len(started) + sum(1 for pod in known if pod.cpu_unready),
        current,
        policy.cpu_percent,
        max(100.0, policy.cpu_percent),
    )
    found = [one for one in (connections, cpu) if one is not None]
    if not found or (len(found) < 2 and max(found) < current):
        return None
    return max(found)


def next_replicas(
    policy: HpaPolicy, pods: Sequence[HpaPod], current: int, memory: HpaMemory, now: float
) -> tuple[int, HpaMemory]:
    """One sync: the replicas to be written, and what is remembered. Of 0 replicas nothing is made."""
    if current == 0:
        return 0, memory
    if not policy.min_replicas <= current <= policy.max_replicas:
        bounded = min(max(current, policy.min_replicas), policy.max_replicas)
        return bounded, _changed(memory, now, bounded - current)
    wanted = recommend(policy, pods, current)
    if wanted is None:
        return current, memory
    oldest = now - DOWNSCALE_STABILIZATION_SECONDS
    kept = tuple(one for one in memory.recommendations if one[0] > oldest)
    memory = replace(memory, recommendations=(*kept, (now, wanted)))
    if wanted < current:
        wanted = min(current, max(value for _, value in memory.recommendations))
    size = _limited(policy, wanted, current, memory, now)
    return size, _changed(memory, now, size - current)


def _limited(policy: HpaPolicy, wanted: int, current: int, memory: HpaMemory, now: float) -> int:
    recent = [one.change for one in memory.changes if one.time > now - POLICY_SECONDS]
    if wanted > current:
        base = current - sum(change for change in recent if change > 0)
        most = max(base + UP_PODS, math.ceil(base * (1 + UP_PERCENT / 100)))
        return min(wanted, max(most, current), policy.max_replicas)
    if wanted < current:
        base = current - sum(change for change in recent if change < 0)
        least = int(base * (1 - DOWN_PERCENT / 100))
        return max(wanted, min(least, current), policy.min_replicas)
    return current


def _changed(memory: HpaMemory, now: float, change: int) -> HpaMemory:
    kept = tuple(one for one in memory.changes if one.time > now - POLICY_SECONDS)
    return replace(memory, changes=(*kept, Scaled(now, change)) if change else kept)
