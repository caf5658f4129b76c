"""May this client come in, and if not, why: pure decisions from figures.

Source of the thresholds: the seed, sections 4, 7 and 8. Each share (CPU, memory) is entered as the
seed says and left 5 points lower, or a node at the threshold would flap; counts (connections,
goroutines, descriptors) have no such band, since they fall only when someone leaves.
"""

from __future__ import annotations

import random
from typing import Literal, NamedTuple, get_args

from wsnode.config import Settings

Reason = Literal[
    "connections",
    "cpu",
    "memory",
    "goroutines",
    "descriptors",
    "address",
    "draining",
    "loop_lag",
    "handshakes",
    "origin",
]
# Every reason with which a client may be refused; `origin` is the server's to find in the request, and
# `handshakes` (of others, which take all places for those that are not open) its door's.
REASONS: tuple[Reason, ...] = get_args(Reason)

HYSTERESIS_POINTS = 5.0
MEMORY_REJECT_PERCENT = 90.0
DESCRIPTORS_KEPT = 64
LOOP_LAG_SECONDS = 0.5
LOOP_LAG_FOR_SECONDS = 5.0
_GOROUTINES_PER_CONNECTION = 2

# Seconds to wait, from and to: a full or draining node sends clients to others soon, an
# overloaded one needs its window of 5 s and the clients' return spread out.
_RETRY_AFTER_SECONDS = {
    "draining": (1, 5),
    "connections": (2, 15),
    "handshakes": (2, 15),
    "address": (10, 30),
}
_RETRY_AFTER_DEFAULT = (5, 30)


class Figures(NamedTuple):
    """What the node knows of itself when a client knocks.

    Attributes:
        connections: open ones, without the one that asks.
        goroutines: units of concurrent work, without those of the one that asks.
        cpu_percent: of WS_CPU_LIMIT.
        memory_bytes: in use.
        descriptors_free: file descriptors that could still be opened.
        loop_lag_seconds: how late the event loop is.
        draining: whether new clients are to be refused for a drain (not so during its delay).
        address_connections: open ones from the asking client's address.
    """

    connections: int = 0
    goroutines: int = 0
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    descriptors_free: int = 2**31
    loop_lag_seconds: float = 0.0
    draining: bool = False
    address_connections: int = 0


class Band:
    """A threshold that is entered above it and left `HYSTERESIS_POINTS` lower.

    Below 10 a threshold is left at half of it, so that a small one can be left at all.
    """

    def __init__(self) -> None:
        self.entered = False

    def update(self, percent: float, threshold: float) -> bool:
        """Takes a figure in and returns whether the band is entered; NaN changes nothing."""
        if percent > threshold:
            self.entered = True
        elif percent <= max(threshold - HYSTERESIS_POINTS, threshold / 2):
            self.entered = False
        return self.entered


class Admission:
    """The node's door. Call `observe` with each sample of the gauges, `decide` for each client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cpu, self._memory, self._pause = Band(), Band(), Band()
        self._late_since: float | None = None

    def update(self, settings: Settings) -> None:
        """Takes new settings over; a band whose threshold changed is entered anew or not at all."""
        before, self._settings = self._settings, settings
        if settings.cpu_reject_threshold != before.cpu_reject_threshold:
            self._cpu = Band()
        if settings.cpu_pause_threshold != before.cpu_pause_threshold:
            self._pause = Band()
        if settings.memory_limit != before.memory_limit:
            self._memory = Band()

    def observe(self, now: float, figures: Figures) -> None:
        """Takes figures in at `now`, in monotonic seconds."""
        self._cpu.update(figures.cpu_percent, self._settings.cpu_reject_threshold)
        self._memory.update(100 * figures.memory_bytes / self._settings.memory_limit, MEMORY_REJECT_PERCENT)
        if not figures.loop_lag_seconds > LOOP_LAG_SECONDS:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now

    def decide(self, now: float, figures: Figures) -> Reason | None:
        """Why a client must be refused at `now` (monotonic seconds), None when it may come in.

        Where several reasons hold, the one that helps most to understand comes first.
        """
        self.observe(now, figures)
        settings = self._settings
        if figures.draining:
            return "draining"
        if figures.connections >= settings.max_connections:
            return "connections"
        if self._cpu.entered:
            return "cpu"
        if self._memory.entered:
            return "memory"
        if figures.goroutines + _GOROUTINES_PER_CONNECTION > settings.max_goroutines:
            return "goroutines"
        if figures.descriptors_free <= DESCRIPTORS_KEPT:
            return "descriptors"
        if self._late_since is not None and now - self._late_since >= LOOP_LAG_FOR_SECONDS:
            return "loop_lag"
        per_address = settings.max_connections_per_address
        if per_address and figures.address_connections >= per_address:
            return "address"
        return None

    @property
    def cpu_short(self) -> bool:
        """CPU is above the threshold at which new clients are refused."""
        return self._cpu.entered

    @property
    def pausing(self) -> bool:
        """CPU is above the threshold at which the feed pauses, as `paused` said last."""
        return self._pause.entered

    def paused(self, cpu_percent: float) -> bool:
        """Whether reading from the stream is to pause at this CPU figure (seed, section 8)."""
        return self._pause.update(cpu_percent, self._settings.cpu_pause_threshold)


def retry_after_seconds(reason: Reason, source: random.Random) -> int:
    """Whole seconds for a refusal's `Retry-After`, spread so that those refused don't return together."""
    least, most = _RETRY_AFTER_SECONDS.get(reason, _RETRY_AFTER_DEFAULT)
    return source.randint(least, most)
