"""A client that holds a node to its word, and keeps account of what it is owed.

It applies the rule of `prev` to the letter: something may be lost exactly where `prev` is above what it
last saw of the channel, and above what the acknowledgement or its own resume said. `position`, `pong`,
`caught_up` and the ids of events are claims: at the moment they are heard all that they cover must have
been received, told as possibly missing, or told as passed over.
"""

from __future__ import annotations

import json
import random
import zlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from tests.support.simcore import Published, SimCore, Stream
from tests.support.wsclient import CLOSE, PING, TEXT, text_frame
from wsnode.channels import CONFLATE, DELTA, matches
from wsnode.link import DEFLATE, SSE
from wsnode.protocol.delta import apply_delta

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


class SimClient:
    """One client over all its connections."""

    def __init__(self, label: str, form: int, streams: dict[str, Stream], log: list[str]) -> None:
        self.label, self.form, self.streams, self.log = label, form, streams, log
        self.subs: dict[str, Sub] = {}
        self.before: dict[str, Sub] = {}  # of the last connection, not yet taken up again
        self.query = ""
        self.options = 0
        self.epoch = ""
        self.reading = True
        self.lossless = False
        self.replayed = self.skips = self.patches = 0
        self.open = False
        self.last_id = ""
        self.memories: dict[str, Memory] = defaultdict(Memory)

    @property
    def memory(self) -> Memory:
        """Of the stream that it is told of."""
        return self.memories[self.epoch]

    # Coming and going.

    def connect(self, core: SimCore, query: str = "", ask: dict[str, Any] | None = None) -> None:
        """A new connection; `ask` is the subscription in its URL."""
        self.log.append(f"{self.label} connects {query} {self.last_id}")
        self.core = core
        self.before |= self.subs
        self.subs = {}
        self.socket = core.connect(self.form, query, self.last_id if self.form == SSE else "")
        self.open, self.reading = True, True
        self.buffer = b""
        self.asks: list[dict[str, Any]] = [ask] if ask is not None else []
        self.hellos = 0
        self.rehello = False
        self.subscribes = 0
        self._fresh()

    def _fresh(self) -> None:
        self.order: dict[str, int] = defaultdict(int)
        self.data: dict[str, tuple[int, Any]] = {}
        self.restarts: list[Again] = []
        self.lasts: list[Again] = []
        self.replays: deque[Stretch] = deque()
        self.catching: set[str] = set()
        self.stream_position = 0

    def connect_stream(self, core: SimCore) -> None:
        """A stream of events, on from the last id as an EventSource does it."""
        data: dict[str, Any] = {"channels": self.query.partition("&")[0].removeprefix("channels=").split(",")}
        data |= {"conflate": bool(self.options & CONFLATE), "delta": bool(self.options & DELTA)}
        epoch, _, seq = self.last_id.rpartition("-")
        if epoch:
            data["resume"] = {"epoch": epoch, "seq": int(seq)}
            for name in self.subs if epoch == self.epoch else ():
                self._claim(name, int(seq), "the id")
        self.connect(core, self.query, {"type": "subscribe", "data": data})

    def leave(self) -> None:
        """Gone without a word; what it knows it keeps."""
        self.socket.close()
        self.open = False

    @property
    def stream(self) -> Stream:
        """The one whose epoch it was told."""
        return self.streams[self.epoch]

    @property
    def doubtful(self) -> bool:
        """It asked for replays that may never be answered."""
        return any(stretch.doubtful for stretch in self.replays)

    # What it says.

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message."""
        self.log.append(f"{self.label} says {json.dumps(message)}")
        try:
            sent = self.socket.send(text_frame(message))
        except OSError:
            return  # cut by now; it hears of that when it reads
        assert sent
        self.asks.append(json.loads(json.dumps(message)))

    def known(self, name: str) -> Sub | None:
        """What it knows of a name, from this connection or the one before."""
        return self.subs.get(name) or self.before.get(name)

    def point_of(self, name: str) -> int:
        """From where it would go on with a name."""
        own = self.known(name)
        assert own is not None
        if own.since == NEVER:
            return 0
        point = max(own.upto, own.seen)
        if self.subscribes == 1 and not own.options & CONFLATE:
            # Subscribed once: all its channels come in the order of the stream.
            point = max(point, self.stream_position)
        self._claim(name, point, "its own account")
        return point

    # What it hears.

    def hear(self) -> None:
        """Takes in what has come."""
        if not self.open or not self.reading:
            return
        while self.open:
            try:
                data = self.socket.recv(65_536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.buffer += data
            if not data:
                self.leave()
        if self.form == SSE:
            self._events()
            return
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                self._message(json.loads(payload))
            elif opcode == CLOSE:
                self.log.append(f"{self.label} is told to go: {payload[2:]!r}")
                self.leave()
                return
            else:
                assert opcode == PING

    def _events(self) -> None:
        *events, self.buffer = self.buffer.split(b"\n\n")
        for event in events:
            data, told = [], ""
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    data.append(line[6:])
                elif line.startswith(b"id: "):
                    told = line[4:].decode()
            if not data:
                continue
            message = json.loads(b"\n".join(data))
            self._message(message)
            if told:
                self.last_id = told

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

    def _message(self, message: dict[str, Any]) -> None:
        self.log.append(f"{self.label} hears {_short(message)}")
        if "data" in message or "delta" in message:
            self._data(message)
        else:
            getattr(self, "_" + message["type"])(message)

    def _hello(self, message: dict[str, Any]) -> None:
        self.hellos += 1
        if self.hellos > 1:
            self.rehello = bool(self.subs)
            replays, lasts = self.replays, self.lasts  # the node may have read them after the restart
            self._fresh()
            self.replays, self.lasts = replays, lasts
            for stretch in replays:
                stretch.doubtful = True
                stretch.last = 0
        if message["epoch"] != self.epoch:
            self.epoch = message["epoch"]
            for sub in (*self.subs.values(), *self.before.values()):
                sub.since = sub.base = sub.upto = sub.checked = NEVER
                sub.seen = 0

    # Answers.

    def _asked(self, kind: str) -> dict[str, Any]:
        for index, ask in enumerate(self.asks):
            if ask["type"] == kind:
                del self.asks[index]
                return ask
        raise AssertionError(f"nobody asked for an answer to {kind}")

    def _subscription_ack(self, message: dict[str, Any]) -> None:
        seq = message["seq"]
        if self.rehello:
            self.rehello = False
            assert sorted(message["subscribed"]) == sorted(self.subs)
            for sub in self.subs.values():
                sub.since = sub.base = sub.upto = sub.start = sub.checked = seq
            return
        if not any(ask["type"] == "subscribe" for ask in self.asks):
            self._given_up(message)
            return
        asked = next(ask["data"] for ask in self.asks if ask["type"] == "subscribe")
        options = CONFLATE * bool(asked.get("conflate")) | DELTA * bool(asked.get("delta"))
        outcome = message.get("channels")
        assert (outcome is not None) == ("resume" in asked)
        left = [name for name in asked["channels"] if name not in message["subscribed"]]
        for name in message["subscribed"]:
            assert name in asked["channels"]
            known = self.subs.get(name)
            told = outcome[name] if outcome is not None else None
            if told is not None and (told["recovered"] or "missing" in told):
                had = asked["resume"].get("channels", {}).get(name, asked["resume"].get("seq", 0))
                self._resumed(name, options, had, told)
            elif known is None or told is not None:
                self._begun(name, options, seq)
            else:
                known.options = options
                known.base = max(known.base, seq)
            self.before.pop(name, None)
        if left and len(left) < len(asked["channels"]):  # old names and new ones may stand elsewhere
            assert outcome is None or not any(told["recovered"] for told in outcome.values())
            assert not any(name in self.subs for name in left)
            asked["all"], asked["channels"] = asked["channels"], left
            return
        assert not left
        self._asked("subscribe")
        self.subscribes += 1
        recovered = outcome is not None and any(
            told["recovered"] or "missing" in told for told in outcome.values()
        )
        if asked.get("last") and not recovered:
            self.lasts.append(Again(tuple(asked.get("all", asked["channels"])), -1))
        assert message["count"] == len(self.subs)

    def _begun(self, name: str, options: int, seq: int) -> None:
        known = self.subs.get(name)
        start = min(known.start, seq) if known is not None else seq
        for channel in self.order:  # of what it had unsubscribed from, it begins anew
            if matches(name, channel) and not any(matches(own, channel) for own in self.subs):
                self.order[channel] = min(self.order[channel], seq)
        self.subs[name] = Sub(options, seq, seq, seq, start, seq)

    def _resumed(self, name: str, options: int, had: int, told: dict[str, Any]) -> None:
        known = self.known(name)
        since = had
        if known is not None and had <= self.point_of(name) and known.since != NEVER:
            since = min(known.since, had)
        # It says that it has what comes before, which was seen to be so, and names that overlap believe it.
        self.memory.excused[name].append((0, had))
        checked = known.checked if known is not None and known.since == since else since
        seen = min(known.seen, had) if known is not None else 0
        self.subs[name] = Sub(options, since, had, had, had, checked, seen)
        self.catching.add(name)
        self.restarts.append(Again((name,), had))
        if "missing" in told:
            assert told["missing"][0] == had + 1 <= told["missing"][1]
            self.memory.told[name].append(tuple(told["missing"]))

    def _given_up(self, message: dict[str, Any]) -> None:
        """The node never came to where the client was: its stream must have been another."""
        for name in message["subscribed"]:
            assert message["channels"][name] == {"recovered": False}
            sub = self.subs[name]
            sub.since = sub.base = sub.upto = sub.checked = message["seq"]
            sub.start = min(sub.start, message["seq"])

    def _unsubscription_ack(self, message: dict[str, Any]) -> None:
        for name in self._asked("unsubscribe")["data"]["channels"]:
            self.subs.pop(name, None)  # what it asked for again by this name may still come by another
            self.catching.discard(name)
        assert message["count"] == len(self.subs)

    def _caught_up(self, message: dict[str, Any]) -> None:
        name = message["channel"]
        if "missing" in message:
            self.memory.told[name].append(tuple(message["missing"]))
        if name not in self.subs:
            return
        self.catching.discard(name)
        self.restarts = [again for again in self.restarts if again.names != (name,)]
        self.lasts.clear()
        self._claim(name, message["seq"], "caught_up")

    def _replay_complete(self, message: dict[str, Any]) -> None:
        self._asked("replay")
        self.lasts.clear()
        stretch = self.replays.popleft()
        most = stretch.count + stretch.perhaps
        assert stretch.doubtful or stretch.count <= message["count"] <= most

    def _replay_incomplete(self, message: dict[str, Any]) -> None:
        self._replay_complete(message)
        first, last = message["missing"]
        assert first <= last

    def _pong(self, message: dict[str, Any]) -> None:
        self._asked("heartbeat")
        for name in self.subs:
            self._claim(name, message["seq"], "pong")

    def _position(self, message: dict[str, Any]) -> None:
        if "prev" in message:
            assert not self.lossless
            self.memory.told["*"].append((0, message["prev"]))
        for name in self.subs:
            self._claim(name, message["seq"], "position")

    # Messages.

    def _data(self, message: dict[str, Any]) -> None:
        channel, seq, prev = message["channel"], message["seq"], message["prev"]
        published = self.stream.published[seq]
        takers = [sub for name, sub in self.subs.items() if matches(name, channel)]
        assert takers, f"{channel} was not asked for"
        assert (channel, True, published.ts_ms) == (published.channel, published.sendable, message["ts"])
        self._content(message, published)
        replayed = self._in_order(channel, seq, takers)
        base = max(self.memory.top[channel], *(sub.base for sub in takers))
        if prev > base:
            # Names that are gone may have said that it has more of the channel, and the node believed it.
            said = [last for first, last in _ranges(self.memory.excused, channel) if not first]
            assert not self.lossless or prev <= max(said, default=0), f"{prev} is above {base} without a loss"
            self.memory.told[channel].append((base + 1, prev))
        skipped = message.get("skipped", 0)
        if skipped:
            self.skips += 1
            passed = [m for m in self.stream.of(channel, prev, seq) if m.sendable]
            # Where there was a loss among them, `prev` is the loss, and some were passed over before it.
            exact = self.lossless and seq > self.memory.top[channel]
            seqs = [m.seq for m in passed]
            assert skipped == len(passed) if exact else skipped >= len(passed), f"skipped {seqs}"
            self.memory.excused[channel].append((prev + 1, seq - 1))
        self._note_silence(channel, seq, takers)
        self.memory.got[channel].add(seq)
        self.memory.top[channel] = max(self.memory.top[channel], seq)
        if not replayed:
            self.order[channel] = seq
            if channel in self.subs:
                self.subs[channel].seen = seq
            self.stream_position = max(self.stream_position, seq)

    def _content(self, message: dict[str, Any], published: Published) -> None:
        channel, seq = published.channel, published.seq
        if "delta" in message:
            self.patches += 1
            had, before = self.data.get(channel, (-1, None))
            assert had == message["prev"], f"a patch on {message['prev']}, but {had} is held"
            data = apply_delta(before, message["delta"])
        else:
            data = message["data"]
        assert _same(data, published.data)
        if seq >= self.data.get(channel, (0, None))[0] or not self.replays:
            self.data[channel] = seq, data

    def _in_order(self, channel: str, seq: int, takers: list[Sub]) -> bool:
        """Fails where a message is doubled or out of order. True where it belongs to a replay asked for."""
        owed = seq > self.order[channel] and seq > min(sub.start for sub in takers)
        stretch, within = Stretch(NEVER, 0), False
        for stretch in self.replays:
            within = max(stretch.above, stretch.last) < seq <= stretch.upto
            if within or not stretch.doubtful:
                break
        # The newest of each channel, where they were asked for, come before all else and in order.
        newest = [again for again in self.lasts if again.takes(channel) and seq > again.above]
        if newest and seq >= self.order[channel]:
            newest[0].above = seq
            newest[0].used.add(channel)
            if not owed:
                self.order[channel] = seq
                stretch.perhaps += within
                return True
        elif not owed:
            self.lasts.clear()
        if owed:
            stretch.perhaps += within
            return False
        restarted = [again for again in self.restarts if again.takes(channel) and seq > again.above]
        if restarted:
            stretch.perhaps += within
            for again in restarted if not within else ():  # it may have been of the stretch all the same
                again.used.add(channel)
            return False
        if within:
            stretch.last = seq
            stretch.count += 1
            self.replayed += 1
            return True
        raise AssertionError(f"{seq} of {channel} after {self.order[channel]}, doubled or out of order")

    # The account.

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
            for first, last in _ranges(known, message.channel)
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

    def check(self) -> None:
        """At rest: all is accounted for."""
        assert self.open
        assert all(stretch.doubtful for stretch in self.replays)
        assert [ask["type"] for ask in self.asks] == ["replay"] * len(self.replays)
        assert not self.catching, self.catching
        for name in self.subs:
            self._claim(name, self.core.stream.last, "the end")
        silent = [
            (channel, seq)
            for channel, seq in self.memory.untold
            if not self._accounted(self.stream.published[seq])
        ]
        assert not silent, f"nothing told of {silent}"


def _ranges(known: dict[str, list[tuple[int, int]]], channel: str) -> list[tuple[int, int]]:
    """What is known by name, of one channel."""
    return [found for name, ranges in known.items() if matches(name, channel) for found in ranges]


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _short(message: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in message.items() if key not in ("data", "ts")})


def subscribe_message(
    rng: random.Random, names: list[str], options: int, points: dict[str, int] | None, epoch: str
) -> dict[str, Any]:
    """A subscribe; the points to go on from are said in one of the ways that there are."""
    data: dict[str, Any] = {"channels": names}
    if options & CONFLATE:
        data["conflate"] = True
    if options & DELTA:
        data["delta"] = True
    if points is not None:
        lowest = min(points.values())
        if len(set(points.values())) == 1 and rng.random() < 0.5:
            data["resume"] = {"epoch": epoch, "seq": lowest}
        else:
            data["resume"] = {"epoch": epoch, "seq": rng.choice([0, lowest]), "channels": points}
    return {"type": "subscribe", "data": data}
