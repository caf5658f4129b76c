"""What the ring has of a client's names, piece by piece, so that no look-up holds up the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from operator import attrgetter

from wsnode.channels import EVERYTHING, is_pattern, takers
from wsnode.message import Message
from wsnode.ring import Ring

GATHERED_MESSAGES = 1_024
GATHERED_BYTES = 262_144
"""Looked up for one client at once: what leaves the ring meanwhile is kept alive by that client alone."""
SCANNED_MESSAGES = 8_192
"""Of the whole stream looked at at once, for who listens to much: well below a millisecond."""
SCANNED_CHANNELS = 1_024
"""Channels among them: who listens to one is found out once, and costs as much as ten of its messages."""
WALKED_MESSAGES = 8_192
"""Looked at at once to find where a client's channels go on for it, before all are scanned in their place."""
EXPANDED_CHANNELS = 512
"""Up to so many channels in the ring a pattern is looked up by its channels, above that by scanning."""
SORTED_CHANNELS = 512
"""Up to so many channels their newest messages are found by name and sorted, above that by scanning."""
GATHERED_NEWEST = 256
SCANNED_NEWEST = 2_048
"""So many of them are looked up at once, and so many messages looked at: a share of a millisecond."""

_by_seq = attrgetter("seq")


@dataclass(slots=True)
class Wish:
    """What is looked up.

    Attributes:
        names: by name (a channel or a pattern), the sequence up to which the client has it.
        conflated: those of which only the newest message counts.
        ahead, behind: channels that it has further, and less far, than their names say.
        found: the last message that was found of each name, to go on from there.
    """

    names: dict[str, int]
    conflated: frozenset[str] = frozenset()
    ahead: Mapping[str, int] = field(default_factory=dict)
    behind: Mapping[str, int] = field(default_factory=dict)
    found: dict[str, Message] = field(default_factory=dict)

    def of(self, channel: str) -> tuple[int, bool] | None:
        """The sequence up to which the client has a channel, and whether only its newest counts.

        None where no name takes it. Where names overlap, each message that one of them lacks is given,
        and given whole where one of them wants it so.
        """
        own = takers(self.names, channel)
        if not own:
            return None
        had = min(self.names[name] for name in own)
        if channel in self.behind:
            had = min(had, self.behind[channel])
        return max(had, self.ahead.get(channel, 0)), self.conflated.issuperset(own)


@dataclass(slots=True)
class Found:
    """Messages in the order of the stream.

    Attributes:
        whole: those to be given.
        newest: those of which only the newest of each channel is to be given.
        upto: all up to it was looked at.
    """

    whole: list[Message]
    newest: list[Message]
    upto: int


def look_up(ring: Ring, wish: Wish, cursor: int, until: int) -> Found:
    """The next messages above `cursor` and up to `until`, as many as may be looked up at once."""
    patterns = any(is_pattern(name) for name in wish.names)
    channels = ring.channels() if patterns else wish.names.keys()
    found = None
    if not patterns or len(channels) <= EXPANDED_CHANNELS:
        found = _by_channel(ring, wish, channels, cursor, until)
    return found or _by_scanning(ring, wish, cursor, until, patterns=patterns)


def look_up_newest(ring: Ring, names: Mapping[str, int], cursor: int, upto: int) -> tuple[list[Message], int]:
    """The newest message of each channel that a name takes, of those up to `upto`, in order.

    Above `cursor`, and above what the name says; as many as may be looked up at once. Returns them, and the
    sequence up to which that is all. Few channels cost what they give, many a share of the ring.
    """
    by_name = [ring.channels_of(name) for name in names]
    if sum(map(len, by_name)) > SORTED_CHANNELS:
        return _newest_by_scanning(ring, names, cursor, upto)
    channels = dict.fromkeys(channel for some in by_name for channel in some)
    newest = [
        found
        for channel in channels
        if (found := ring.newest(channel, upto)) is not None and found.seq > cursor and _asked(names, found)
    ]
    newest.sort(key=_by_seq)
    return newest, _cut(newest, upto)


