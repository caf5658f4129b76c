"""How much of a ring was looked at, in place of how long that took."""

from __future__ import annotations

from collections.abc import Iterable

from wsnode.message import Message
from wsnode.ring import Ring, Window


class Counted(Message):
    """A message that counts who follows its channel's chain over it.

    Attributes:
        looks: steps along chains, of all messages together.
    """

    __slots__ = ("_newer", "_older")
    looks = 0

    @property
    def older(self) -> Message | None:
        """Its neighbour, at the price of a look."""
        Counted.looks += 1
        return self._older

    @older.setter
    def older(self, message: Message | None) -> None:
        self._older = message

    @property
    def newer(self) -> Message | None:
        """Its neighbour, at the price of a look."""
        Counted.looks += 1
        return self._newer

    @newer.setter
    def newer(self, message: Message | None) -> None:
        self._newer = message


def counted_ring(published: Iterable[str], kept: int = 10**6) -> Ring:
    """A ring of such messages, numbered from 1; looks are counted from here on."""
    ring = Ring(Window(100, kept, 10**9))
    for seq, channel in enumerate(published, 1):
        ring.advance(seq)
        ring.add(Counted(seq, 0, "a:b", channel, ring.prev(channel), b"x" * 10), 0)
    Counted.looks = 0
    return ring
