"""CPU of all nodes in the model, as arrays with a place a node.

A node that has more to do than its CPU allows pays for it: messages wait in the stream, also while reading is
paused, and have to be sent later; what waits longer than the stream keeps it is missed. New clients are then
let in slower, and the admin port answers late.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsfleet.simulate.setup import Setup
from wsfleet.simulate.waiting import Ints

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
HYSTERESIS_POINTS = 5.0
_BUSIEST = 0.99
"""A loop that is always busy still comes round: its answers take as long as at this share."""


class Cpu:
    """Figures in % of a node's CPU; the nodes' counters since the start beside them.

    Attributes:
        percent: as a node measures it, over `cpu_window_seconds`.
        wanted: what would be spent if nothing held it up, without what is owed.
        speed: the share of its usual pace at which a node lets clients in.
        used_seconds, deliveries, messages_in: counters.
        missed: messages missed in the last step.
    """

    _ARRAYS = (
        "percent",
        "wanted",
        "speed",
        "rejecting",
        "paused",
        "used_seconds",
        "deliveries",
        "messages_in",
        "_owed",
        "_filled_at",
        "_each",
    )

    def __init__(self, setup: Setup, step_seconds: float, seed: int) -> None:
        self._setup, self._node, self._step_seconds = setup, setup.node, step_seconds
        self._rng = np.random.default_rng((seed, 1))  # its own: who comes where does not hang on it
        self.percent: Floats = np.zeros(0)
        self.wanted: Floats = np.zeros(0)
        self.speed: Floats = np.zeros(0)
        self.rejecting: Bools = np.zeros(0, dtype=np.bool_)
        self.paused: Bools = np.zeros(0, dtype=np.bool_)
        self.used_seconds: Floats = np.zeros(0)
        self.deliveries: Floats = np.zeros(0)
        self.messages_in: Floats = np.zeros(0)
        self.missed = 0.0
        self._owed: Floats = np.zeros(0)
        """Messages that wait, as % x seconds of CPU."""
        self._filled_at: Floats = np.zeros(0)
        self._each: Floats = np.zeros(0)
        """CPU microseconds of a message."""

    def add(self, filled_at: float) -> None:
        """A place for one more node, whose ring is filled at that time."""
        spread = self._node.cost_spread
        factor = float(np.clip(1 + spread * self._rng.standard_normal(), 1 - 3 * spread, 1 + 3 * spread))
        new = dict.fromkeys(self._ARRAYS, 0.0)
        new |= {"speed": 1.0, "_filled_at": filled_at, "_each": self._node.message_cpu_us * factor}
        for name, value in new.items():
            before = getattr(self, name)
            setattr(self, name, np.append(before, np.array(value, dtype=before.dtype)))

    def delete(self, slots: list[int]) -> None:
        """Nodes are gone."""
        for name in self._ARRAYS:
            setattr(self, name, np.delete(getattr(self, name), slots))

    def settle(self, connections: Ints, rate: float) -> None:
        """All nodes as if they had served this for long."""
        self._filled_at[:] = -np.inf
        self.wanted = self._node.fixed_cpu_percent + self._messages(connections, rate)
        self.percent = np.minimum(self.wanted, 100.0)

    def step(self, now: float, connections: Ints, opened: Ints, rate: float) -> None:
        """One step of time with so many clients, of whom so many have just been let in."""
        node, step = self._node, self._step_seconds
        work = self._messages(connections, rate)
        other: Floats = np.full(len(opened), node.fixed_cpu_percent)
        other += opened * (node.handshake_cpu_us / 1e4 / step / node.cpus)
        other += np.where(self._filled_at > now, node.ring_fill_percent, 0.0)
        owed = self._owed + work * step
        sent = np.where(self.paused, 0.0, np.minimum(owed, np.maximum(100.0 - other, 0.0) * step))
        self._owed = np.minimum(owed - sent, work * node.kept_seconds)
        each = self._share_of_a_message()
        self.missed = float(((owed - sent - self._owed) / each).sum())
        self.deliveries = self.deliveries + sent / each
        self.wanted = other + np.where(self.paused, 0.0, work)
        self.speed = np.minimum(1.0, 100.0 / np.maximum(self.wanted, 1e-9))
        self._count(np.minimum(other + sent / step, 100.0), rate)

    @property
    def waiting(self) -> Floats:
        """Messages of each node that are still to be sent."""
        return self._owed / self._share_of_a_message()

    def answers(self, seconds: float) -> Floats:
        """By what chance a node's admin port answers within so many seconds.

        As in a queue with one server: the mean grows with 1 / (1 - load).
        """
        free = 1 - np.minimum(self.wanted / 100.0, _BUSIEST)
        chances: Floats = -np.expm1(-seconds * free / self._node.answer_seconds)
        return chances

    def _share_of_a_message(self) -> Floats:
        """% x seconds of CPU."""
        share: Floats = np.maximum(self._each, 1e-9) / (self._node.cpus * 1e4)
        return share

    def _messages(self, connections: Ints, rate: float) -> Floats:
        work: Floats = connections * rate * self._each / 1e4 / self._node.cpus
        return work

    def _count(self, used: Floats, rate: float) -> None:
        """Gauges, counters and the two thresholds, from what was used in this step."""
        node, step = self._node, self._step_seconds
        noise = self._setup.watching.cpu_noise * self._rng.standard_normal(len(used))
        self.used_seconds = self.used_seconds + used * np.maximum(1 + noise, 0.0) * (node.cpus / 100 * step)
        usual = self._setup.message_rate
        came = self._setup.publish_rate * (rate / usual if usual else 1.0) * step
        self.messages_in = self.messages_in + np.where(self.paused, 0.0, came)
        weight = min(1.0, step / node.cpu_window_seconds)
        self.percent = self.percent + weight * (used - self.percent)
        for band, threshold in ((self.rejecting, node.reject_percent), (self.paused, node.pause_percent)):
            band |= self.percent > threshold
            band &= self.percent > threshold - HYSTERESIS_POINTS
