"""The nodes' clients and CPU in the model, as arrays with a place a node: who comes, is let in, leaves.

Clients are counts: connected ones by node, the others by the time of their next try. Every client is at every
moment either connected or waiting: `clients` always is their sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsfleet.simulate.cpu import Bools, Cpu, Floats
from wsfleet.simulate.setup import Setup
from wsfleet.simulate.waiting import Ints, Waiting

_LEAST_SPREAD_SECONDS, _MOST_SPREAD_SECONDS = 1.0, 30.0


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
    missed: int = 0
    """Messages that a node had no CPU for before the stream had dropped them; a client is told of each."""
    node_seconds: float = 0.0

    @property
    def rejected(self) -> int:
        """Turned away by a node."""
        return self.full + self.cpu + self.draining


class Nodes:
    """All nodes' figures; `now` is in seconds.

    New clients go to `_endpoints` by chance, to lost ones in vain.
    """

    def __init__(self, setup: Setup, step_seconds: float, seed: int) -> None:
        self.setup = setup
        self.step_seconds = step_seconds
        self.rng = np.random.default_rng(seed)
        self.now = 0.0
        self.waiting = Waiting(setup.clients, step_seconds, self.rng)
        self.totals = Totals()
        self.way_cut = False
        self.rate = setup.message_rate
        self.connections: Ints = np.zeros(0, dtype=np.int64)
        self.cpus = Cpu(setup, step_seconds, seed)
        self.cpu_rejections: Ints = np.zeros(0, dtype=np.int64)
        self.full_rejections: Ints = np.zeros(0, dtype=np.int64)
        self._endpoints: Ints = np.zeros(0, dtype=np.int64)
        self._lost: Bools = np.zeros(0, dtype=np.bool_)

    @property
    def clients(self) -> int:
        """All that want to be connected: connected or waiting."""
        return int(self.connections.sum()) + self.waiting.total

    def cut(self, number: int) -> None:
        """So many connections break at once, and come back by their own back-off."""
        total = int(self.connections.sum())
        broken = self.rng.multivariate_hypergeometric(
            self.connections, min(number, total), method="marginals"
        )
        self.connections -= broken
        self._break(int(broken.sum()))

    @property
    def cpu(self) -> Floats:
        """CPU % of each node as it measures it: over some seconds."""
        return self.cpus.percent

    @property
    def rejecting(self) -> Bools:
        """Who turns new clients away for CPU."""
        return self.cpus.rejecting

    @property
    def paused(self) -> Bools:
        """Who has stopped reading from NATS for CPU."""
        return self.cpus.paused

    def _add_slot(self, filled_at: float) -> None:
        """A place for one more node, whose ring is filled at that time."""
        self.connections = np.append(self.connections, 0)
        self.cpu_rejections = np.append(self.cpu_rejections, 0)
        self.full_rejections = np.append(self.full_rejections, 0)
        self.cpus.add(filled_at)

    def _delete_slots(self, slots: list[int]) -> None:
        for name in ("connections", "cpu_rejections", "full_rejections"):
            setattr(self, name, np.delete(getattr(self, name), slots))
        self.cpus.delete(slots)

    def _close(self, slot: int, number: int, spread: float | None) -> None:
        """Close so many clients of a node; None: without a time to come back."""
        if number <= 0:
            return
        self.connections[slot] -= number
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
        opened: Ints = np.zeros(len(self.connections), dtype=np.int64)
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
        most = node.accepts_per_second * self.step_seconds * self.cpus.speed[slots]
        in_time = np.minimum(knocking, most.astype(np.int64))
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

    def _use_cpu(self, opened: Ints) -> None:
        self.cpus.step(self.now, self.connections, opened, self.rate)
        self.totals.paused_seconds += float(self.paused.sum()) * self.step_seconds
        self.totals.missed += round(self.cpus.missed)
