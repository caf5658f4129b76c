"""What rollout and scale-in see of the cluster, and the single steps they ask for.

Both are pure functions from what is there to one next step, so that an operator which stops anywhere goes on
from what it finds. A step names absolute values and the resourceVersion it was decided on: a stale one is
refused by the API server and decided anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wsfleet.scaling.samples import NodeSample


@dataclass(frozen=True, slots=True, kw_only=True)
class SetView:
    """A ReplicaSet of the fleet; `replicas` is its `spec.replicas`, `created` in epoch seconds."""

    name: str
    shape: str
    replicas: int
    resource_version: str = ""
    generation: int = 1
    observed_generation: int = 1
    created: float = 0.0

    @property
    def settled(self) -> bool:
        """The controller has seen the set as it is now."""
        return self.observed_generation >= self.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The fleet's ReplicaSets and pods, the shape its spec asks for, and the size decided on."""

    sets: tuple[SetView, ...]
    pods: tuple[NodeSample, ...]
    target_shape: str
    desired: int

    @staticmethod
    def of(sets: Iterable[SetView], pods: Iterable[NodeSample], target_shape: str, desired: int) -> World:
        """A world from any iterables."""
        return World(sets=tuple(sets), pods=tuple(pods), target_shape=target_shape, desired=desired)

    @property
    def total(self) -> int:
        """Replicas asked of all sets together."""
        return sum(one.replicas for one in self.sets)

    @property
    def active(self) -> tuple[NodeSample, ...]:
        """Pods that their ReplicaSets count: those not terminating."""
        return tuple(pod for pod in self.pods if not pod.terminating)

    def set_of(self, shape: str) -> SetView | None:
        """The ReplicaSet of a shape."""
        return next((one for one in self.sets if one.shape == shape), None)

    def active_of(self, shape: str) -> tuple[NodeSample, ...]:
        """The pods that the ReplicaSet of this shape counts."""
        return tuple(pod for pod in self.active if pod.shape == shape)

    def serving_without(self, *uids: str) -> int:
        """Nodes that can serve, leaving some out."""
        return sum(1 for pod in self.active if pod.uid not in uids and pod.can_serve)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSet:
    """Create the ReplicaSet of a shape with so many replicas."""

    shape: str
    replicas: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Write `spec.replicas` of one ReplicaSet by its scale subresource, if its resourceVersion is still this.

    `victim_uids` names the pods that are to go by it; the next look at the world checks that they went.
    """

    set_name: str
    shape: str
    before: int
    replicas: int
    resource_version: str
    reason: str
    victim_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Mark a pod as victim, in one patch: pod-deletion-cost, no serving label, the time of the mark."""

    uid: str
    pod: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDrain:
    """`PUT /drain` at the node; repeated until the node says that it drains."""

    uid: str
    pod: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Take a victim back: `DELETE /drain` where it drains (`cancel_drain`), then clear cost, mark, give the
    label.

    In that order: a mark that is still there brings the release again after a crash.
    """

    uid: str
    pod: str
    cancel_drain: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSet:
    """Delete an empty ReplicaSet that is older than the history to be kept."""

    set_name: str
    shape: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do but look again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """Waiting beyond the deadline: nothing more is touched until the spec or the world changes."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Everything is as it should be."""

    reason: str = "all nodes have the fleet's shape and number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Several pods marked, or several told to drain, in one look: a wave of a rollout."""

    steps: tuple[Mark, ...] | tuple[StartDrain, ...]
    reason: str


Step = CreateSet | Resize | Mark | StartDrain | Together | Release | DeleteSet | Wait | Stalled | Idle
