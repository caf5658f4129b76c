"""The simulated fleet: pods, their clients, their CPU, and who is let in. One step of time after another.

Clients are counts: connected ones by node, the others by the time of their next try. The Service spreads new
clients at random over the pods that are ready and have the serving label. Every client is at every moment
either connected or waiting: `clients` always is their sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsfleet.scaling import DrainState
from wsfleet.simulate.pods import (
    LOST_EVICTED_SECONDS,
    LOST_UNREADY_SECONDS,
    Pod,
    ReplicaSet,
    to_remove,
)
from wsfleet.simulate.setup import Setup
from wsfleet.simulate.waiting import Ints, Waiting

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
HYSTERESIS_POINTS = 5.0
_CREATE_SECONDS = 1.0
_GONE_SECONDS = 2.0
_LEAST_SPREAD_SECONDS, _MOST_SPREAD_SECONDS = 1.0, 30.0
_ENDPOINT_SECONDS = 1.0


@dataclass(slots=True)
class Totals:
    """What is counted from the start: clients, not events of nodes."""

    arrived: int = 0
    left: int = 0
    full: int = 0
    """Turned away by a node with WS_MAX_CONNECTIONS clients."""
    cpu: int = 0
    """Turned away for CPU."""
    draining: int = 0
    unreachable: int = 0
    """Tries that met no node: none takes clients, the machine is gone, or the way is cut."""
    closed: int = 0
    """Closed by us: drain, shed, SIGTERM."""
    broken: int = 0
    """Broken by what happened around us: lost machines, the way cut."""
    waited_seconds: float = 0.0
    """Client-seconds spent not connected."""
    paused_seconds: float = 0.0
    """Node-seconds with reading from NATS paused."""
    node_seconds: float = 0.0

    @property
    def rejected(self) -> int:
        """Turned away by a node."""
        return self.full + self.cpu + self.draining


class Fleet:
    """Pods and clients. `closes_at_once`: SIGTERM closes all clients at once, without a time to come back."""

    def __init__(self, setup: Setup, step_seconds: float, seed: int, closes_at_once: bool = False) -> None:
        self.setup = setup
        self.step_seconds = step_seconds
        self.rng = np.random.default_rng(seed)
        self.now = 0.0
        self.sets: list[ReplicaSet] = []
        self.pods: list[Pod] = []
        self.waiting = Waiting(setup.clients, step_seconds, self.rng)
        self.totals = Totals()
        self.way_cut = False
        self.rate = setup.message_rate
        self.connections: Ints = np.zeros(0, dtype=np.int64)
        self.cpu: Floats = np.zeros(0)
        self.rejecting: Bools = np.zeros(0, dtype=np.bool_)
        self.paused: Bools = np.zeros(0, dtype=np.bool_)
        self.cpu_rejections: Ints = np.zeros(0, dtype=np.int64)
        self.full_rejections: Ints = np.zeros(0, dtype=np.int64)
        self._filling: Floats = np.zeros(0)
        self._made = 0
        self._closes_at_once = closes_at_once
        self.changed = True
        self._moving: set[Pod] = set()
        self._endpoints: Ints = np.zeros(0, dtype=np.int64)
        self._lost: Bools = np.zeros(0, dtype=np.bool_)

    @property
    def clients(self) -> int:
        """All that want to be connected: connected or waiting."""
        return int(self.connections.sum()) + self.waiting.total

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
        self.rejecting[:] = False
        self.cpu[:] = self._demand(np.zeros(nodes))
        self._filling[:] = -np.inf

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
        self._measure_cpu(opened)
        self.totals.waited_seconds += self.waiting.total * self.step_seconds
        self.totals.node_seconds += len(self.pods) * self.step_seconds

    def cut(self, number: int) -> None:
        """So many connections break at once, and come back by their own back-off."""
        total = int(self.connections.sum())
        broken = self.rng.multivariate_hypergeometric(
            self.connections, min(number, total), method="marginals"
        )
        self.connections -= broken
        self._break(int(broken.sum()))

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
        """`PUT /drain`: not ready at once, still accepting for the delay, then closing."""
        pod.drain, pod.drain_since, pod.drain_rate, pod.owed = DrainState.DELAY, self.now, rate, 0.0
        self._ready(pod, False)
        self._moving.add(pod)

    def cancel_drain(self, pod: Pod) -> None:
        """`DELETE /drain`."""
        if pod.drain is not DrainState.NONE:
            pod.drain = DrainState.NONE
            self._ready(pod, pod.running and pod.lost_at is None)

    def shed(self, pod: Pod, target: int, rate: float, name: str) -> None:
        """`PUT /shed`: close down to `target`, each told when to come back; a known name changes nothing."""
        if pod.shed_id == name:
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
        self.changed = True
        if self._closes_at_once or not pod.running:
            self._close(pod, int(self.connections[pod.slot]), None)
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
        self.connections = np.append(self.connections, 0)
        self.cpu = np.append(self.cpu, 0.0)
        self.rejecting = np.append(self.rejecting, False)
        self.paused = np.append(self.paused, False)
        self.cpu_rejections = np.append(self.cpu_rejections, 0)
        self.full_rejections = np.append(self.full_rejections, 0)
        self._filling = np.append(self._filling, pod.runs_at + self.setup.node.ring_fill_seconds)
        self._moving.add(pod)
        self.changed = True
        return pod

    def _remove(self, gone: list[Pod]) -> None:
        slots = [pod.slot for pod in gone]
        for pod in gone:
            self._close(pod, int(self.connections[pod.slot]), None)
            self._moving.discard(pod)
        for name in (
            "connections",
            "cpu",
            "rejecting",
            "paused",
            "cpu_rejections",
            "full_rejections",
            "_filling",
        ):
            setattr(self, name, np.delete(getattr(self, name), slots))
        away = set(slots)
        self.pods = [pod for pod in self.pods if pod.slot not in away]
        for slot, pod in enumerate(self.pods):
            pod.slot = slot
        self.changed = True

    def _ready(self, pod: Pod, ready: bool) -> None:
        if pod.ready != ready:
            pod.ready, pod.ready_changed, self.changed = ready, self.now, True

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
                late = pod.terminating_at + self.setup.node.drain_timeout_seconds + 30
                if not self.connections[pod.slot] or self._closes_at_once or self.now >= late:
                    gone.append(pod)
            if pod.at_rest:
                self._moving.discard(pod)
        if gone:
            self._remove(gone)

    def _start(self, pod: Pod) -> None:
        if not pod.running and self.now >= pod.runs_at:
            pod.running = True
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
            self._close(pod, number, spread)
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
        self._close(pod, number, 0.0)

    def _close(self, pod: Pod, number: int, spread: float | None) -> None:
        """Close so many clients of a node; None: without a time to come back."""
        if number <= 0:
            return
        self.connections[pod.slot] -= number
        self.totals.closed += number
        if spread is None:
            self._back_off(number)
        else:
            longest = min(max(spread, _LEAST_SPREAD_SECONDS), _MOST_SPREAD_SECONDS)
            self.waiting.add(number, 0, 0.0, longest)

    def _break(self, number: int) -> None:
        self.totals.broken += number
        self._back_off(number)

    def _back_off(self, number: int) -> None:
        model = self.setup.clients
        first = model.first_retry_seconds
        self.waiting.add(number, 1, first, min(2 * first, model.longest_retry_seconds))

    def _come_and_leave(self, wanted: int) -> None:
        """Sessions end by chance; as many come as bring the clients to `wanted`."""
        share = min(1.0, self.step_seconds / self.setup.clients.session_seconds)
        left = self.rng.binomial(self.connections, share)
        before = self.clients
        self.connections -= left
        gone = int(left.sum())
        surplus = before - gone - wanted
        if surplus > 0:
            waiting = min(self.waiting.total, round(surplus * self.waiting.total / max(1, before - gone)))
            self.waiting.leave(waiting)
            connected = int(self.connections.sum())
            more = self.rng.multivariate_hypergeometric(
                self.connections, min(surplus - waiting, connected), method="marginals"
            )
            self.connections -= more
            gone += waiting + int(more.sum())
        self.totals.left += gone
        coming = wanted - self.clients
        if coming > 0:
            self.totals.arrived += coming
            self.waiting.add(coming, 0, 0.0, 0.0)

    def _try(self, trying: Ints) -> Ints:
        """Who knocks is sent to a node by chance, and let in or not; clients let in, by node."""
        opened: Ints = np.zeros(len(self.pods), dtype=np.int64)
        total = int(trying.sum())
        if not total:
            return opened
        slots = self._endpoints
        if self.way_cut or not len(slots):
            self.totals.unreachable += total
            self.waiting.refused(trying)
            return opened
        at = self.rng.multinomial(total, np.full(len(slots), 1 / len(slots)))
        node = self.setup.node
        lost = self._lost
        by_cpu = np.where(self.rejecting[slots] & ~lost, at, 0)
        dead = np.where(lost, at, 0)
        knocking = at - by_cpu - dead
        room = np.maximum(node.max_connections - self.connections[slots], 0)
        in_time = np.minimum(knocking, int(node.accepts_per_second * self.step_seconds))
        queued = knocking - in_time
        let_in = np.minimum(in_time, room)
        full = in_time - let_in
        self.connections[slots] += let_in
        self.cpu_rejections[slots] += by_cpu
        self.full_rejections[slots] += full
        opened[slots] = let_in
        self.totals.cpu += int(by_cpu.sum())
        self.totals.full += int(full.sum())
        self.totals.unreachable += int(dead.sum())
        failed = int(by_cpu.sum() + dead.sum() + full.sum())
        self._come_again(trying, failed, int(queued.sum()))
        return opened

    def _come_again(self, trying: Ints, failed: int, queued: int) -> None:
        if not failed and not queued:
            return
        lost = self.rng.multivariate_hypergeometric(trying, failed + queued, method="marginals")
        stand = self.rng.multivariate_hypergeometric(lost, queued, method="marginals")
        self.waiting.refused(lost - stand)
        self.waiting.again_at_once(stand)

    def _demand(self, opened: NDArray[np.int64] | Floats) -> Floats:
        """CPU % that each node would like to spend in this step."""
        node = self.setup.node
        each = self.rate * node.message_cpu_us / 1e4
        demand: Floats = np.where(self.paused, 0.0, self.connections * each)
        demand += opened * (node.handshake_cpu_us / 1e4 / self.step_seconds)
        demand /= node.cpus
        demand += node.fixed_cpu_percent
        return demand

    def _measure_cpu(self, opened: Ints) -> None:
        node = self.setup.node
        demand: Floats = self._demand(opened) + np.where(
            self._filling > self.now, node.ring_fill_percent, 0.0
        )
        weight = min(1.0, self.step_seconds / node.cpu_window_seconds)
        self.cpu = self.cpu + weight * (np.minimum(demand, 100.0) - self.cpu)
        for band, threshold in ((self.rejecting, node.reject_percent), (self.paused, node.pause_percent)):
            band |= self.cpu > threshold
            band &= self.cpu > threshold - HYSTERESIS_POINTS
        self.totals.paused_seconds += float(self.paused.sum()) * self.step_seconds
