"""What was lost and is not yet told by a position. Pure."""

from __future__ import annotations

import bisect

from wsnode.protocol.envelope import MAX_SEQUENCE


class Losses:
    """First and last sequence of what was lost together, ascending.

    Those between which something was sent stay apart: whoever was given that and nothing since is told of
    the first alone.
    """

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def note(self, seq: int) -> None:
        """Something up to `seq` is lost."""
        if self.upto(seq) != seq:
            bisect.insort(self._ranges, (seq, seq))

    def note_next(self, seq: int, sent: int) -> None:
        """`seq` is lost too, and nothing above `sent` was sent to anybody: one loss with those before it.

        While a line is full it grows with each message.
        """
        if self._ranges and sent < self._ranges[-1][1] < seq:
            self._ranges[-1] = self._ranges[-1][0], seq
        else:
            self.note(seq)

    def upto(self, seq: int) -> int:
        """The highest loss up to a sequence, or 0."""
        count = bisect.bisect(self._ranges, (seq, MAX_SEQUENCE))
        return min(seq, self._ranges[count - 1][1]) if count else 0

    def after(self, seq: int) -> int:
        """Where the next loss above a sequence begins; MAX_SEQUENCE where there is none."""
        return next((first for first, _ in self._ranges if first > seq), MAX_SEQUENCE)

    def forget(self, upto: int) -> None:
        """Those up to a sequence have been told to all."""
        self._ranges = [(max(first, upto + 1), last) for first, last in self._ranges if last > upto]

    def clear(self) -> None:
        """Forgets all."""
        self._ranges.clear()
