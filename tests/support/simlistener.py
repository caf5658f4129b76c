"""How a client takes what it hears: answers to what it asked, and messages in their order."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import Any

from tests.support.simaccount import NEVER, Account, Again, Stretch, Sub, ranges
from tests.support.simcore import Published, Stream
from wsnode.channels import CONFLATE, DELTA, matches
from wsnode.protocol.delta import apply_delta


class Listener(Account):
    """What it asked for, and what came of that; no sockets."""

    def __init__(self, label: str, streams: dict[str, Stream], log: list[str]) -> None:
        super().__init__(label, streams, log)
        self.replayed = self.skips = self.patches = 0
        self._begin([])

    def _begin(self, asks: list[dict[str, Any]]) -> None:
        """A new connection, with what is asked for at once."""
        self.asks = asks
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

    @property
    def doubtful(self) -> bool:
        """It asked for replays that may never be answered."""
        return any(stretch.doubtful for stretch in self.replays)

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
            said = [last for first, last in ranges(self.memory.excused, channel) if not first]
            assert not self.lossless or prev <= max(said, default=0), f"{prev} is above {base} without a loss"
            self.memory.told[channel].append((base + 1, prev))
        skipped = message.get("skipped", 0)
        if skipped:
            self.skips += 1
            passed = [m for m in self.stream.of(channel, prev, seq) if m.sendable]
            # Where there was a loss among them, `prev` is the loss, and some were passed over before it.
            # And where it asked for more of it by a name that is gone since, some of that was among them.
            gone = {name for again in self.restarts for name in again.names if name not in self.subs}
            exact = self.lossless and seq > self.memory.top[channel]
            exact = exact and not any(matches(name, channel) for name in gone)
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


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _short(message: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in message.items() if key not in ("data", "ts")})
