"""A position that is due: who is still to be told how far the stream has come.

Told to all at once it would hold the data up for as long as all those writes take. So each client gets
it with its next data, and those for whom none comes get it in groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Set
from itertools import islice

from wsnode.link import OPEN, Link
from wsnode.rounds import Flow

GROUP_LINKS = 256
RIDES_WITHIN_SECONDS = 1.0
"""How long a position waits for data to travel with: alone it costs a write a client."""
PAUSE_SECONDS = 0.01
"""Between two groups that get it alone: data must not wait until all are written to."""
_GROUPS = 64
_SHARE = 4
"""Waiting for data, and all the groups, each take this part of the interval at most: half of it is spare."""


class PositionClock:
    """Calls `tell` every WS_POSITION_INTERVAL. The intervals add up: what a call takes is not added."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float, tell: Callable[[], None]) -> None:
        self._loop, self._interval, self._tell = loop, interval, tell
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0

    def start(self) -> None:
        """The first time is after one interval."""
        self._last = self._loop.time()
        self._wind()

    def update(self, interval: float) -> None:
        """The next time is so long after the last."""
        if interval != self._interval:
            self._interval = interval
            if self._timer is not None:
                self._wind()

    def stop(self) -> None:
        """Never again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wind(self) -> None:
        self.stop()
        self._timer = self._loop.call_at(self._last + self._interval, self._due)

    def _due(self) -> None:
        due, now = self._last + self._interval, self._loop.time()
        self._last = due if now < due + self._interval else now  # those that passed unseen are let go
        self._wind()
        self._tell()


class PositionDue:
    """One position at a time.

    Attributes:
        pending: those who have not been told yet.
        upto: where the line was when it fell due: losses up to there are told to all by it.
        later: when those for whom no data came are told.
    """

    def __init__(self) -> None:
        self.pending: set[Link] = set()
        self.upto = 0
        self.later: asyncio.TimerHandle | None = None
        self._group = GROUP_LINKS

    def begin(self, links: Iterable[Link], upto: int, lost: int, interval: float) -> float:
        """To these, with what was lost up to there; those who have not been given all that are told later.

        All must have it before the next, `interval` seconds later. Returns how long it may wait for data.
        """
        self.upto = upto
        self.pending = set(self.ready(links, lost))
        groups = max(1, min(_GROUPS, int(interval / _SHARE / PAUSE_SECONDS)))
        self._group = max(GROUP_LINKS, -(-len(self.pending) // groups))
        return min(RIDES_WITHIN_SECONDS, interval / _SHARE)

    def ready(self, links: Iterable[Link], lost: int) -> list[Link]:
        """Those to whom a position may be told now; the others are told of the loss when they may be."""
        found = []
        for link in links:
            if link.state != OPEN:
                continue
            if not link.withheld:
                found.append(link)
            elif lost:
                extra = link.with_extra()
                extra.lost = max(extra.lost, lost)
        return found

    def rides(self, flows: list[Flow]) -> bool:
        """Whether it is worth while to send it with this data."""
        return bool(self.pending) and not all(self.pending.isdisjoint(flow.links) for flow in flows)

    def some(self) -> set[Link]:
        """The next group of those who get it alone."""
        return set(islice(self.pending, self._group))

    def wait(self, later: asyncio.TimerHandle) -> None:
        """The others are told then."""
        if self.later is not None:
            self.later.cancel()
        self.later = later

    def cancel(self) -> None:
        """Nobody more is told."""
        self.pending = set()
        if self.later is not None:
            self.later.cancel()
            self.later = None

    def ride(self, flows: list[Flow]) -> bool:
        """All whom this data is for get it too; True when nobody is left."""
        for flow in flows:
            if not self.pending:
                break
            self.pending -= flow.links
        return not self.pending

    def told(self, links: Set[Link]) -> bool:
        """These have been told; True when nobody is left."""
        self.pending -= links
        return not self.pending
