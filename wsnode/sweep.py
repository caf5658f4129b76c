"""Signs of life and deadlines: one pass a second over a part of the clients, and no timer a client."""

from __future__ import annotations

from collections import deque

from wsnode.counters import Counters
from wsnode.link import CLOSING, DISCARDING, HANDSHAKE, OPEN, SSE, Link
from wsnode.links import Links
from wsnode.protocol import sse
from wsnode.protocol.frames import PING_FRAME
from wsnode.protocol.handshake import http_answer
from wsnode.tcp import unheard_seconds


class Sweep:
    """Call `tick` once a second.

    Each client is visited once every WS_PING_INTERVAL: pinged, or dropped where it gave no sign of
    life for WS_PING_TIMEOUT. So a peer that vanished is freed within the sum of both, whether its
    buffers are full or not. The client of a stream of events can't answer; its kernel does, with an
    acknowledgement for each ping.
    """

    def __init__(self, links: Links, counters: Counters) -> None:
        self._links, self._counters = links, counters
        self._turn = 0

    def tick(self, now: float) -> None:
        """`now` is the monotonic clock."""
        links = self._links
        links.now = int(now)
        links.wake()
        slots = max(1, round(links.settings.ping_interval))
        self._turn = (self._turn + 1) % slots
        silent_since = links.now - links.settings.ping_timeout
        for link in list(links.slot(self._turn, slots)):
            if link.state != OPEN:
                continue  # it has a deadline
            if link.form == SSE:
                link.seen = max(link.seen, links.now - unheard_seconds(link.fd))
            if link.seen < silent_since:
                links.drop_overdue(link, "timeout")
            elif links.send(
                link, sse.PING if link.form == SSE else PING_FRAME
            ):  # also to who is behind: it is asked, or it can't answer
                self._counters.pings += 1
        self._late_handshakes(now)
        self._late_goodbyes(now)

    def _late_handshakes(self, now: float) -> None:
        for link in _due(self._links.handshakes, now):
            if link.fd >= 0 and link.state == HANDSHAKE:
                self._counters.handshakes_failed["too_late"] += 1
                self._links.finish(link, http_answer(408, "no request in time\n"), "timeout")

    def _late_goodbyes(self, now: float) -> None:
        for link in _due(self._links.closings, now):
            if link.fd >= 0 and link.state in (CLOSING, DISCARDING):
                self._links.drop_overdue(link, link.why)


def _due(deadlines: deque[tuple[float, Link]], now: float) -> list[Link]:
    """Takes those out whose time has come. In order of entry: all of a kind have the same time to run."""
    due = []
    while deadlines and deadlines[0][0] <= now:
        due.append(deadlines.popleft()[1])
    return due
