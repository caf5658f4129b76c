"""What a client is given of the past: spans of the stream, looked up in the ring. Pure.

What can't be given is always told: as the range of sequences in which something may be missing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from wsnode.channels import CONFLATE, is_pattern, matches
from wsnode.message import Message
from wsnode.passed import Passed, passed_over
from wsnode.ring import Ring

GATHERED_MESSAGES = 2_048
"""Looked up for one client at once: 8 bytes each, beside the messages that are the ring's."""

Missing = tuple[int, int]
Item = Message | Passed


@dataclass(slots=True)
class Span:
    """A stretch of the stream that a client is given.

    Attributes:
        names: by name (a channel or a pattern), the sequence up to which the client has it.
        until: the last sequence of the span.
        kind: what is said at its end.
        cursor: all up to it was gathered.
        missing: by name, what could not be given.
        count: messages given.
    """

    names: dict[str, int]
    until: int
    kind: Literal["resume", "replay"]
    cursor: int = 0
    missing: dict[str, Missing] = field(default_factory=dict)
    count: int = 0


@dataclass(slots=True)
class Joining:
    """A client's replay under way.

    Attributes:
        spans: what it is given first.
        had: by name, the sequence up to which it has all that is not in a span.
        plan: what was gathered and is not written yet.
        begun: when, by the monotonic clock.
        queued: it has its place among those that get a step.
    """

    had: dict[str, int]
    spans: deque[Span] = field(default_factory=deque)
    plan: deque[Item] = field(default_factory=deque)
    begun: float = field(default_factory=time.monotonic)
    queued: bool = False


def message_of(item: Item) -> Message:
    """The message that an item gives in the end."""
    return item.message if isinstance(item, Passed) else item


def missing_of(ring: Ring, name: str, had: int, until: int) -> Missing | None:
    """What of a name, above `had` and up to `until`, can't be given; None where nothing lacks."""
    if is_pattern(name):
        return ring.missing_of_any(had, until)
    return ring.missing(name, had, until)


def wider(one: Missing | None, other: Missing) -> Missing:
    """The range that holds both."""
    return other if one is None else (min(one[0], other[0]), max(one[1], other[1]))


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
    found += (passed for passed in newest if passed.message.seq not in whole)
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
