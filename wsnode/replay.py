"""What a client is given of the past, looked up in the ring. Pure.

What can't be given is always told: as the range of sequences in which something may be missing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from wsnode.channels import CONFLATE, is_pattern, matches
from wsnode.message import Message
from wsnode.passed import Passed, passed_over
from wsnode.ring import Ring

GATHERED_MESSAGES = 2_048
"""Looked up for one client at once: 8 bytes each, beside the messages that are the ring's."""

Missing = tuple[int, int]
Item = Message | Passed


@dataclass(slots=True)
class Replay:
    """A stretch of the stream that a client asked for by itself, whether it has it or not.

    Attributes:
        names: what the client listened to when it asked.
        cursor: all up to it was gathered.
        until: the last sequence of the stretch.
        after: all up to it comes first, for the client was owed that when it asked.
        missing: what could not be given.
        count: messages given.
    """

    names: tuple[str, ...]
    cursor: int
    until: int
    after: int
    missing: Missing | None = None
    count: int = 0


@dataclass(slots=True)
class Joining:
    """A client on its way into the live sets.

    Attributes:
        had: by name, the sequence up to which the client has it.
        cursor: all names were gathered up to it, where they have less.
        whole: the last gathering was not cut short: it held what only the newest counts of, too.
        newest: messages that it is given first, ahead of their time: it asked for the last ones.
        plan: what was gathered and is not written yet, in order.
        replays: stretches that it asked for.
        replaying: the plan is of the first of these.
        resumed: by name, the sequence at which it is told to be caught up.
        missing: by resumed name, what could not be given.
        begun: when, by the monotonic clock.
        queued: it has its place among those that get a step.
    """

    had: dict[str, int]
    cursor: int
    whole: bool = True
    newest: deque[Message] = field(default_factory=deque)
    plan: deque[Item] = field(default_factory=deque)
    replays: deque[Replay] = field(default_factory=deque)
    replaying: bool = False
    resumed: dict[str, int] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    queued: bool = False

    @property
    def has_more(self) -> bool:
        """Something is left to be written or said."""
        return bool(self.plan or self.newest or self.replays or self.resumed)

    def given(self, name: str) -> int:
        """The sequence up to which a name has come."""
        upto = self.cursor
        if self.plan and not self.replaying:
            upto = message_of(self.plan[0]).seq - 1
        return max(self.had[name], upto)

    def will_give(self, message: Message) -> bool:
        """Whether a message is still to come."""
        return any(message.seq > self.given(name) and matches(name, message.channel) for name in self.had)

    def settle(self, options: dict[str, int]) -> None:
        """Notes at each name what it was given, so that the cursor may be set back for others.

        A plan that is not written yet is dropped, to be gathered anew.
        """
        if self.replaying:
            if self.plan:
                self.replays[0].cursor = message_of(self.plan[0]).seq - 1
        elif self.plan:
            self.cursor = message_of(self.plan[0]).seq - 1
        self.plan.clear()
        self.replaying = False
        self.had = {
            name: max(had, self.cursor) if self.whole or not options.get(name, 0) & CONFLATE else had
            for name, had in self.had.items()
        }


def message_of(item: Item) -> Message:
    """The message that an item gives in the end."""
    return item.message if isinstance(item, Passed) else item


def missing_of(ring: Ring, name: str, had: int, until: int) -> Missing | None:
    """What of a name, above `had` and up to `until`, can't be given; None where nothing lacks."""
    if is_pattern(name):
        return ring.missing_of_any(had, until)
    return ring.missing(name, had, until)


def wider(one: Missing | None, other: Missing | None) -> Missing | None:
    """The range that holds both."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def newest_of(ring: Ring, names: Iterable[str], upto: int) -> list[Message]:
    """The newest message of each channel that the names take, in order."""
    exact: dict[str, None] = {}
    patterns: list[str] = []
    for name in names:
        if is_pattern(name):
            patterns.append(name)
        else:
            exact[name] = None
    if patterns:
        exact |= {
            channel: None
            for channel in ring.channels()
            if any(matches(pattern, channel) for pattern in patterns)
        }
    newest = [found for channel in exact if (found := ring.newest(channel, upto)) is not None]
    return sorted(newest, key=lambda message: message.seq)


def look_up(
    ring: Ring, options: dict[str, int], names: dict[str, int], cursor: int, until: int
) -> tuple[list[Item], int]:
    """Messages above `cursor` and above what each name has, in order, each once; and the new cursor.

    Names with CONFLATE give the newest of each channel, once all else is given: these look at what
    the name has alone. Where there is more than can be gathered at once the cursor ends before `until`.
    """
    whole: dict[int, Message] = {}
    newest: list[Passed] = []
    patterns: dict[str, int] = {}
    for name, had in names.items():
        if is_pattern(name):
            patterns[name] = had
        elif options.get(name, 0) & CONFLATE:
            passed = passed_over(ring.after(name, had, until))
            newest += [passed] if passed is not None else []
        else:
            whole.update((m.seq, m) for m in ring.after(name, max(had, cursor), until))
    if patterns:
        newest += _of_patterns(ring, patterns, options, cursor, until, whole)
    found: list[Item] = [whole[seq] for seq in sorted(whole)]
    if len(found) > GATHERED_MESSAGES:
        del found[GATHERED_MESSAGES:]
        return found, message_of(found[-1]).seq
    widest: dict[int, Passed] = {}  # where names overlap, that of the one that had least
    for passed in newest:
        seq = passed.message.seq
        if seq not in whole and (seq not in widest or widest[seq].skipped < passed.skipped):
            widest[seq] = passed
    found += widest.values()
    return sorted(found, key=lambda item: message_of(item).seq), until


def _of_patterns(
    ring: Ring,
    patterns: dict[str, int],
    options: dict[str, int],
    cursor: int,
    until: int,
    whole: dict[int, Message],
) -> list[Passed]:
    """Adds what patterns take to `whole`; returns what of it only the newest counts."""
    newest: dict[str, list[Message]] = {}
    takers: dict[str, list[tuple[int, bool]]] = {}
    for message in ring.tail(min(patterns.values()), until):
        channel, seq = message.channel, message.seq
        own = takers.get(channel)
        if own is None:
            own = takers[channel] = [
                (had, bool(options.get(name, 0) & CONFLATE))
                for name, had in patterns.items()
                if matches(name, channel)
            ]
        taken = [conflated for had, conflated in own if seq > had]
        if not taken or seq in whole:
            continue
        if all(taken):
            newest.setdefault(channel, []).append(message)
        elif seq > cursor:
            whole[seq] = message
    return [passed for messages in newest.values() if (passed := passed_over(messages)) is not None]
