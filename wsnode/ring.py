"""The recent past of the stream: what clients may resume into, and each channel's last message.

Pure: time is a parameter. The window is the stream's own (age, count, bytes).

The rule of `prev` lives here. A client may have lost something exactly when `prev` is above what it
last saw on that channel, so `prev` is never below the last message of the channel that *any* client
could have been given, and not below the end of a hole: messages that were gone before this node
could read them may have been of any channel. False alarms are allowed, silence never.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, KeysView
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

from wsnode.channels import EVERYTHING, PatternIndex, is_pattern
from wsnode.message import Message

__all__ = ["MAX_CHANNELS_REMEMBERED", "Message", "Ring", "Window"]

# Of each message besides its payload: object, sequence numbers, time stamp, envelope, place in the deque.
_OVERHEAD_BYTES = 320
MAX_CHANNELS_REMEMBERED = 200_000
TRIMMED_MESSAGES = 512
"""Let go at once, with each message that comes and each look at the age: no more than a millisecond's."""
_by_seq = attrgetter("seq")


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds of the ring: seconds, messages, bytes."""

    max_age_seconds: float
    max_messages: int
    max_bytes: int


class Ring:
    """What this node has read of the stream.

    Attributes:
        position: sequence of the last message read, or that which precedes the first one to read.
        epoch: of the stream, as clients know it; empty before it is known.
        bytes: memory that the kept messages take, roughly.
        hole: end of the last hole: highest sequence that was gone before it could be read.
        floor: highest sequence that was read or missed, and can't be had from here any more.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.position = 0
        self.epoch = ""
        self.bytes = 0
        self.hole = 0
        self.floor = 0
        self._messages: deque[Message] = deque()
        self._newest: dict[str, Message] = {}
        self._first: dict[str, Message] = {}
        self._broken: dict[str, deque[Message]] = {}  # by channel, those before which something is lost
        self._by_pattern = PatternIndex()
        self._last: dict[str, int] = {}
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def oldest(self) -> int:
        """The lowest sequence from which a client could resume here; one above the position when empty."""
        return self._messages[0].seq if self._messages else self.position + 1

    def restart(self, position: int, epoch: str = "") -> None:
        """Forgets all: what is read next follows `position` in a stream of its own."""
        for message in self._messages:
            message.older = message.newer = None  # or only the collector would find them
        self._messages.clear()
        self._newest.clear()
        self._first.clear()
        self._broken.clear()
        self._by_pattern.clear()
        self._last.clear()
        self.bytes = self._forgotten = 0
        self.position = self.hole = self.floor = position
        self.epoch = epoch

    def advance(self, seq: int) -> bool:
        """Takes note that `seq` was read; True when the stream had a hole before it.

        Raises:
            ValueError: it was read before.
        """
        if seq <= self.position:
            raise ValueError(f"sequence {seq} after {self.position}")
        holed = seq != self.position + 1
        if holed:
            self.lose(seq - 1)
        self.position = seq
        return holed

    def lose(self, seq: int) -> None:
        """Something up to `seq` is gone, and may have been of any channel."""
        self.hole = max(self.hole, seq)
        self.floor = max(self.floor, seq)

    def prev(self, channel: str) -> int:
        """The `prev` of the channel's next message."""
        return max(self._last.get(channel, self._forgotten), self.hole)

    def skip(self, channel: str, seq: int) -> None:
        """A message of the channel that is not sent: the next `prev` shows it."""
        self._remember(channel, seq)
        self.floor = max(self.floor, seq)

    def add(self, message: Message, now_ms: int) -> None:
        """Keeps a message; those that leave the window go."""
        self._remember(message.channel, message.seq)
        channel = message.channel
        older = self._newest.get(channel)
        if older is None:
            self._first[channel] = message
            self._by_pattern.add(channel)
        else:
            message.older, older.newer = older, message
            if message.prev > older.seq:
                self._broken.setdefault(channel, deque()).append(message)
        self._newest[channel] = message
        self._messages.append(message)
        self.bytes += message.size + _OVERHEAD_BYTES
        self.trim(now_ms)

    def trim(self, now_ms: int) -> bool:
        """Drops some of what is older than the window, or more than it holds. True where more may be due."""
        messages, window = self._messages, self.window
        youngest = now_ms - int(window.max_age_seconds * 1000)
        for _ in range(TRIMMED_MESSAGES):
            if not messages or (
                messages[0].ts_ms >= youngest
                and len(messages) <= window.max_messages
                and self.bytes <= window.max_bytes
            ):
                return False
            gone = messages.popleft()
            self.bytes -= gone.size + _OVERHEAD_BYTES
            self.floor = max(self.floor, gone.seq)
            self._let_go(gone)
        return True

    def _let_go(self, gone: Message) -> None:
        """A channel's first message leaves its chain."""
        channel, first = gone.channel, gone.newer
        gone.cut_off()
        if first is None:
            del self._newest[channel], self._first[channel]
            self._by_pattern.discard(channel)
            return
        self._first[channel] = first
        broken = self._broken.get(channel)
        if broken is not None and broken[0] is first:  # what is lost before the first one needs no note
            broken.popleft()
            if not broken:
                del self._broken[channel]

    # What resuming clients ask for.

    def first_above(
        self, channel: str, seq: int, most: int, since: Message | None = None
    ) -> tuple[Message | None, int]:
        """The channel's first message above `seq`, and how many were looked at to find it.

        Not found where that is `most`. `since` is one at or below `seq` that was found before: from there
        it is the shortest way, while the ring has it.
        """
        newest = self._newest.get(channel)
        if newest is None or newest.seq <= seq:
            return None, 0
        first = self._first[channel]
        looked = 0
        message: Message | None
        if since is not None and since.newer is not None and since.seq <= seq:
            message = since.newer
        elif seq - first.seq < newest.seq - seq:
            message = first
        else:
            message = newest
            while (older := message.older) is not None and older.seq > seq and looked < most:
                message = older
                looked += 1
            return message, looked
        while message is not None and message.seq <= seq and looked < most:
            message = message.newer
            looked += 1
        return message, looked

    def span(self, seq: int, upto: int, most: int) -> list[Message]:
        """The messages of all channels above `seq`, up to `upto`, in order; the first `most` of them."""
        messages = self._messages
        first = bisect_right(messages, seq, key=_by_seq)
        last = min(bisect_right(messages, upto, first, key=_by_seq), first + most)
        if first < len(messages) - last:
            return list(islice(messages, first, last))
        found = list(islice(reversed(messages), len(messages) - last, len(messages) - first))
        found.reverse()
        return found

    def newest(self, channel: str, upto: int) -> Message | None:
        """The channel's last message up to `upto`, None where it is no longer kept."""
        message = self._newest.get(channel)
        while message is not None and message.seq > upto:
            message = message.older
        return message

    def channels(self) -> KeysView[str]:
        """The channels of which messages are kept."""
        return self._newest.keys()

    def channels_of(self, name: str) -> Collection[str]:
        """Those that a name takes, of which messages are kept; one that is no pattern stands for itself.

        It costs what it gives. Do not keep it: it changes with the next message.
        """
        if not is_pattern(name):
            return (name,)
        return self._newest.keys() if name == EVERYTHING else self._by_pattern.of(name)

    def time_of(self, seq: int) -> int | None:
        """When the message `seq` was published, in ms; None where it is not kept."""
        index = bisect_left(self._messages, seq, key=_by_seq)
        found = self._messages[index] if index < len(self._messages) else None
        return found.ts_ms if found is not None and found.seq == seq else None

    def missing(self, channel: str, had: int, upto: int) -> tuple[int, int] | None:
        """What of a channel, above `had` and up to `upto`, may be lost here: first and last sequence.

        None where all of it is kept. The range may be wider than what is really lost.
        """
        if self.floor <= had:
            return None
        newest = self._newest.get(channel)
        if newest is None or newest.seq <= upto:
            lost = self.prev(channel)
            if newest is None or lost > newest.seq:
                lost = min(lost, upto)
                return (had + 1, lost) if lost > had else None
        # The last message up to `upto`, or the one behind it, before which something is lost.
        lost, broken = self._first[channel].prev, self._broken.get(channel)
        if broken:
            index = bisect_right(broken, upto, key=_by_seq)
            if index < len(broken) and (older := broken[index].older) is not None and older.seq <= upto:
                lost = broken[index].prev
            elif index:
                lost = broken[index - 1].prev
        lost = min(lost, upto)
        return (had + 1, lost) if lost > had else None

    def missing_of_any(self, had: int, upto: int) -> tuple[int, int] | None:
        """The same for channels that nobody can name, those of a pattern."""
        lost = min(self.floor, upto)
        return (had + 1, lost) if lost > had else None

    def _remember(self, channel: str, seq: int) -> None:
        if len(self._last) >= MAX_CHANNELS_REMEMBERED and channel not in self._last:
            self._forget_a_quarter()
        self._last[channel] = seq

    def _forget_a_quarter(self) -> None:
        """Bounds the memory for channels that come and go: the longest quiet ones share one `prev`."""
        quiet = sorted(self._last, key=self._last.__getitem__)[: max(1, len(self._last) // 4)]
        self._forgotten = max(self._forgotten, *(self._last.pop(channel) for channel in quiet))
