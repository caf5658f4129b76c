"""A stream and the cores of nodes that read it, on virtual time and real sockets, without a broker.

The parts are wired as `node.Node` wires them, and fed through the feed's own functions, so that holes,
messages that can't be sent, full lines, slow readers and streams made anew come when a test wants them.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from tests.support.simloop import VirtualClock, VirtualLoop
from wsnode.channels import Channels
from wsnode.config import Settings
from wsnode.conflation import Flusher
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.feed_sorting import Sorter
from wsnode.feed_state import FeedState
from wsnode.feed_stream import StreamReader, epoch_of
from wsnode.holdings import Holdings
from wsnode.jetstream import StreamInfo
from wsnode.joining import Joiner
from wsnode.link import Link
from wsnode.links import Links
from wsnode.ring import Ring, Window
from wsnode.sessions import Sessions

_ON_CLOCK = ("fanout", "joining", "links", "sessions", "feed_sorting")
_SEND_BUFFER_BYTES = 4608
"""The kernel's least: whoever does not read is behind soon."""


@contextlib.contextmanager
def virtual_time(
    rng: random.Random, tick_seconds: float, **constants: dict[str, Any]
) -> Iterator[VirtualLoop]:
    """The core's modules on a virtual clock, and with these constants (by module) for the time being."""
    clock = VirtualClock(rng, tick_seconds)
    with pytest.MonkeyPatch.context() as patched:
        for module in _ON_CLOCK:
            patched.setattr(f"wsnode.{module}.time", clock, raising=False)
        for module, values in constants.items():
            for name, value in values.items():
                patched.setattr(f"wsnode.{module}.{name}", value)
        yield VirtualLoop(clock)


@dataclass(frozen=True, slots=True)
class Published:
    """A message of the stream. `sendable`: it is JSON, so that a client can be given it."""

    seq: int
    channel: str
    data: Any
    sendable: bool
    ts_ms: int

    @property
    def payload(self) -> bytes:
        """What the publisher sent."""
        return orjson.dumps(self.data) if self.sendable else b"not JSON"


@dataclass(slots=True)
class Stream:
    """A stream: all that was ever published, and what of it is still there to be read."""

    created: str
    published: dict[int, Published] = field(default_factory=dict)
    kept: dict[int, Published] = field(default_factory=dict)
    last: int = 0

    @property
    def epoch(self) -> str:
        """As clients know it."""
        return epoch_of("ODIN_TOKENS", self.created)

    def publish(self, channel: str, data: Any, ts_ms: int, *, sendable: bool = True) -> None:
        """Adds a message."""
        self.last += 1
        message = Published(self.last, channel, data, sendable, ts_ms)
        self.published[self.last] = self.kept[self.last] = message

    def delete(self, seq: int) -> None:
        """Takes a message away: a hole for those who have not read it."""
        self.kept.pop(seq, None)

    def info(self) -> StreamInfo:
        """As the broker describes it."""
        first = min(self.kept, default=self.last + 1)
        return StreamInfo(self.created, first, self.last, len(self.kept), {})

    def of(self, channel: str, above: int, below: int) -> list[Published]:
        """A channel's messages between two sequences, both excluded."""
        return [
            message
            for seq in range(above + 1, below)
            if (message := self.published.get(seq)) is not None and message.channel == channel
        ]


class SimCore:
    """The core of one node."""

    def __init__(self, loop: VirtualLoop, settings: Settings, window: Window) -> None:
        self.loop = loop
        self.counters = Counters()
        self.ring = Ring(window)
        self.channels: Channels[Link] = Channels()
        self.links = Links(loop.as_loop(), settings, self.counters)
        self.fanout = Fanout(loop.as_loop(), self.links, self.channels, self.ring, self.counters)
        parts = self.links, self.channels, self.fanout
        self.flusher = Flusher(self.links, self.ring, self.counters, self.fanout)
        self.joiner = Joiner(loop.as_loop(), *parts, self.ring, self.counters)
        self.sessions = Sessions(*parts, self.joiner, self.ring, self.counters)
        self.holdings = Holdings(self.links, self.ring)
        self.links.on_data = self.sessions.read
        self.links.on_leave = self.channels.leave
        self.links.on_emptied = self._emptied
        state = FeedState(settings, self.ring, lambda connected: None)
        self.sorter = Sorter(
            state,
            self.ring,
            self.counters,
            on_message=self.fanout.push,
            on_hole=self.fanout.note_loss,
            on_unsent=self.fanout.note_unsent,
        )
        self.reader = StreamReader(
            state,
            self.ring,
            self.counters,
            self.sorter,
            on_restart=self._restarted,
            room=lambda: 1000,
        )
        self.stream = Stream("")
        self.joiner.caught_up = lambda: self.ring.position >= self.stream.last and not self.fanout.busy

    def adopt(self, stream: Stream) -> None:
        """Reads this stream from now on."""
        self.stream = stream
        self.reader._adopt(stream.info())

    def read(self, most: int) -> None:
        """Reads the next messages."""
        stream = self.stream
        for _ in range(most):
            waiting = sorted(seq for seq in stream.kept if seq > self.ring.position)
            if not waiting:
                return
            message = stream.kept[waiting[0]]
            subject = f"odin.token.{message.channel}"
            self.sorter.take(message.seq, message.ts_ms, subject, {}, message.payload)

    def connect(self, form: int, query: str = "", last_event_id: str = "") -> socket.socket:
        """A client's end of a connection whose handshake is done."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        link = self.links.add(ours.detach(), None)
        link.form = form
        self.links.opened(link)
        self.links.send(link, self.sessions.greet(link, query, last_event_id))
        return theirs

    def tick(self) -> None:
        """What is done once a second, but for signs of life."""
        clock = self.loop.clock
        self.links.now = int(clock.now)
        self.ring.trim(clock.time_ns() // 1_000_000)
        self.holdings.tick()

    def tell_position(self) -> None:
        """A position is due, with the next data or alone."""
        self.fanout.position()

    def close(self) -> None:
        """Ends all of it."""
        self.links.shut()

    def _emptied(self, link: Link) -> None:
        self.flusher.flush(link)
        self.joiner.emptied(link)

    def _restarted(self, epoch: str) -> None:
        self.ring.epoch = epoch
        self.fanout.restart()
        self.joiner.reset()
        self.sessions.introduce_again()
