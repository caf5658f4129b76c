"""The simulated fleet: pods and their ReplicaSets, drains, sheds and losses, one step of time after another.

The Service spreads new clients at random over the pods that are ready and have the serving label.
"""

from __future__ import annotations

import numpy as np

from wsfleet.scaling import DrainState
from wsfleet.simulate.nodes import Nodes
from wsfleet.simulate.pods import (
    LOST_EVICTED_SECONDS,
    LOST_UNREADY_SECONDS,
    Pod,
    ReplicaSet,
    to_remove,
)
from wsfleet.simulate.setup import Setup

_GONE_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0
"""What a grace period has beyond the drain's time-out."""


class Fleet(Nodes):
    """Pods and clients. `closes_at_once`: SIGTERM closes all clients at once, without a time to come back.

    `changed`: the Service's endpoints have to be found anew. `events` counts what a watch of the API server
    would tell: pods and ReplicaSets that have changed.
    """

    def __init__(self, setup: Setup, step_seconds: float, seed: int, closes_at_once: bool = False) -> None:
        super().__init__(setup, step_seconds, seed)
        self.sets: list[ReplicaSet] = []
        self.pods: list[Pod] = []
        self.changed = True
        self.events = 0
        self._made = 0
        self._closes_at_once = closes_at_once
        self._moving: set[Pod] = set()

    @property
    def active(self) -> list[Pod]:
        """Pods that their ReplicaSets count."""
        return [pod for pod in self.pods if pod.terminating_at is None]

    def set_of(self, shape: str) -> ReplicaSet | None:
        """The ReplicaSet of a shape."""
        return next((one for one in self.sets if one.shape == shape), None)

    def start_with(self, nodes: int, clients: int, shape: str) -> None:
        """A fleet that has stood for an hour, its clients spread over it."""
        self.sets.append(ReplicaSet(shape, nodes, created=-3600.0, observed=1))
        for _ in range(nodes):
            pod = self._make(shape, start_seconds=0.0)
            pod.created = pod.ready_changed = pod.runs_at = pod.ready_at = -3600.0
            pod.running = pod.ready = True
            self._moving.discard(pod)
        self.connections[:] = self.rng.multinomial(clients, np.full(nodes, 1 / nodes))
        self.totals.arrived += clients
        self.cpus.settle(self.connections, self.rate)

    def touch(self) -> None:
        """A pod or a ReplicaSet has changed, and all who watch are told."""
        self.changed = True
        self.events += 1

    def step(self, wanted: int, rate: float) -> None:
        """One step of time: who leaves, who is closed, who comes and is let in, CPU, pods."""
        self.now += self.step_seconds
        self.rate = rate
        self._pods_go_on()
        self._sets_go_on()
        if self.changed:
            self._find_endpoints()
        self._come_and_leave(wanted)
        opened = self._try(self.waiting.step())
        self._use_cpu(opened)
        self.totals.waited_seconds += self.waiting.total * self.step_seconds
        self.totals.node_seconds += len(self.pods) * self.step_seconds

    def lose(self, share: float) -> None:
        """A share of the machines is gone."""
        active = [pod for pod in self.pods if pod.lost_at is None and not pod.terminating]
        for number in self.rng.permutation(len(active))[: round(len(active) * share)]:
            pod = active[int(number)]
            pod.lost_at = self.now
            self._moving.add(pod)
            self.changed = True
            self._break(int(self.connections[pod.slot]))
            self.connections[pod.slot] = 0

    def start_drain(self, pod: Pod, rate: float) -> None:
        """`PUT /drain`: not ready at once, still accepting for the delay, then closing. It ends a shed.

        One that is under way goes on, at the new rate.
        """
        if pod.drain is not DrainState.NONE:
            pod.drain_rate = rate
            return
        pod.shed_left = 0
        pod.drain, pod.drain_since, pod.drain_rate, pod.owed = DrainState.DELAY, self.now, rate, 0.0
        self._ready(pod, False)
        self._moving.add(pod)

    def cancel_drain(self, pod: Pod) -> None:
        """`DELETE /drain`."""
        if pod.drain is not DrainState.NONE:
            pod.drain = DrainState.NONE
            self._ready(pod, pod.running and pod.lost_at is None)

    def shed(self, pod: Pod, target: int, rate: float, name: str) -> None:
        """`PUT /shed`: close down to `target`, each told when to come back; a known name changes nothing.

        A node that drains refuses it.
        """
        if pod.shed_id == name or pod.drain is not DrainState.NONE:
            return
        pod.shed_id, pod.shed_target, pod.shed_rate = name, target, rate
        pod.shed_left, pod.owed = max(0, int(self.connections[pod.slot]) - target), 0.0
        self._moving.add(pod)

    def terminate(self, pod: Pod) -> None:
        """Delete a pod: SIGTERM. A node drains what it has; one that closes at once does that."""
        if pod.terminating_at is not None:
            return
        pod.terminating_at = self.now
        self._moving.add(pod)
        self.touch()
        if self._closes_at_once or not pod.running:
            self._close(pod.slot, int(self.connections[pod.slot]), None)
        elif pod.drain is DrainState.NONE and pod.lost_at is None:
            self.start_drain(pod, self.setup.node.drain_rate)

    def _make(self, shape: str, start_seconds: float | None = None) -> Pod:
        most = self.setup.node.start_seconds if start_seconds is None else start_seconds
        takes = most * float(self.rng.uniform(0.8, 1.2))
        self._made += 1
        created = self.now
        number = self._made
        uid = f"{int(self.rng.integers(1 << 32)):08x}-{number}"
        pod = Pod(
            uid=uid,
            number=number,
            shape=shape,
            created=created,
            runs_at=created + takes * 0.8,
            ready_at=created + takes,
            ready_changed=created,
            slot=len(self.pods),
        )
        self.pods.append(pod)
        self._add_slot(pod.runs_at + self.setup.node.ring_fill_seconds)
        self._moving.add(pod)
        self.touch()
        return pod

    def _remove(self, gone: list[Pod]) -> None:
        slots = [pod.slot for pod in gone]
        for pod in gone:
            self._close(pod.slot, int(self.connections[pod.slot]), None)
            self._moving.discard(pod)
        self._delete_slots(slots)
        away = set(slots)
        self.pods = [pod for pod in self.pods if pod.slot not in away]
        for slot, pod in enumerate(self.pods):
            pod.slot = slot
        self.touch()

    def _ready(self, pod: Pod, ready: bool) -> None:
        if pod.ready != ready:
            pod.ready, pod.ready_changed = ready, self.now
            self.touch()

    def _find_endpoints(self) -> None:
        self._endpoints = np.array([pod.slot for pod in self.pods if pod.takes_clients], dtype=np.int64)
        self._lost = np.array(
            [self.pods[slot].lost_at is not None for slot in self._endpoints], dtype=np.bool_
        )
        self.changed = False

    def _sets_go_on(self) -> None:
        """The ReplicaSets' controller: as many pods as asked for."""
        for one in self.sets:
            there = [pod for pod in self.pods if pod.shape == one.shape and pod.terminating_at is None]
            for _ in range(one.replicas - len(there)):
                self._make(one.shape)
            for pod in (
                to_remove(there, len(there) - one.replicas, self.now) if len(there) > one.replicas else ()
            ):
                self.terminate(pod)
            one.observed = one.generation

    def _pods_go_on(self) -> None:
        gone = []
        for pod in sorted(self._moving, key=lambda pod: pod.number):
            self._start(pod)
            if pod.drain is not DrainState.NONE and pod.lost_at is None:
                self._drain(pod)
            if pod.shed_left:
                self._shed(pod)
            if pod.lost_at is not None:
                if self.now - pod.lost_at >= LOST_UNREADY_SECONDS:
                    self._ready(pod, False)
                if self.now - pod.lost_at >= LOST_EVICTED_SECONDS and pod.terminating_at is None:
                    pod.terminating_at = self.now
            if pod.terminating_at is not None and self.now - pod.terminating_at >= _GONE_SECONDS:
                late = pod.terminating_at + self.setup.node.drain_timeout_seconds + _PATIENCE_SECONDS
                if not self.connections[pod.slot] or self._closes_at_once or self.now >= late:
                    gone.append(pod)
            if pod.at_rest:
                self._moving.discard(pod)
        if gone:
            self._remove(gone)

    def _start(self, pod: Pod) -> None:
        if not pod.running and self.now >= pod.runs_at:
            pod.running = True
            self.touch()
        if not pod.ready and self.now >= pod.ready_at and pod.lost_at is None:
            self._ready(pod, pod.drain is DrainState.NONE and not pod.terminating)

    def _drain(self, pod: Pod) -> None:
        node = self.setup.node
        if pod.drain is DrainState.DELAY and self.now - pod.drain_since >= node.drain_delay_seconds:
            pod.drain = DrainState.CLOSING
        if pod.drain is DrainState.CLOSING:
            left = int(self.connections[pod.slot])
            time_left = pod.drain_since + node.drain_timeout_seconds - self.now
            rate = max(pod.drain_rate, left / max(time_left, self.step_seconds))
            pod.owed += rate * self.step_seconds
            number = min(int(pod.owed), left)
            pod.owed -= number
            spread = left / max(pod.drain_rate, 1e-9) - left / rate
            self._close(pod.slot, number, spread)
            if not self.connections[pod.slot]:
                pod.drain = DrainState.DRAINED

    def _shed(self, pod: Pod) -> None:
        above = int(self.connections[pod.slot]) - pod.shed_target
        if above <= 0:
            pod.shed_left = 0
            return
        pod.owed += pod.shed_rate * self.step_seconds
        number = min(int(pod.owed), above, pod.shed_left)
        pod.owed -= number
        pod.shed_left -= number
        self._close(pod.slot, number, 0.0)
