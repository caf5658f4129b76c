"""Messages that a client is passed over for a newer one of the same channel. Pure.

What is passed over is told: the message that is given in the end carries how many were skipped, and
the `prev` of the first of them, or what the node itself lost among them: a skip is no gap, and hides none.
"""

from __future__ import annotations

from collections.abc import Iterable

from wsnode.message import Message
from wsnode.protocol.forms import event_id


class Passed:
    """Messages of one channel that a client was passed over: their newest, and what to tell of the others."""

    __slots__ = ("first", "message", "prev", "skipped")

    def __init__(self, message: Message) -> None:
        self.first = message.seq
        self.message = message
        self.prev = message.prev
        self.skipped = 0

    def take(self, message: Message) -> None:
        """A newer one, in place of the one kept."""
        if message.prev > self.message.seq:
            self.prev = message.prev  # there was a loss in between: `prev` has to alarm
        self.message = message
        self.skipped += 1

    def frame(self, form: int, epoch: str, others: Iterable[Passed] = ()) -> bytes:
        """What the client is given in the end.

        While `others` wait that were passed over before it, it is no message to go on from.
        """
        seq = self.message.seq
        told_id = "" if any(other.first <= seq for other in others) else event_id(epoch, seq)
        if told_id and not self.skipped and self.prev == self.message.prev:
            return self.message.frame(form, epoch)
        return self.message.skipping_frame(form, told_id, self.prev, self.skipped)


def passed_over(messages: Iterable[Message]) -> Passed | None:
    """Several messages of a channel as one, None where there are none."""
    passed: Passed | None = None
    for message in messages:
        if passed is None:
            passed = Passed(message)
        else:
            passed.take(message)
    return passed