def _newest_by_scanning(
    ring: Ring, names: Mapping[str, int], cursor: int, upto: int
) -> tuple[list[Message], int]:
    scanned = ring.span(cursor, upto, SCANNED_NEWEST)
    newest: list[Message] = []
    size = 0
    for message in scanned:
        newer = message.newer
        if (newer is None or newer.seq > upto) and _asked(names, message):
            newest.append(message)
            size += message.size
            if len(newest) >= GATHERED_NEWEST or size >= GATHERED_BYTES:
                return newest, message.seq
    return newest, upto if len(scanned) < SCANNED_NEWEST else scanned[-1].seq


def _asked(names: Mapping[str, int], message: Message) -> bool:
    """Whether one of these names is to bring it."""
    if message.seq > names.get(EVERYTHING, message.seq):
        return True
    return any(message.seq > names[name] for name in takers(names, message.channel))


def _by_channel(ring: Ring, wish: Wish, channels: Iterable[str], cursor: int, until: int) -> Found | None:
    """Follows the messages of each channel from one to the next; None where their beginning is far away."""
    due: list[tuple[int, Message, bool]] = []  # the next of each, and whether only its newest counts
    steps = WALKED_MESSAGES
    for channel in channels:
        own = wish.of(channel)
        if own is None:
            continue
        had = max(own[0], cursor)
        message, walked = ring.first_above(channel, had, steps, wish.found.get(channel))
        steps -= walked
        if steps <= 0:
            return None
        if message is not None and message.seq <= until:
            due.append((message.seq, message, own[1]))
    heapify(due)
    whole: list[Message] = []
    newest: list[Message] = []
    upto, size = until, 0
    while due:
        seq, message, conflated = due[0]
        (newest if conflated else whole).append(message)
        newer = message.newer
        if newer is not None and newer.seq <= until:
            heapreplace(due, (newer.seq, newer, conflated))
        else:
            heappop(due)
        size += 0 if conflated else message.size
        if size >= GATHERED_BYTES or len(whole) + len(newest) >= GATHERED_MESSAGES:
            upto = seq if due else until
            break
    _note_found(wish, newest, whole)
    return Found(whole, newest, upto)


def _by_scanning(ring: Ring, wish: Wish, cursor: int, until: int, *, patterns: bool) -> Found:
    """Looks at all messages, whatever their channels."""
    scanned = ring.span(cursor, until, SCANNED_MESSAGES)
    upto = until if len(scanned) < SCANNED_MESSAGES else scanned[-1].seq
    if not patterns:
        scanned = [message for message in scanned if message.channel in wish.names]
    known: dict[str, tuple[int, bool] | None] = {}
    whole: list[Message] = []
    newest: list[Message] = []
    size, last = 0, cursor
    for message in scanned:
        channel = message.channel
        if channel not in known:
            if len(known) >= SCANNED_CHANNELS:
                upto = last
                break
            known[channel] = wish.of(channel)
        own, last = known[channel], message.seq
        if own is None or last <= own[0]:
            continue
        (newest if own[1] else whole).append(message)
        size += 0 if own[1] else message.size
        if size >= GATHERED_BYTES or len(whole) + len(newest) >= GATHERED_MESSAGES:
            upto = last
            break
    _note_found(wish, newest, whole)
    return Found(whole, newest, upto)


def _note_found(wish: Wish, *found: list[Message]) -> None:
    """To go on from there the next time."""
    for messages in found:
        for message in messages:
            if message.channel in wish.names:
                wish.found[message.channel] = message


def _cut(messages: list[Message], upto: int) -> int:
    """Leaves as many as may be looked up at once; returns the sequence up to which that is all."""
    size = 0
    for index, message in enumerate(messages):
        size += message.size
        if size >= GATHERED_BYTES or index + 1 >= GATHERED_MESSAGES:
            upto = message.seq if index + 1 < len(messages) else upto
            del messages[index + 1 :]
            break
    return upto
