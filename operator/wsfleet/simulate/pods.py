"""ReplicaSets and pods as Kubernetes keeps them, and the order in which a controller removes pods."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from wsfleet.scaling import DrainState, SetView

LOST_UNREADY_SECONDS = 45.0
"""A machine that is silent this long counts as lost: its pods are not ready any more."""
LOST_EVICTED_SECONDS = 345.0
"""And this long: its pods are deleted, and made anew elsewhere (the default toleration of 300 s)."""
VICTIM_COST = -1000


@dataclass(slots=True, eq=False)
class Pod:
    """One pod with its node's own state; times in seconds since the start of the simulation.

    `slot` is its place in the arrays of figures.
    """

    uid: str
    number: int
    shape: str
    created: float
    runs_at: float
    ready_at: float
    slot: int = -1
    running: bool = False
    ready: bool = False
    ready_changed: float = 0.0
    serving: bool = True
    marked_at: float | None = None
    drain: DrainState = DrainState.NONE
    drain_since: float = 0.0
    drain_rate: float = 0.0
    owed: float = 0.0
    shed_id: str = ""
    shed_target: int = 0
    shed_rate: float = 0.0
    shed_left: int = 0
    terminating_at: float | None = None
    lost_at: float | None = None
    feed_paused: bool = False

    @property
    def name(self) -> str:
        return f"sim-{self.shape}-{self.number}"

    @property
    def terminating(self) -> bool:
        return self.terminating_at is not None

    @property
    def takes_clients(self) -> bool:
        """The Service sends new clients here."""
        return self.ready and self.serving and self.terminating_at is None

    @property
    def at_rest(self) -> bool:
        """Nothing happens to it by the passing of time alone."""
        return (
            self.ready
            and not self.terminating
            and self.drain is DrainState.NONE
            and not self.shed_left
            and self.lost_at is None
        )


@dataclass(slots=True)
class ReplicaSet:
    """A ReplicaSet; `observed` is the generation its controller has seen."""

    shape: str
    replicas: int
    created: float
    generation: int = 1
    observed: int = 0

    @property
    def name(self) -> str:
        return f"sim-{self.shape}"

    def resize(self, replicas: int) -> None:
        """Write spec.replicas."""
        self.replicas = replicas
        self.generation += 1

    def view(self) -> SetView:
        """As rollout and scale-in see it."""
        return SetView(
            name=self.name,
            shape=self.shape,
            replicas=self.replicas,
            resource_version=str(self.generation),
            generation=self.generation,
            observed_generation=self.observed,
            created=self.created,
        )


def deletion_order(pod: Pod, now: float) -> tuple[bool, bool, int, int, int, str]:
    """The key by which a ReplicaSet's controller removes pods, the lowest first.

    Pending, then not ready, then the lowest pod-deletion-cost, then the shortest ready and the youngest, both
    by powers of two, then by uid (kubernetes, pkg/controller/controller_utils.go). A pod has a machine at
    once, and one of its own, in this model.
    """
    cost = 0 if pod.marked_at is None else VICTIM_COST
    ready_for = _power_of_two(now - pod.ready_changed) if pod.ready else -1
    return (pod.running, pod.ready, cost, ready_for, _power_of_two(now - pod.created), pod.uid)


def to_remove(pods: Iterable[Pod], number: int, now: float) -> list[Pod]:
    """The pods that go when a set has so many too many."""
    return sorted(pods, key=lambda pod: deletion_order(pod, now))[:number]


def _power_of_two(seconds: float) -> int:
    return 0 if seconds < 1 else int(math.log2(seconds)) + 1
