"""A small model of what stands around the operator: the ReplicaSet controller, the kubelet, the nodes.

The controller's order of deletion is that of kubernetes, pkg/controller/controller_utils.go
(ActivePodsWithRanks): without a machine, pending, not ready, lowest pod-deletion-cost, youngest. One tick is
5 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wsfleet.scaling import (
    CreateSet,
    DeleteSet,
    DrainState,
    Mark,
    NodeSample,
    Phase,
    Release,
    Resize,
    SetView,
    StartDrain,
    Step,
    Together,
    World,
)

TICK_SECONDS = 5.0


@dataclass(slots=True)
class Pod:
    uid: str
    shape: str
    born: float
    machine: str = "m1"
    ready: bool = False
    connections: int = 0
    drain: DrainState = DrainState.NONE
    marked_at: float | None = None
    terminating_at: float | None = None
    answers: bool = True
    unready_at: float | None = None
    to_replace: bool = False

    def sample(self, now: float, cordoned: frozenset[str]) -> NodeSample:
        pending = now - self.born < TICK_SECONDS
        phase = (
            Phase.TERMINATING
            if self.terminating_at is not None
            else Phase.PENDING
            if pending
            else Phase.RUNNING
        )
        return NodeSample(
            uid=self.uid,
            name=f"pod-{self.uid}",
            shape=self.shape,
            machine=self.machine,
            phase=phase,
            ready=self.ready,
            ready_seconds=now - self.born if self.ready else None,
            serving=self.marked_at is None,
            drain=self.drain if self.answers else None,
            cordoned=self.machine in cordoned,
            to_replace=self.to_replace,
            marked_seconds=None if self.marked_at is None else now - self.marked_at,
            terminating_seconds=None if self.terminating_at is None else now - self.terminating_at,
            connections=self.connections if self.answers else None,
            max_connections=10_000,
            cpu_percent=20.0 if self.answers else None,
            sample_age_seconds=0.0 if self.answers and not pending else None,
            pod_age_seconds=now - self.born,
        )


@dataclass(slots=True)
class ReplicaSet:
    shape: str
    replicas: int
    created: float
    generation: int = 1
    observed: int = 0
    version: int = 1
    counts: tuple[int, int] = (0, 0)

    def view(self) -> SetView:
        return SetView(
            name=f"fleet-{self.shape}",
            shape=self.shape,
            replicas=self.replicas,
            resource_version=str(self.version),
            generation=self.generation,
            observed_generation=self.observed,
            created=self.created,
        )


@dataclass
class Cluster:
    """The modelled cluster; `bad` shapes never become ready, `cordoned` machines get no new pods."""

    target: str = "a"
    desired: int = 3
    bad: frozenset[str] = frozenset()
    cordoned: frozenset[str] = frozenset()
    now: float = 1000.0
    sets: dict[str, ReplicaSet] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    removed: list[Pod] = field(default_factory=list)
    serial: int = 0
    start_ticks: int = 2
    drain_ticks: int = 3

    @staticmethod
    def running(shape: str = "a", nodes: int = 3, connections: int = 100) -> Cluster:
        """A fleet that has been up for long."""
        cluster = Cluster(target=shape, desired=nodes)
        cluster.sets[shape] = ReplicaSet(shape, nodes, created=0.0)
        cluster.sync(cluster.sets[shape])
        for pod in cluster.pods:
            pod.born, pod.ready, pod.connections = 0.0, True, connections
        cluster.sync(cluster.sets[shape])
        return cluster

    def active(self, shape: str | None = None) -> list[Pod]:
        return [p for p in self.pods if p.terminating_at is None and shape in (None, p.shape)]

    @property
    def serving(self) -> int:
        """Pods that a client can come to: ready, labelled, not draining."""
        return sum(1 for p in self.active() if p.ready and p.marked_at is None and p.drain is DrainState.NONE)

    @property
    def total(self) -> int:
        return sum(one.replicas for one in self.sets.values())

    def samples(self) -> tuple[NodeSample, ...]:
        return tuple(pod.sample(self.now, self.cordoned) for pod in self.pods)

    def views(self) -> tuple[SetView, ...]:
        return tuple(one.view() for one in self.sets.values())

    def world(self) -> World:
        return World.of(self.views(), self.samples(), self.target, self.desired)

    # The API server and the nodes.

    def apply(self, step: Step) -> bool:
        """Carry a step out as the reconciler would; False where the API server refuses it as stale."""
        if isinstance(step, CreateSet):
            assert step.shape not in self.sets
            self.sets[step.shape] = ReplicaSet(step.shape, step.replicas, created=self.now)
        elif isinstance(step, Resize):
            one = self.sets[step.shape]
            if str(one.version) != step.resource_version:
                return False
            assert step.before == one.replicas
            one.replicas, one.generation, one.version = step.replicas, one.generation + 1, one.version + 1
        elif isinstance(step, DeleteSet):
            assert self.sets[step.shape].replicas == 0
            assert not self.active(step.shape)
            del self.sets[step.shape]
        elif isinstance(step, Mark | StartDrain | Release):
            self._to_pod(step)
        elif isinstance(step, Together):
            for part in step.steps:
                self._to_pod(part)
        return True

    def _to_pod(self, step: Mark | StartDrain | Release) -> None:
        pod = next((p for p in self.pods if p.uid == step.uid), None)
        if pod is None:
            return
        if isinstance(step, Mark):
            pod.marked_at = self.now
        elif isinstance(step, StartDrain) and pod.answers and pod.terminating_at is None:
            pod.drain = DrainState.CLOSING
            pod.unready_at = self.now
        elif isinstance(step, Release):
            if step.cancel_drain and pod.answers:
                pod.drain = DrainState.NONE
            pod.marked_at = None

    # The controller and the kubelet.

    def tick(self, sync: bool = True) -> None:
        self.now += TICK_SECONDS
        for pod in list(self.pods):
            self._live(pod)
        if sync:
            for one in self.sets.values():
                self.sync(one)

    def _live(self, pod: Pod) -> None:
        if pod.terminating_at is not None:
            if self.now - pod.terminating_at >= 2 * TICK_SECONDS:
                self.pods.remove(pod)
            return
        if pod.drain is DrainState.NONE:
            started = self.now - pod.born >= self.start_ticks * TICK_SECONDS
            pod.ready = started and pod.shape not in self.bad and pod.machine != ""
        else:
            pod.ready = False
            began = pod.unready_at if pod.unready_at is not None else self.now
            if self.now - began >= self.drain_ticks * TICK_SECONDS:
                pod.drain, pod.connections = DrainState.DRAINED, 0

    def sync(self, one: ReplicaSet) -> None:
        """One pass of the ReplicaSet controller over one set."""
        pods = self.active(one.shape)
        for _ in range(one.replicas - len(pods)):
            self.serial += 1
            machine = "m2" if "m1" in self.cordoned else "m1"
            self.pods.append(Pod(f"{self.serial:04d}", one.shape, born=self.now, machine=machine))
        surplus = len(pods) - one.replicas
        if surplus > 0:
            for pod in sorted(pods, key=self._deletion_rank)[:surplus]:
                pod.terminating_at = self.now
                self.removed.append(pod)
        one.observed = one.generation
        pods = self.active(one.shape)
        counts = (len(pods), sum(1 for p in pods if p.ready))
        if counts != one.counts:
            one.counts, one.version = counts, one.version + 1

    def _deletion_rank(self, pod: Pod) -> tuple[bool, bool, bool, bool, float]:
        pending = self.now - pod.born < TICK_SECONDS
        return (pod.machine != "", not pending, pod.ready, pod.marked_at is None, -pod.born)

    def kill(self, index: int) -> None:
        """A pod dies at once, with its machine or by hand."""
        active = self.active()
        if active:
            self.pods.remove(active[index % len(active)])
