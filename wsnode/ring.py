"""The recent past of the stream: what clients may resume into, and each channel's last message.

Pure: time is a parameter. The window is the stream's own (age, count, bytes).

The rule of `prev` lives here. A client may have lost something exactly when `prev` is above what it
last saw on that channel, so `prev` is never below the last message of the channel that *any* client
could have been given, and not below the end of a hole: messages that were gone before this node
could read them may have been of any channel. False alarms are allowed, silence never.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# Of each message besides its payload: object, sequence numbers, time stamp, place in the deque.
_OVERHEAD_BYTES = 250
MAX_CHANNELS_REMEMBERED = 200_000


class Message:
    """One message of the stream, as it waits for its frame and stays for resuming clients."""

    __slots__ = ("channel", "kind", "payload", "prev", "seq", "ts_ms")

    def __init__(self, seq: int, ts_ms: int, kind: str, channel: str, prev: int, payload: bytes) -> None:
        self.seq = seq
        self.ts_ms = ts_ms
        self.kind = kind
        self.channel = channel
        self.prev = prev
        self.payload = payload


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
        bytes: memory that the kept messages take, roughly.
        hole: end of the last hole: highest sequence that was gone before it could be read.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.position = 0
        self.bytes = 0
        self.hole = 0
        self._messages: deque[Message] = deque()
        self._last: dict[str, int] = {}
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def oldest(self) -> int:
        """The lowest sequence from which a client could resume here; one above the position when empty."""
        return self._messages[0].seq if self._messages else self.position + 1

    def restart(self, position: int) -> None:
        """Forgets all: what is read next follows `position` in a stream of its own."""
        self._messages.clear()
        self._last.clear()
        self.bytes = self._forgotten = 0
        self.position = self.hole = position

    def advance(self, seq: int) -> bool:
        """Takes note that `seq` was read; True when the stream had a hole before it.

        Raises:
            ValueError: it was read before.
        """
        if seq <= self.position:
            raise ValueError(f"sequence {seq} after {self.position}")
        holed = seq != self.position + 1
        if holed:
            self.hole = seq - 1
        self.position = seq
        return holed

    def prev(self, channel: str) -> int:
        """The `prev` of the channel's next message."""
        return max(self._last.get(channel, self._forgotten), self.hole)

    def skip(self, channel: str, seq: int) -> None:
        """A message of the channel that is not sent: the next `prev` shows it."""
        self._remember(channel, seq)

    def add(self, message: Message, now_ms: int) -> None:
        """Keeps a message; those that leave the window go."""
        self._remember(message.channel, message.seq)
        self._messages.append(message)
        self.bytes += len(message.payload) + _OVERHEAD_BYTES
        self.trim(now_ms)

    def trim(self, now_ms: int) -> None:
        """Drops what is older than the window, or more than it holds."""
        messages, window = self._messages, self.window
        youngest = now_ms - int(window.max_age_seconds * 1000)
        while messages and (
            messages[0].ts_ms < youngest
            or len(messages) > window.max_messages
            or self.bytes > window.max_bytes
        ):
            self.bytes -= len(messages.popleft().payload) + _OVERHEAD_BYTES

    def _remember(self, channel: str, seq: int) -> None:
        if len(self._last) >= MAX_CHANNELS_REMEMBERED and channel not in self._last:
            self._forget_a_quarter()
        self._last[channel] = seq

    def _forget_a_quarter(self) -> None:
        """Bounds the memory for channels that come and go: the longest quiet ones share one `prev`."""
        quiet = sorted(self._last, key=self._last.__getitem__)[: max(1, len(self._last) // 4)]
        self._forgotten = max(self._forgotten, *(self._last.pop(channel) for channel in quiet))
