"""Did this client get every message of its channels, once, in order? Pure: sequences in, verdicts out.

The rule (wire protocol): every data message carries `seq`, its place in the stream, and `prev`, the
channel's message before it. A client may have lost something exactly when
`prev > max(last seq seen on that channel, the acknowledgement's or the resume's seq)`. False alarms are
allowed, silence never. A `position` message raises no baseline of that rule, or it would hide a loss; but
a message that comes after a position at or above its own `seq` came out of order.

`may_have_lost` is the rule; `standing.Standing` applies it to one client that keeps its channels in
dictionaries, `Ledger` to the thousands that the load client keeps in arrays, and judges the node by it.
"""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

NONE = -1
"""Baseline of a channel that no acknowledgement has named, and of positions not yet told."""

_OPEN_RANGES_KEPT = 64
"""Open losses remembered for one channel: only to tell a late message from a doubled one."""


def may_have_lost(prev: int, seen: int, bar: int) -> bool:
    """Whether a message's `prev` says that something before it did not come.

    `seen` is the last seq of its channel, `bar` the seq of the acknowledgement or of the resume, or the
    end of what was told as missing already.
    """
    return prev > seen and prev > bar


class Verdict(StrEnum):
    """What one data message says about the messages before it."""

    OK = "ok"
    LOST = "lost"
    """At least one message between was not delivered on this connection."""
    MISSED_AWAY = "missed_while_away"
    """Something was published while the client was not connected, and the acknowledgement covers it."""
    DOUBLED = "doubled"
    """This message, or its place in the channel, was delivered before."""
    REORDERED = "reordered"
    """It came after a newer one (or after a position that covers it): late, but not lost."""
    UNASKED = "unasked"
    """A message of a channel that was not acknowledged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict other than OK, with the figures that show it."""

    verdict: Verdict
    channel: str
    seq: int
    prev: int
    had: int
    """The last `seq` of the channel before this message, or the acknowledgement's or resume's."""

    @property
    def missing(self) -> tuple[int, int] | None:
        """The sequences, inclusive, among which the missing messages are; None when none are missing."""
        if self.verdict in (Verdict.LOST, Verdict.MISSED_AWAY):
            return self.had + 1, self.prev
        return None

    def __str__(self) -> str:
        return f"{self.verdict} on {self.channel}: seq {self.seq} says prev {self.prev}, had {self.had}"


class Ledger:
    """Judges messages against a baseline that the caller keeps, and counts what is wrong.

    Counts are of messages, except `lost`, `missed_while_away` and `told`: these count ranges in which at
    least one message is missing, since how many there were is not known to a client. Clients that resume
    are told what they missed: the caller counts that in `told` when it is, and no message counts it again.
    """

    __slots__ = ("_open", "_resumes", "doubled", "lost", "missed_while_away", "reordered", "told", "unasked")

    def __init__(self, *, resumes: bool = False) -> None:
        self._resumes = resumes
        self.told = 0
        self.lost = 0
        self.doubled = 0
        self.reordered = 0
        self.unasked = 0
        self.missed_while_away = 0
        self._open: dict[Hashable, list[tuple[int, int]]] = {}

    def judge(
        self, key: Hashable, base: int, bar: int, position: int, seq: int, prev: int
    ) -> tuple[Verdict, int]:
        """One message of the channel `key`. Returns the verdict and the channel's new baseline.

        `base` is the last seq seen on the channel over all connections (the first acknowledgement's
        where none was), `position` is this connection's, and `bar` the seq of its acknowledgement or
        resume, or the end of what was told as missing. NONE where not known.
        """
        if base == NONE:
            self.unasked += 1
            return Verdict.UNASKED, NONE
        if seq <= base:
            return self._old(key, seq, prev), base
        if may_have_lost(prev, base, bar):
            self.lost += 1
            kept = self._open.setdefault(key, [])
            kept.append((max(base, bar), prev))
            del kept[:-_OPEN_RANGES_KEPT]
            return Verdict.LOST, seq
        if prev > base:
            self.missed_while_away += not self._resumes
            return Verdict.MISSED_AWAY, seq
        if seq <= position:
            self.reordered += 1
            return Verdict.REORDERED, seq
        return Verdict.OK, seq

    def _old(self, key: Hashable, seq: int, prev: int) -> Verdict:
        """A message at or below the baseline: the late part of an open loss, or a double."""
        kept = self._open.get(key, [])
        for index, (low, high) in enumerate(kept):
            if low < seq <= high:
                rest = [(a, b) for a, b in ((low, prev), (seq, high)) if a < b]
                kept[index : index + 1] = rest
                self.lost += len(rest) - 1
                self.reordered += 1
                return Verdict.REORDERED
        self.doubled += 1
        return Verdict.DOUBLED

    def forget(self, key: Hashable) -> None:
        """Drop the open losses of a channel: what is missing there will not come late any more."""
        self._open.pop(key, None)

    @property
    def broken(self) -> int:
        """How often the node's promise was broken: 0 is a clean check. Being away breaks no promise."""
        return self.lost + self.doubled + self.reordered + self.unasked


def silent_losses(
    published: Sequence[int], received: Iterable[int], findings: Iterable[Finding], ack: int
) -> list[int]:
    """Messages of one channel that were published, not received, and not told: the failure that must not be.

    `published` are all sequences of the channel, ascending. Judged are those after `ack` and up to the
    newest received one; later ones could still be on their way.
    """
    got = set(received)
    if not got:
        return []
    told = [span for finding in findings if (span := finding.missing) is not None]
    first = bisect.bisect_right(published, ack)
    last = bisect.bisect_right(published, max(got))
    return [
        seq
        for seq in published[first:last]
        if seq not in got and not any(low <= seq <= high for low, high in told)
    ]
