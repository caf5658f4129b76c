"""What resuming clients ask the ring for, held against a list that forgets nothing."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.looks import Counted, counted_ring
from wsnode.channels import is_pattern, matches, patterns_of
from wsnode.ring import Message, Ring, Window

CHANNELS = ["A.x", "A.y", "C"]
channels = st.sampled_from(CHANNELS)


class RingMachine(RuleBasedStateMachine):
    """A ring beside all that it ever read."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(Window(10, 6, 3000))
        self.sent: list[Message] = []
        self.lost: list[tuple[int, str]] = []  # never to be had: spoiled, or of a hole
        self.now_ms = 0

    @rule(channel=channels, size=st.integers(0, 900))
    def add(self, channel: str, size: int) -> None:
        seq = self.ring.position + 1
        self.ring.advance(seq)
        message = Message(seq, self.now_ms, "a:b", channel, self.ring.prev(channel), b"x" * size)
        self.sent.append(message)
        self.ring.add(message, self.now_ms)

    @rule(channel=channels)
    def skip(self, channel: str) -> None:
        seq = self.ring.position + 1
        self.ring.advance(seq)
        self.ring.skip(channel, seq)
        self.lost.append((seq, channel))

    @rule(channel=channels, size=st.integers(1, 3))
    def hole(self, channel: str, size: int) -> None:
        seq = self.ring.position + 1 + size
        self.lost += [(gone, own) for gone in range(seq - size, seq) for own in CHANNELS]
        assert self.ring.advance(seq)
        message = Message(seq, self.now_ms, "a:b", channel, self.ring.prev(channel), b"")
        self.sent.append(message)
        self.ring.add(message, self.now_ms)

    @rule(ms=st.integers(1, 6000))
    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self.ring.trim(self.now_ms)

    @rule(position=st.integers(0, 3))
    def restart(self, position: int) -> None:
        self.ring.restart(position)
        self.sent, self.lost = [], []
        assert not list(self.ring.channels())

    @property
    def kept(self) -> list[Message]:
        return [m for m in self.sent if m.seq >= self.ring.oldest]

    @invariant()
    def keeps_a_chain_for_each_channel(self) -> None:
        assert len(self.ring) == len(self.kept)
        assert set(self.ring.channels()) == {m.channel for m in self.kept}
        patterns = {pattern for channel in CHANNELS for pattern in patterns_of(channel)}
        for name in {*CHANNELS, *patterns, "*", "none.*"}:
            taken = [channel for channel in self.ring.channels() if matches(name, channel)]
            found = list(self.ring.channels_of(name))
            assert sorted(found) == (sorted(taken) if is_pattern(name) else [name])
        if not self.kept:
            assert len(self.ring._by_pattern) == 0
        for channel in CHANNELS:
            own = [m for m in self.kept if m.channel == channel]
            for older, newer in itertools.pairwise(own):
                assert older.newer is newer
                assert newer.older is older
            if own:
                assert own[0].older is None
                assert own[-1].newer is None

    @invariant()
    def what_was_trimmed_holds_nothing(self) -> None:
        for message in self.sent[: len(self.sent) - len(self.ring)]:
            assert message.older is None
            assert message.newer is None

    @rule(channel=channels, seq=st.integers(0, 30), upto=st.integers(0, 30), most=st.integers(1, 4))
    def looks_up(self, channel: str, seq: int, upto: int, most: int) -> None:
        ring, kept = self.ring, self.kept
        own = [m for m in kept if m.channel == channel and m.seq > seq]
        expected = own[0] if own else None
        for since in [None, *(m for m in self.sent if m.channel == channel and m.seq <= seq)]:  # trimmed too
            found, looked = ring.first_above(channel, seq, 99, since)
            assert found is expected
            found, looked = ring.first_above(channel, seq, most, since)
            assert found is expected or looked == most
        assert ring.span(seq, upto, most) == [m for m in kept if seq < m.seq <= upto][:most]
        older = [m for m in kept if m.channel == channel and m.seq <= upto]
        assert ring.newest(channel, upto) is (older[-1] if older else None)
        times = {m.seq: m.ts_ms for m in kept}
        assert ring.time_of(seq) == times.get(seq)

    @rule(channel=channels, had=st.integers(0, 30), upto=st.integers(0, 30))
    def says_what_is_missing(self, channel: str, had: int, upto: int) -> None:
        """All that can't be given is told; and where nothing lacks, nothing is."""
        gone = [m.seq for m in self.sent if m.channel == channel and m.seq < self.ring.oldest]
        gone += [seq for seq, own in self.lost if own == channel]
        lacks = [seq for seq in gone if had < seq <= upto]
        missing = self.ring.missing(channel, had, upto)
        if lacks:
            assert missing is not None
            assert missing[0] == had + 1
            assert max(lacks) <= missing[1] <= upto
        elif missing is not None:  # only where something of another channel is gone
            assert self.ring.floor > had
        anything = self.ring.missing_of_any(had, upto)
        if missing is not None:
            assert anything is not None
            assert anything[1] >= missing[1]
        assert missing == _missing_by_walking(self.ring, kept_of(self.kept, channel), channel, had, upto)


