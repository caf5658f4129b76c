"""The newest of each channel, asked for more than once while they are under way."""

from __future__ import annotations

import pytest

from wsnode.message import Message
from wsnode.replay import Joining
from wsnode.ring import Ring, Window

HEAD = 6


def _ring() -> Ring:
    ring = Ring(Window(100, 1000, 10**6))
    for seq, channel in enumerate(["A.x", "A.x", "B.x", "A.y", "C", "A.y"], 1):
        ring.advance(seq)
        ring.add(Message(seq, 0, "a:b", channel, ring.prev(channel), b""), 0)
    return ring


def _given(joining: Joining, ring: Ring, most: int = 99) -> list[int]:
    """What comes next, as the joiner takes it."""
    given: list[int] = []
    while joining.newest is not None and len(given) < most:
        joining.newest.look_up(ring)
        while len(given) < most and (message := joining.next_newest()) is not None:
            given.append(message.seq)
    return given


@pytest.fixture(params=[(1024, 1024), (0, 1024), (0, 1)], ids=["sorted", "scanned", "one by one"])
def ring(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ring:
    sorted_channels, gathered = request.param
    monkeypatch.setattr("wsnode.lookup.SORTED_CHANNELS", sorted_channels)
    monkeypatch.setattr("wsnode.lookup.GATHERED_NEWEST", gathered)
    return _ring()


def _joining(*names: str) -> Joining:
    return Joining(dict.fromkeys(names, HEAD), HEAD, 0.0)


def test_who_asks_again_gets_again_what_those_names_take_and_the_rest_once(ring: Ring) -> None:
    joining = _joining("*", "A.*")
    joining.ask_newest(["*"], HEAD)
    assert _given(joining, ring, 2) == [2, 3]
    joining.ask_newest(["A.*"], HEAD)
    assert joining.has_more
    assert _given(joining, ring) == [2, 5, 6]
    assert not joining.has_more


def test_what_comes_in_its_time_does_not_come_before_it(ring: Ring) -> None:
    joining = _joining("A.*", "B.x")
    joining.ask_newest(["A.*", "B.x"], HEAD)
    joining.begin_again({"A.*": 4})
    assert _given(joining, ring) == [2, 3]


def test_names_that_are_gone_bring_nothing_more(ring: Ring) -> None:
    joining = _joining("A.*", "B.x", "*.x")
    joining.ask_newest(["A.*", "B.x"], HEAD)
    assert _given(joining, ring, 1) == [2]
    joining.end(["A.*"])
    assert _given(joining, ring) == [3]
    joining.ask_newest(["B.x"], HEAD)
    joining.end(["B.x"])
    assert _given(joining, ring) == []
    assert joining.newest is None


def test_what_is_newer_than_the_question_is_not_among_the_answers(ring: Ring) -> None:
    joining = _joining("*")
    joining.ask_newest(["*"], 4)
    assert _given(joining, ring) == [2, 3, 4]
