"""What a client lacks, found piece by piece: the same whichever way it is looked up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.looks import Counted, counted_ring
from wsnode import lookup
from wsnode.channels import matches
from wsnode.lookup import Wish, look_up, look_up_newest
from wsnode.message import Message
from wsnode.ring import Ring, Window

CHANNELS = ["A.x", "A.y", "B.x", "C"]
NAMES = [*CHANNELS, "A.*", "*.x", "*"]


def _ring(published: list[str], kept: int = 1000) -> Ring:
    ring = Ring(Window(100, kept, 10**9))
    for seq, channel in enumerate(published, 1):
        ring.advance(seq)
        ring.add(Message(seq, 0, "a:b", channel, ring.prev(channel), b"x" * (seq % 7)), 0)
    return ring


@contextmanager
def _bounds(**values: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in values.items():
            patched.setattr(lookup, name, value)
        yield


@given(
    published=st.lists(st.sampled_from(CHANNELS), max_size=40),
    kept=st.integers(1, 50),
    names=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 45), min_size=1),
    conflated=st.sets(st.sampled_from(NAMES)),
    ahead=st.dictionaries(st.sampled_from(CHANNELS), st.integers(0, 45)),
    behind=st.dictionaries(st.sampled_from(CHANNELS), st.integers(0, 45)),
    until=st.integers(0, 45),
    bounds=st.fixed_dictionaries(
        {
            "GATHERED_MESSAGES": st.integers(1, 9),
            "GATHERED_BYTES": st.integers(1, 30),
            "SCANNED_MESSAGES": st.integers(1, 9),
            "SCANNED_CHANNELS": st.integers(1, 3),
            "WALKED_MESSAGES": st.integers(1, 20),
            "EXPANDED_CHANNELS": st.integers(0, 5),
        }
    ),
)
def test_all_that_is_lacking_comes_once_and_in_order(
    published: list[str],
    kept: int,
    names: dict[str, int],
    conflated: set[str],
    ahead: dict[str, int],
    behind: dict[str, int],
    until: int,
    bounds: dict[str, int],
) -> None:
    ring = _ring(published, kept)
    whole: list[int] = []
    newest: list[int] = []
    wish = Wish(names, frozenset(conflated), ahead, behind)
    cursor = min([*names.values(), *behind.values()])
    steps = 0
    with _bounds(**bounds):
        while cursor < until:
            found = look_up(ring, wish, cursor, until)
            assert cursor < found.upto <= until
            assert len(found.whole) <= bounds["GATHERED_MESSAGES"]
            assert all(cursor < m.seq <= found.upto for m in (*found.whole, *found.newest))
            whole += [m.seq for m in found.whole]
            newest += [m.seq for m in found.newest]
            cursor = found.upto
            steps += 1
            assert steps < 100
    expected: tuple[list[int], list[int]] = [], []
    for seq in range(ring.oldest, min(until, len(published)) + 1):
        channel = published[seq - 1]
        own = [name for name in names if matches(name, channel)]
        if not own:
            continue
        had = min([*(names[name] for name in own), behind.get(channel, 99)])
        if seq > max(had, ahead.get(channel, 0)):
            expected[conflated.issuperset(own)].append(seq)
    assert (whole, newest) == expected


def test_a_piece_is_bounded_in_messages_and_bytes() -> None:
    ring = _ring(["A.x"] * 5000, kept=9000)
    found = look_up(ring, Wish({"A.x": 0}), 0, 5000)
    assert len(found.whole) == lookup.GATHERED_MESSAGES == found.upto
    large = Ring(Window(100, 1000, 10**9))
    for seq in range(1, 100):
        large.advance(seq)
        large.add(Message(seq, 0, "a:b", "A.x", seq - 1, b"x" * 10_000), 0)
    found = look_up(large, Wish({"A.x": 0}), 0, 99)
    assert sum(m.size for m in found.whole) < lookup.GATHERED_BYTES + 10_000
    assert found.upto == found.whole[-1].seq < 99


def test_who_listens_to_what_hardly_comes_looks_at_no_more_than_a_piece_of_the_stream() -> None:
    ring = _ring([f"S{number % 1000}.x" for number in range(20_000)] + ["A.y"], kept=30_000)
    found = look_up(ring, Wish({"*.y": 0}), 0, 20_001)
    assert (found.whole, found.upto) == ([], lookup.SCANNED_MESSAGES)


def test_nor_does_it_ask_of_more_than_so_many_channels_who_listens_to_them() -> None:
    ring = _ring([f"S{number}.x" for number in range(20_000)], kept=30_000)
    found = look_up(ring, Wish({"*.y": 0}), 0, 20_000)
    assert (found.whole, found.upto) == ([], lookup.SCANNED_CHANNELS)


@pytest.mark.parametrize("conflate", [False, True])
@pytest.mark.parametrize("names", [["*"], [f"S{number}.x" for number in range(100)]])
def test_a_piece_of_many_channels_is_as_short_as_one_of_a_single(names: list[str], conflate: bool) -> None:
    """Each with a long past: the first message after any point is far away, and all of them are too many."""
    published = [f"S{number % 100}.x" for number in range(30_000)]
    ring = counted_ring(published)
    options = frozenset(names if conflate else [])
    wish = Wish(dict.fromkeys(names, 0), options)
    cursor = pieces = given = 0
    while cursor < 30_000:
        Counted.looks = 0
        found = look_up(ring, wish, cursor, 30_000)
        assert Counted.looks < 2 * (lookup.WALKED_MESSAGES + lookup.GATHERED_MESSAGES) + 200
        assert len(found.whole) + len(found.newest) <= lookup.GATHERED_MESSAGES
        cursor = found.upto
        given += len(found.whole) + len(found.newest)
        pieces += 1
    assert given == 30_000
    assert pieces <= 32


def test_the_first_piece_of_a_late_resume_is_short_too() -> None:
    """It begins amid the past of each of its channels."""
    ring = counted_ring(f"S{number % 100}.x" for number in range(100_000))
    found = look_up(ring, Wish({f"S{number}.x": 50_000 for number in range(100)}), 50_000, 100_000)
    assert Counted.looks < 2 * lookup.WALKED_MESSAGES + 200
    assert [message.seq for message in found.whole[:3]] == [50_001, 50_002, 50_003]


@given(
    published=st.lists(st.sampled_from(CHANNELS), max_size=40),
    kept=st.integers(1, 50),
    names=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 45), min_size=1),
    cursor=st.integers(0, 45),
    until=st.integers(0, 45),
    bounds=st.fixed_dictionaries(
        {
            "GATHERED_NEWEST": st.integers(1, 3),
            "SCANNED_NEWEST": st.integers(1, 9),
            "SORTED_CHANNELS": st.integers(0, 5),
        }
    ),
)
def test_the_newest_of_each_channel_come_once_and_in_order(
    published: list[str],
    kept: int,
    names: dict[str, int],
    cursor: int,
    until: int,
    bounds: dict[str, int],
) -> None:
    ring = _ring(published, kept)
    newest: dict[str, int] = {}
    for seq in range(ring.oldest, min(until, len(published)) + 1):
        newest[published[seq - 1]] = seq
    expected = sorted(
        seq
        for channel, seq in newest.items()
        if seq > cursor and any(matches(name, channel) and seq > had for name, had in names.items())
    )
    found: list[int] = []
    with _bounds(**bounds):
        while cursor < until:
            some, upto = look_up_newest(ring, names, cursor, until)
            assert cursor < upto <= until
            found += [message.seq for message in some]
            cursor = upto
    assert found == expected


def test_the_newest_of_many_channels_are_looked_up_piece_by_piece() -> None:
    count = 20_000
    ring = _ring([f"S{number}.x" for number in range(count)] + ["A.y"], kept=30_000)
    found, upto = look_up_newest(ring, {"*": 0}, 0, count + 1)
    assert len(found) == lookup.GATHERED_NEWEST == upto
    found, upto = look_up_newest(ring, {"*.x": 0}, 0, 1)
    assert [message.channel for message in found] == ["S0.x"]
    # Where the first piece of the stream has none of them, nothing more is looked at for now.
    found, upto = look_up_newest(ring, {"*": count}, 0, count + 1)
    assert (found, upto) == ([], lookup.SCANNED_NEWEST)


def test_the_newest_of_a_few_channels_cost_no_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = _ring([f"S{number % 5000}.{number // 5000}" for number in range(10_000)], kept=30_000)
    looked: list[str] = []
    newest = ring.newest

    def looking_up(channel: str, upto: int) -> Message | None:
        looked.append(channel)
        return newest(channel, upto)

    monkeypatch.setattr(ring, "newest", looking_up)
    monkeypatch.setattr(ring, "span", None)
    monkeypatch.setattr(ring, "channels", None)
    found, upto = look_up_newest(ring, {"S7.*": 0, "S3.1": 0, "none": 0, "N.*": 0, "*.none": 0}, 0, 10_000)
    assert [(message.seq, message.channel) for message in found] == [
        (8, "S7.0"),
        (5004, "S3.1"),
        (5008, "S7.1"),
    ]
    assert (upto, sorted(looked)) == (10_000, ["S3.1", "S7.0", "S7.1", "none"])
