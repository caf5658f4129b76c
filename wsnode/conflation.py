"""Latest-value delivery: who fell behind gets, once there is room again, the newest message a channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from wsnode.counters import Counters
from wsnode.link import Link
from wsnode.links import Links
from wsnode.message import Message
from wsnode.passed import Passed
from wsnode.protocol.answers import position_frame
from wsnode.protocol.forms import event_id, reframe
from wsnode.ring import Ring


def pass_over(link: Link, messages: Iterable[Message]) -> None:
    """Notes messages of one channel for a client that is behind."""
    waiting = link.with_extra().passed
    for message in messages:
        passed = waiting.get(message.channel)
        if passed is None:
            waiting[message.channel] = Passed(message)
        else:
            passed.take(message)


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
        """Gives a client what it was passed over: there is room again, or what comes next must follow it."""
        extra = link.extra
        if extra is None or not extra.passed:
            return
        waiting = sorted(extra.passed.values(), key=lambda passed: passed.message.seq)
        extra.passed = {}
        epoch, settled = self._ring.epoch, self._fanout.settled()
        frames = [passed.frame(link.form, epoch) for passed in waiting]
        if extra.lost and extra.joining is None:
            lost = max(extra.lost, self._fanout.untold(settled))
            extra.lost = 0
            # Before anything newer comes, and with the position that covers it.
            frames.insert(0, reframe(link.form, position_frame(0, lost)))
            frames.append(reframe(link.form, position_frame(settled, lost), event_id(epoch, settled)))
        extra.patched_after = self._fanout.head()
        data = b"".join(frames)
        self._counters.messages_out += len(waiting)
        self._counters.messages_skipped += sum(passed.skipped for passed in waiting)
        self._counters.bytes_out += len(data)
        self._links.send(link, data)
