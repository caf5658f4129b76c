"""A position that is due: who is still to be told how far the stream has come.

Told to all at once it would hold the data up for as long as all those writes take. So each client gets
it with its next data, and those for whom none comes get it in groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Set
from itertools import islice

from wsnode.link import OPEN, Link
from wsnode.rounds import Flow

GROUP_LINKS = 256
_GROUPS = 64


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

    def begin(self, links: Iterable[Link], upto: int, lost: int) -> None:
        """To these, with what was lost up to there; those who have not been given all that are told later."""
        self.upto = upto
        self.pending = set(self.ready(links, lost))
        self._group = max(GROUP_LINKS, len(self.pending) // _GROUPS)

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

    def told(self, links: Set[Link]) -> bool:
        """These have been told; True when nobody is left."""
        self.pending -= links
        return not self.pending
