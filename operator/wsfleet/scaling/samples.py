"""What was seen of the nodes: one snapshot of the fleet, values only.

A figure that is absent, NaN, infinite or negative is missing, and missing is None, never zero. This module is
the one place where that is decided (`figure`, `count`); everything after it may trust what it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CPU_REASON = "cpu"
FULL_REASON = "connections"


class Phase(StrEnum):
    """Where a pod stands in its life; a pod with a deletion timestamp is terminating, whatever else it is."""

    PENDING = "pending"
    RUNNING = "running"
    TERMINATING = "terminating"


class DrainState(StrEnum):
    """The node's own word about its drain (`drain.state` of its status)."""

    NONE = "none"
    DELAY = "delay"
    CLOSING = "closing"
    DRAINED = "drained"


def figure(value: object) -> float | None:
    """A measured figure, or None where it can't be one: absent, no number, NaN, infinite, negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value)
    return number if math.isfinite(number) and number >= 0 else None


def count(value: object) -> int | None:
    """A measured count, or None; see `figure`."""
    if type(value) is int:  # nearly all are, and a fleet has thousands
        return value if value >= 0 else None
    number = figure(value)
    return None if number is None else int(number)


def drain_state(value: object) -> DrainState | None:
    """The drain state a node reports, or None where it says nothing that is understood."""
    try:
        return DrainState(str(value))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSample:
    """One pod of the fleet with the last figures its admin port gave.

    `*_seconds` are ages at the snapshot's time. `ready_seconds`, `unready_seconds`: how long it has been so;
    the second, if not given, is the pod's age. `sample_age_seconds` None: this pod never answered. `serving`
    is the label that the Service selects. `marked_seconds`: how long the pod has carried the mark of a drain
    victim (annotation and pod-deletion-cost), None without a mark. `drain` None: not known; `drain_rate` are
    the closes a second of a drain under way, by the node's word.
    `to_replace`: a user asked for another pod in its place. `been_ready`: the pod is ready, or was before.
    """

    uid: str
    name: str
    shape: str
    machine: str | None = None
    phase: Phase = Phase.RUNNING
    unschedulable: bool = False
    ready: bool = False
    ready_seconds: float | None = None
    unready_seconds: float | None = None
    been_ready: bool = False
    serving: bool = True
    drain: DrainState | None = None
    drain_rate: float | None = None
    cordoned: bool = False
    to_replace: bool = False
    shedding: bool = False
    marked_seconds: float | None = None
    terminating_seconds: float | None = None
    connections: int | None = None
    max_connections: int | None = None
    cpu_percent: float | None = None
    rejections: Mapping[str, int] = field(default_factory=dict)
    feed_paused: bool = False
    sample_age_seconds: float | None = None
    pod_age_seconds: float = 0.0

    def __post_init__(self) -> None:
        clean = object.__setattr__
        clean(self, "connections", count(self.connections))
        clean(self, "max_connections", count(self.max_connections) or None)
        clean(self, "cpu_percent", figure(self.cpu_percent))
        clean(self, "sample_age_seconds", figure(self.sample_age_seconds))
        clean(self, "pod_age_seconds", figure(self.pod_age_seconds) or 0.0)
        if self.ready_seconds is not None:
            clean(self, "ready_seconds", figure(self.ready_seconds))

    @property
    def terminating(self) -> bool:
        """The pod is on its way out; its ReplicaSet no longer counts it."""
        return self.phase is Phase.TERMINATING

    @property
    def pending(self) -> bool:
        """The pod has not started: no machine yet, or its container is being made."""
        return self.phase is Phase.PENDING

    @property
    def marked(self) -> bool:
        """The pod was chosen to be drained and removed."""
        return self.marked_seconds is not None

    @property
    def draining(self) -> bool:
        """The node is emptying itself, or has done so, by the operator's command."""
        return self.drain not in (None, DrainState.NONE)

    def lost(self, after_seconds: float) -> bool:
        """It served, and has not been ready for so long, and not because it is being emptied or deleted."""
        waited = self.unready_seconds
        return (
            self.phase is Phase.RUNNING
            and not self.ready
            and self.been_ready
            and not (self.marked or self.draining)
            and waited is not None
            and waited > after_seconds
        )

    @property
    def can_serve(self) -> bool:
        """A client may be sent here now and will stay: ready, and nothing is taking the pod away."""
        return self.ready and self.phase is Phase.RUNNING and not self.marked and not self.draining

    @property
    def cpu_rejections(self) -> int | None:
        """Clients turned away for CPU since the node started; None when it doesn't say."""
        return count(self.rejections.get(CPU_REASON))

    @property
    def full_rejections(self) -> int | None:
        """Clients turned away by WS_MAX_CONNECTIONS since the node started; None when it doesn't say."""
        return count(self.rejections.get(FULL_REASON))

    def has_figures(self, fresh_seconds: float) -> bool:
        """Whether the connection and CPU figures are there and not older than `fresh_seconds`."""
        age = self.sample_age_seconds
        return (
            age is not None
            and age <= fresh_seconds
            and self.connections is not None
            and self.cpu_percent is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All nodes of a fleet at one instant.

    `time` is in epoch seconds. `replicas` is the sum of the fleet's ReplicaSets' `spec.replicas`, a rollout's
    surge included; `rolling` says that pods are being replaced (`rollout.is_rolling`), so that this surge is
    not taken for a wish.
    """

    time: float
    nodes: tuple[NodeSample, ...]
    replicas: int
    rolling: bool = False

    @staticmethod
    def of(time: float, nodes: Iterable[NodeSample], replicas: int, rolling: bool = False) -> Snapshot:
        """A snapshot from any iterable of nodes."""
        return Snapshot(time=time, nodes=tuple(nodes), replicas=replicas, rolling=rolling)
