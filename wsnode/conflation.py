"""Latest-value delivery: who fell behind gets, once there is room again, the newest message a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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


class Flusher:
    """Gives clients that have room again what they were passed over."""

    def __init__(self, links: Links, ring: Ring, counters: Counters, head: Callable[[], int]) -> None:
        self._links, self._ring, self._counters, self._head = links, ring, counters, head

    def emptied(self, link: Link) -> None:
        """A client's socket took all that waited for it."""
        extra = link.extra
        if extra is None or not extra.passed:
            return
        waiting = sorted(extra.passed.values(), key=lambda passed: passed.message.seq)
        extra.passed = {}
        epoch, head = self._ring.epoch, self._head()
        frames = [passed.frame(link.form, epoch) for passed in waiting]
        if extra.lost and extra.joining is None:
            told = position_frame(head, extra.lost)
            extra.lost = 0
            frames.append(reframe(link.form, told, event_id(epoch, head)))
        extra.patched_after = head
        data = b"".join(frames)
        self._counters.messages_out += len(waiting)
        self._counters.messages_skipped += sum(passed.skipped for passed in waiting)
        self._counters.bytes_out += len(data)
        self._links.send(link, data)