def kept_of(messages: list[Message], channel: str) -> list[Message]:
    return [message for message in messages if message.channel == channel]


def _missing_by_walking(
    ring: Ring, kept: list[Message], channel: str, had: int, upto: int
) -> tuple[int, int] | None:
    """The rule to the letter, message by message."""
    lost, last = 0, had
    for message in [message for message in kept if message.seq > had]:
        if message.prev > last:
            lost = message.prev
        last = message.seq
        if last > upto:
            break
    else:
        if ring.prev(channel) > last:
            lost = ring.prev(channel)
    lost = min(lost, upto)
    return (had + 1, lost) if lost > had and ring.floor > had else None


TestRing = RingMachine.TestCase


@given(st.lists(channels, min_size=1, max_size=30))
def test_nothing_is_missing_of_what_is_kept(published: list[str]) -> None:
    ring = Ring(Window(100, 1000, 10**6))
    for seq, channel in enumerate(published, 1):
        ring.advance(seq)
        ring.add(Message(seq, 0, "a:b", channel, ring.prev(channel), b""), 0)
    for had in range(len(published) + 2):
        assert ring.missing_of_any(had, len(published)) is None
        assert {ring.missing(channel, had, len(published)) for channel in CHANNELS} == {None}


@given(
    st.lists(st.tuples(channels, st.sampled_from(["sent", "sent", "spoiled", "hole"])), max_size=18),
    st.integers(1, 12),
)
def test_what_is_missing_is_what_a_walk_would_find(steps: list[tuple[str, str]], window: int) -> None:
    ring = Ring(Window(100, window, 10**6))
    sent: list[Message] = []
    for channel, what in steps:
        seq = ring.position + 1 + (what == "hole")
        ring.advance(seq)
        if what == "spoiled":
            ring.skip(channel, seq)
            continue
        sent.append(Message(seq, 0, "a:b", channel, ring.prev(channel), b""))
        ring.add(sent[-1], 0)
    for channel in CHANNELS:
        own = kept_of(sent[-len(ring) :] if len(ring) else [], channel)
        for had in range(ring.position + 2):
            for upto in range(ring.position + 2):
                expected = _missing_by_walking(ring, own, channel, had, upto)
                assert ring.missing(channel, had, upto) == expected, (channel, had, upto)


def test_what_is_missing_is_known_without_a_look_at_each_message() -> None:
    """A client may ask for it a hundred times in one read."""
    ring = counted_ring(["A"] * 2000, kept=1500)
    ring.advance(2001)
    ring.skip("A", 2001)
    for seq in range(2002, 2500):
        ring.advance(seq)
        ring.add(Counted(seq, 0, "a:b", "A", ring.prev("A"), b""), 0)
    Counted.looks = 0
    assert ring.missing("A", 1, 2499) == (2, 2001)
    assert ring.missing("A", 1, 1990) == (2, 998)
    assert Counted.looks <= 4


def test_one_message_that_somebody_holds_keeps_no_other_alive() -> None:
    class Watched(Message):
        __slots__ = ("__weakref__",)

    ring = Ring(Window(100, 3, 10**6))
    held: list[Message] = []
    refs: list[weakref.ref[Any]] = []
    for seq in range(1, 10):
        ring.advance(seq)
        message = Watched(seq, 0, "a:b", "A", ring.prev("A"), b"")
        refs.append(weakref.ref(message))
        ring.add(message, 0)
        if seq == 2:
            held.append(message)
    del message
    assert gc.isenabled()
    assert [ref() is not None for ref in refs] == [False, True, *[False] * 4, True, True, True]
    ring.restart(0)
    assert [ref() is not None for ref in refs] == [False, True, *[False] * 7]
