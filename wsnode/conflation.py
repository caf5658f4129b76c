"""Latest-value delivery: who fell behind gets, once there is room again, the newest message a channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from wsnode.counters import Counters
from wsnode.link import SSE, Extra, Link
from wsnode.links import Links
from wsnode.message import Message
from wsnode.passed import Passed
from wsnode.protocol.answers import position_frame
from wsnode.protocol.forms import event_id, reframe
from wsnode.ring import Ring

FLUSHED_BYTES = 16_384
"""Given to one client at once; of what waits meanwhile still only the newest counts."""


def pass_over(link: Link, messages: Iterable[Message]) -> None:
    """Notes messages of one channel for a client that is behind."""
    waiting = link.with_extra().passed
    for message in messages:
        passed = waiting.pop(message.channel, None)
        if passed is None:
            passed = Passed(message)
        else:
            passed.take(message)
        waiting[message.channel] = passed  # behind all others, of which it is the newest now


class Reach(Protocol):
    """How far the fan-out is, see `fanout.Fanout`."""

    def head(self) -> int:
        """The last sequence whose job has started."""

    def settled(self) -> int:
        """The last sequence that has reached all its subscribers."""

    def untold(self, upto: int) -> int:
        """The highest sequence up to this one that was lost and that no position has told yet, or 0."""


class Flusher:
    """Gives clients that have room again what they were passed over."""

    def __init__(self, links: Links, ring: Ring, counters: Counters, fanout: Reach) -> None:
        self._links, self._ring, self._counters, self._fanout = links, ring, counters, fanout

    def flush(self, link: Link) -> None:
        """Gives a client what it was passed over, as much as its socket takes now: it took all before."""
        while (
            link.out is None
            and link.extra is not None
            and link.extra.joining is None
            and (link.extra.passed or link.extra.lost)
        ):
            if not self._links.send(link, self._piece(link, link.extra)):
                return

    def _piece(self, link: Link, extra: Extra) -> bytes:
        epoch, head, waiting = self._ring.epoch, self._fanout.head(), extra.passed
        frames: list[bytes] = []
        lost = max(extra.lost, self._fanout.untold(head))
        if lost:
            # Before what came after it, see `Fanout`.
            reached = min([self._fanout.settled(), *(passed.first - 1 for passed in waiting.values())])
            frames.append(reframe(link.form, position_frame(reached, lost), event_id(epoch, reached)))
            extra.lost = 0
        size = 0
        for passed in sorted(waiting.values(), key=lambda passed: passed.message.seq):
            if size >= FLUSHED_BYTES:
                break
            del waiting[passed.message.channel]
            frames.append(passed.frame(link.form, epoch, waiting.values() if link.form == SSE else ()))
            size += len(frames[-1])
            self._counters.messages_out += 1
            self._counters.messages_skipped += passed.skipped
        extra.patched_after = head
        data = b"".join(frames)
        self._counters.bytes_out += len(data)
        return data
