"""The node's core without a broker, and clients that hold it to its word.

`World` wires the parts as the node does and is fed by hand, so that holes, bad messages, overflowing
lines and slow readers come when a test wants them. `Watcher` is a client that applies the rule of `prev`
to the letter and keeps account: at the end each message of its channels was received once, in order, or
told as possibly missing, or passed over as it had asked for.
"""

from __future__ import annotations

import json
import random
import socket
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support.simloop import VirtualLoop
from tests.support.wsclient import CLOSE, PING, TEXT, text_frame
from wsnode.channels import CONFLATE, DELTA, Channels, matches
from wsnode.config import Settings
from wsnode.conflation import Flusher
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.holdings import Holdings
from wsnode.joining import Joiner
from wsnode.link import DEFLATE, PLAIN, Link
from wsnode.links import Links
from wsnode.message import Message
from wsnode.position import PositionClock
from wsnode.protocol.delta import apply_delta
from wsnode.ring import Ring, Window
from wsnode.sessions import Sessions

SPOILED = "can't be sent"
"""Data of a message that no node gives to anyone: only the next `prev` of its channel tells it."""


@dataclass
class Truth:
    """What the stream held: by sequence, its channel and its data (None where nobody can be given it)."""

    messages: dict[int, tuple[str, Any]] = field(default_factory=dict)


