"""Latest-value delivery: who fell behind gets, once there is room again, the newest message a channel."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import repeat
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
        """Gives a client that took all a piece of what it was passed over, and the rest in other turns."""
        extra = link.extra
        if extra is None or extra.joining is not None or link.out is not None:
            return
        if not (extra.passed or extra.lost) or not self._links.send(link, self._piece(link, extra)):
            return
        if extra.passed and link.out is None:
            self._links.go_on_soon(link)

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
        given: list[Passed] = []
        others = _earliest_behind(waiting.values()) if link.form == SSE else repeat(())
        for passed, earliest in zip(waiting.values(), others, strict=False):
            if size >= FLUSHED_BYTES:
                break
            given.append(passed)
            frames.append(passed.frame(link.form, epoch, earliest))
            size += len(frames[-1])
        for passed in given:
            del waiting[passed.message.channel]
            self._counters.messages_skipped += passed.skipped
        self._counters.messages_out += len(given)
        extra.patched_after = head
        data = b"".join(frames)
        self._counters.bytes_out += len(data)
        return data


def _earliest_behind(waiting: Collection[Passed]) -> list[tuple[Passed, ...]]:
    """For each, which of those behind it was passed over first; nothing for the last."""
    found: list[tuple[Passed, ...]] = []
    earliest: tuple[Passed, ...] = ()
    for passed in reversed(list(waiting)):
        found.append(earliest)
        if not earliest or passed.first < earliest[0].first:
            earliest = (passed,)
    found.reverse()
    return found
