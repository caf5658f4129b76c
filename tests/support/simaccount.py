"""What a client is owed, and what it was told of it.

Something may be lost exactly where it was told so; all else that a claim covers must have been received, or
told as passed over.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tests.support.simcore import Published, Stream
from wsnode.channels import matches

NEVER = 2**60


@dataclass(slots=True)
class Sub:
    """A subscription.

    Attributes:
        options: as asked for.
        since: everything above it is owed.
        base: what the rule of `prev` takes for known: the acknowledgement's sequence, or the resume's.
        upto: from where it would go on, by what it was told.
        start: what comes is above it.
        seen: the last message of it, where it is no pattern.
        checked: all up to it was seen to be accounted for.
    """

    options: int
    since: int
    base: int
    upto: int
    start: int
    checked: int
    seen: int = 0


@dataclass(slots=True)
class Again:
    """What was asked for again: of names above a sequence, once a channel."""

    names: tuple[str, ...]
    above: int
    used: set[str] = field(default_factory=set)

    def takes(self, channel: str) -> bool:
        """Whether a message of this channel can come by it."""
        return channel not in self.used and any(matches(name, channel) for name in self.names)


@dataclass(slots=True)
class Stretch:
    """A replay that was asked for.

    Attributes:
        above, upto: its ends.
        last: the last message that came of it.
        count, perhaps: messages that were surely of it, and those that would have come anyway.
        doubtful: asked before the stream was another one; it is answered only if it was read after that.
    """

    above: int
    upto: int
    last: int = 0
    count: int = 0
    perhaps: int = 0
    doubtful: bool = False


@dataclass(slots=True)
class Memory:
    """What is known of a stream.

    Attributes:
        got: by channel, the messages that came.
        top: by channel, the last of them.
        told: by name, what may be missing.
        excused: by name, what was passed over, or is said to be had.
        untold: messages that should have come, and of which nothing was told at once.
    """

    got: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    top: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    told: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    excused: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    untold: set[tuple[str, int]] = field(default_factory=set)


class Account:
    """The subscriptions of one client, and what came of them, stream by stream."""

    def __init__(self, label: str, streams: dict[str, Stream], log: list[str]) -> None:
        self.label, self.streams, self.log = label, streams, log
        self.subs: dict[str, Sub] = {}
        self.before: dict[str, Sub] = {}  # of the last connection, not yet taken up again
        self.epoch = ""
        self.lossless = False
        self.memories: dict[str, Memory] = defaultdict(Memory)

    @property
    def memory(self) -> Memory:
        """Of the stream that it is told of."""
        return self.memories[self.epoch]

    @property
    def stream(self) -> Stream:
        """The one whose epoch it was told."""
        return self.streams[self.epoch]

    def known(self, name: str) -> Sub | None:
        """What it knows of a name, from this connection or the one before."""
        return self.subs.get(name) or self.before.get(name)

    def _note_silence(self, channel: str, seq: int, takers: list[Sub]) -> None:
        """What should have come before this message and was not told must be told before it is claimed."""
        since = min(max(sub.since, sub.start) for sub in takers)
        for message in self.stream.of(channel, max(since, self.memory.top[channel]), seq):
            if not self._accounted(message):
                self.memory.untold.add((channel, message.seq))

    def _accounted(self, message: Published) -> bool:
        if message.seq in self.memory.got[message.channel]:
            return True
        return any(
            first <= message.seq <= last
            for known in (self.memory.told, self.memory.excused)
            for first, last in ranges(known, message.channel)
        )

    def _claim(self, name: str, upto: int, what: str) -> None:
        """All of a name up to there must be accounted for."""
        sub = self.known(name)
        assert sub is not None
        if sub.since == NEVER:
            return
        for seq in range(max(sub.since, sub.checked) + 1, upto + 1):
            message = self.stream.published.get(seq)
            if message is not None and message.sendable and matches(name, message.channel):
                assert self._accounted(message), f"{what} {upto} claims {seq} of {message.channel} for {name}"
        sub.checked = max(sub.checked, upto)
        sub.upto = max(sub.upto, upto)


def ranges(known: dict[str, list[tuple[int, int]]], channel: str) -> list[tuple[int, int]]:
    """What is known by name, of one channel."""
    return [found for name, some in known.items() if matches(name, channel) for found in some]