class World:
    """The core of a node, wired as `node.Node` does it."""

    def __init__(self, virtual: VirtualLoop, window: Window, queue: int, position_interval: float) -> None:
        self.loop = virtual.as_loop()
        self.settings = Settings(
            worker_queue_size=queue,
            client_rate_burst=100_000,
            client_rate_per_second=100_000,
            position_interval=position_interval,
            ping_interval=1,
        )
        self.counters = Counters()
        self.ring = Ring(window)
        self.channels: Channels[Link] = Channels()
        self.links = Links(self.loop, self.settings, self.counters)
        self.fanout = Fanout(self.loop, self.links, self.channels, self.ring, self.counters)
        parts = self.links, self.channels, self.fanout
        self.flusher = Flusher(self.links, self.ring, self.counters, self.fanout)
        self.joiner = Joiner(self.loop, *parts, self.ring, self.counters)
        self.sessions = Sessions(*parts, self.joiner, self.ring, self.counters)
        self.holdings = Holdings(self.links, self.ring)
        self.links.on_data = self.sessions.read
        self.links.on_leave = self.channels.leave
        self.links.on_emptied = self._emptied
        self.positions = PositionClock(self.loop, position_interval, self.fanout.position)
        self.positions.start()
        self.truth = Truth()
        self.restart("epoch-0")

    def close(self) -> None:
        """Ends all of it."""
        self.positions.stop()
        self.links.shut()

    def _emptied(self, link: Link) -> None:
        self.flusher.flush(link)
        self.joiner.emptied(link)

    def restart(self, epoch: str) -> None:
        """The stream is made again."""
        self.truth = Truth()
        self.ring.restart(0, epoch)
        self.fanout.restart()
        self.joiner.reset()
        self.sessions.introduce_again()

    def publish(self, channel: str, data: Any) -> None:
        """A message is read."""
        seq = self._next()
        self.truth.messages[seq] = channel, data
        payload = json.dumps(data).encode()
        message = Message(seq, 1000 + seq, "price:update", channel, self.ring.prev(channel), payload)
        self.ring.add(message, 1000 + seq)
        self.fanout.push(message)

    def spoil(self, channel: str) -> None:
        """A message is read that can't be sent."""
        seq = self._next()
        self.truth.messages[seq] = channel, SPOILED
        self.ring.skip(channel, seq)
        self.fanout.note_unsent(seq)

    def hole(self, channels: list[str]) -> None:
        """Messages are gone before they could be read; the next one shows it."""
        seq = self.ring.position
        for channel in channels:
            seq += 1
            self.truth.messages[seq] = channel, None
        self._after_hole = seq

    _after_hole = 0

    def _next(self) -> int:
        seq = max(self.ring.position, self._after_hole) + 1
        self._after_hole = 0
        if self.ring.advance(seq):
            self.fanout.note_loss(self.ring.hole)
        return seq

    def connect(self, form: int) -> tuple[Link, socket.socket]:
        """A client's socket, as if its handshake were done."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        link = self.links.add(ours.detach(), None)
        link.form = form
        self.links.opened(link)
        self.links.send(link, self.sessions.hello())
        return link, theirs


@dataclass
class Name:
    """One subscription: from where the client is owed everything."""

    owed_after: int
    claimed: int
    options: int
    stands: int = 0


class Watcher:
    """One client. `check` fails with what was lost in silence, doubled, or out of order."""

    def __init__(self, world: World, form: int, rng: random.Random, log: list[str]) -> None:
        self.world, self.form, self.rng, self.log = world, form, rng, log
        self.names: dict[str, Name] = {}
        self.last: dict[str, int] = defaultdict(int)
        self.got: dict[int, int] = defaultdict(int)
        self.told: list[tuple[str, int, int]] = []
        self.content: dict[str, tuple[int, Any]] = {}
        self.epoch = ""
        self.reading = True
        self.asked: list[dict[str, Any]] = []
        self.again: set[int] = set()
        self.skipped = 0
        self.catching: set[str] = set()
        self.replaying = 0
        self.stands = 0
        self.open()

    def open(self) -> None:
        """Connects, with nothing subscribed."""
        self.link, self.socket = self.world.connect(self.form)
        self.buffer = b""
        self.asked.clear()
        self.catching.clear()
        self.replaying = 0
        self.content.clear()
        self.conflated = False  # ever on this connection
        self.closed = False

    def close(self) -> None:
        """Goes without a word."""
        self.socket.close()
        self.closed = True

    # What it says.

    def say(self, message: dict[str, Any]) -> None:
        """Sends one message; answers come in the order of questions."""
        self.socket.send(text_frame(message))
        self.asked.append(message)

    def point_of(self, name: str) -> int:
        """From where it would go on with a name: what it has seen of it, in order."""
        own = self.names[name]
        seen = [seq for channel, seq in self.last.items() if matches(name, channel)]
        if name in self.catching:
            return max([own.owed_after, *seen])
        return max([own.claimed, own.stands, *seen])

    # What it hears.

    def pump(self) -> None:
        """Takes in what has come."""
        if self.closed or not self.reading:
            return
        while True:
            try:
                data = self.socket.recv(65_536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            self.buffer += data
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                self._hear(json.loads(payload))
            elif opcode == CLOSE:
                raise AssertionError(f"closed: {payload!r}")
            else:
                assert opcode == PING

    def _frame(self) -> tuple[int, bytes] | None:
        data = self.buffer
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return None
        self.buffer = data[start + size :]
        payload = data[start : start + size]
        if data[0] & 0x40:
            assert self.form == DEFLATE
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")
        return data[0] & 15, payload

    def _hear(self, message: dict[str, Any]) -> None:
        heard = json.dumps(message).replace("x" * 40, "")[:180]
        self.log.append(f"  {self.link.fd} hears {heard}")
        kind = message["type"]
        if "channel" in message and "seq" in message and kind != "caught_up":
            self._data(message)
        else:
            getattr(self, f"_{kind}")(message)

    def _hello(self, message: dict[str, Any]) -> None:
        if message["epoch"] != self.epoch:
            # Another stream: nothing of the old one can be owed any more.
            self.epoch = message["epoch"]
            self.last.clear()
            self.got.clear()
            self.told.clear()
            self.content.clear()
            self.again.clear()
            self.catching.clear()
            self.stands = 0
            for name in self.names.values():
                name.owed_after = name.claimed = name.stands = 0

    def _answer(self, kind: str) -> dict[str, Any]:
        for index, asked in enumerate(self.asked):
            if asked["type"] == kind:
                return self.asked.pop(index)
        raise AssertionError(f"an answer to {kind} that was not asked for")

    def _subscription_ack(self, message: dict[str, Any]) -> None:
        seq = message["seq"]
        unasked = not any(asked["type"] == "subscribe" for asked in self.asked)
        if unasked:
            for name in message["subscribed"]:
                own = self.names[name]
                own.owed_after = own.claimed = seq
                self.last.update({c: max(s, 0) for c, s in self.last.items()})
            return
        asked = self._answer("subscribe")["data"]
        outcome = message.get("channels")
        options = CONFLATE * bool(asked.get("conflate")) | DELTA * bool(asked.get("delta"))
        self.conflated |= bool(options & CONFLATE)
        for name in asked["channels"]:
            known = self.names.get(name)
            if outcome is None:
                if known is None:
                    self.names[name] = Name(seq, seq, options)
                else:
                    if name not in self.catching:
                        self._check_claim(name, seq)
                    known.claimed = max(known.claimed, seq)
                    known.options = options
                continue
            resume = asked["resume"]
            had = resume.get("channels", {}).get(name, resume["seq"])
            told = outcome[name]
            if not told["recovered"] and "missing" not in told:
                self.names[name] = Name(seq, seq, options)
                continue
            self.names[name] = Name(had, max(had, seq), options)
            self.catching.add(name)
            self._again(name, had)
            if not told["recovered"]:
                self._tell(name, *told["missing"])
        if asked.get("last"):
            for name in asked["channels"]:
                self._again(name, 0)

    def _again(self, name: str, had: int) -> None:
        """What it asks for again is no doubling."""
        for seq in list(self.got):
            channel = self.world.truth.messages.get(seq, ("", 0))[0]
            if seq > had and channel and matches(name, channel):
                self.again.add(seq)
        for channel in list(self.last):
            if matches(name, channel):
                self.last[channel] = min(self.last[channel], had)

    def _caught_up(self, message: dict[str, Any]) -> None:
        name = message["channel"]
        self.catching.discard(name)
        if "missing" in message:
            self._tell(name, *message["missing"])
        if name in self.names:
            self._check_claim(name, message["seq"])
            self.names[name].claimed = max(self.names[name].claimed, message["seq"])

    def _unsubscription_ack(self, message: dict[str, Any]) -> None:
        for name in self._answer("unsubscribe")["data"]["channels"]:
            self.names.pop(name, None)
            self.catching.discard(name)

    def _replay_complete(self, message: dict[str, Any]) -> None:
        self._answer("replay")
        self.replaying -= 1

    def _replay_incomplete(self, message: dict[str, Any]) -> None:
        self._replay_complete(message)

    def _pong(self, message: dict[str, Any]) -> None:
        self._answer("heartbeat")
        for name in self.names:
            if name not in self.catching:
                self._check_claim(name, message["seq"])

    def _position(self, message: dict[str, Any]) -> None:
        if "prev" in message:
            self._tell("*", 1, message["prev"])
        for name, own in self.names.items():
            if name not in self.catching:
                self._check_claim(name, message["seq"])
                own.stands = max(own.stands, message["seq"])

    def _feed(self, message: dict[str, Any]) -> None:
        """Heard."""

    def _error(self, message: dict[str, Any]) -> None:
        assert message["code"] == "RATE_LIMIT_EXCEEDED", message
        self._answer("replay")
        self.replaying -= 1

    def _tell(self, name: str, first: int, last: int) -> None:
        self.told.append((name, first, last))

    def _data(self, message: dict[str, Any]) -> None:
        channel, seq, prev = message["channel"], message["seq"], message["prev"]
        truth = self.world.truth.messages.get(seq)
        if truth is None:
            return  # of the stream before: what was under way when it ended
        takers = [name for name in self.names if matches(name, channel)]
        takers += [n for a in self.asked if a["type"] == "subscribe" for n in a["data"]["channels"]]
        assert takers, f"{channel} was not asked for"
        again = self.replaying or seq in self.again
        self.again.discard(seq)
        if not again:
            assert seq not in self.got, f"{seq} of {channel} a second time"
            assert seq > self.last[channel], f"{seq} of {channel} after {self.last[channel]}"
        owned = [self.names[name] for name in self.names if matches(name, channel)]
        base = max([self.last[channel], *(own.claimed for own in owned)])
        skipped = message.get("skipped", 0)
        if prev > base and (seq > self.last[channel] or not self.replaying):
            self._tell_channel(channel, base + 1, prev)
        if skipped:
            # Also where it no longer wants that: what the ring let go meanwhile can't be given whole.
            assert self.conflated
            self.skipped += skipped
        between = [s for s, (c, _) in self.world.truth.messages.items() if c == channel and s < seq]
        if skipped:
            self._pass(channel, between[-skipped:])
        if "delta" in message:
            had, data = self.content[channel]
            assert had == prev, f"a patch on {prev}, but {had} is held"
            data = apply_delta(data, message["delta"])
        else:
            data = message["data"]
        assert (channel, data) == truth
        if seq >= self.last[channel]:
            self.content[channel] = seq, data
        self.got[seq] += 1
        self.last[channel] = max(self.last[channel], seq)

    def _pass(self, channel: str, seqs: list[int]) -> None:
        for seq in seqs:
            self.told.append((channel, seq, seq))

    def _tell_channel(self, channel: str, first: int, last: int) -> None:
        self.told.append((channel, first, last))

    def _channel_of(self, seq: int) -> str:
        return self.world.truth.messages.get(seq, ("", None))[0]

    # The account.

    def _check_claim(self, name: str, upto: int) -> None:
        """All of a name up to there was received or told."""
        own = self.names[name]
        for seq, (channel, data) in self.world.truth.messages.items():
            if not own.owed_after < seq <= upto or not matches(name, channel) or seq in self.got:
                continue
            if data == SPOILED:
                continue
            later = (s for s in self.got if s > seq)
            if own.options & CONFLATE and any(self._channel_of(s) == channel for s in later):
                continue
            told = any(
                first <= seq <= last and (of in (name, channel) or matches(of, channel))
                for of, first, last in self.told
            )
            assert told, f"{seq} of {channel} is claimed by {upto} for {name}, owed after {own.owed_after}"

    def check(self) -> None:
        """At rest: nothing is owed any more."""
        assert not self.asked, self.asked
        assert not self.catching
        for name in self.names:
            self._check_claim(name, self.world.fanout.head())


FORMS = (PLAIN, DEFLATE)
