"""What a client that joins was given, by name: worked out once for all its names, the same as for each."""

from __future__ import annotations

from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode import replay
from wsnode.channels import matches, takers
from wsnode.message import Message
from wsnode.passed import Passed
from wsnode.replay import Joining

CHANNELS, HEAD = 2000, 5000
NAMES = ["*", *(f"S{number}.x" for number in range(99))]


class Looks:
    """How often it was asked which names take a channel."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks = Looks()

    def counted(names: Container[str], channel: str) -> list[str]:
        looks.count += 1
        return takers(names, channel)

    monkeypatch.setattr(replay, "takers", counted)
    return looks


def _passed(seq: int, channel: str) -> Passed:
    return Passed(Message(seq, 0, "a:b", channel, 0, b""))


def _behind() -> Joining:
    """A client of 100 names that was passed over messages of 2,000 channels."""
    joining = Joining(dict.fromkeys(NAMES, HEAD), HEAD, 0.0)
    joining.passed = {f"S{number}.x": _passed(number + 1, f"S{number}.x") for number in range(CHANNELS)}
    return joining


def test_names_that_begin_again_look_at_each_channel_once(looks: Looks) -> None:
    joining = _behind()
    joining.ahead = {f"S{number}.x": HEAD + number for number in range(CHANNELS)}
    joining.begin_again(dict.fromkeys(NAMES[1:], 10))
    assert looks.count <= 2 * CHANNELS
    assert [joining.ahead[f"S{number}.x"] for number in (1, 98, 99)] == [10, 10, HEAD + 99]
    # From 10 on for those that were passed over later messages; the others have that already.
    assert [f"S{number}.x" in joining.passed for number in (9, 10, 98, 99)] == [True, False, False, True]
    assert joining.behind == {f"S{number}.x": max(10, number) for number in range(10, 99)}
    assert joining.cursor == 10


def test_of_overlapping_names_that_begin_again_the_earliest_counts() -> None:
    joining = Joining({"A.*": 90, "A.x": 90, "*": 90}, 90, 0.0)
    joining.passed = {"A.x": _passed(30, "A.x")}
    joining.passed["A.x"].take(Message(60, 0, "a:b", "A.x", 30, b""))
    joining.ahead = {"A.x": 95, "B.x": 96}
    joining.begin_again({"A.*": 50, "A.x": 20})
    assert joining.had == {"A.*": 50, "A.x": 20, "*": 90}
    assert joining.ahead == {"A.x": 20, "B.x": 96}
    assert (joining.passed, joining.behind, joining.cursor) == ({}, {"A.x": 29}, 20)


def test_how_far_all_has_come_looks_at_each_channel_once_at_most(looks: Looks) -> None:
    """A heartbeat asks for it, and each piece of a replay."""
    joining = _behind()
    assert joining.reached(HEAD) == joining.level(HEAD) == 0
    assert joining.givens() == {"*": 0} | {f"S{number}.x": number for number in range(99)}
    joining.resumed = {"*": HEAD, "S0.x": HEAD}
    assert joining.level(HEAD) == 1
    assert looks.count <= 2 * CHANNELS


SOME_CHANNELS = ["A.x", "A.y", "B.x", "C"]
SOME_NAMES = [*SOME_CHANNELS, "A.*", "*.x", "*"]
seqs = st.integers(0, 30)


@given(
    had=st.dictionaries(st.sampled_from(SOME_NAMES), seqs, min_size=1),
    cursor=seqs,
    behind=st.dictionaries(st.sampled_from(SOME_CHANNELS), seqs),
    ahead=st.dictionaries(st.sampled_from(SOME_CHANNELS), seqs),
    passed=st.dictionaries(st.sampled_from(SOME_CHANNELS), st.integers(1, 30)),
    resumed=st.sets(st.sampled_from(SOME_NAMES)),
)
def test_how_far_each_name_has_come_is_what_its_channels_say(
    had: dict[str, int],
    cursor: int,
    behind: dict[str, int],
    ahead: dict[str, int],
    passed: dict[str, int],
    resumed: set[str],
) -> None:
    joining = Joining(had, cursor, 0.0)
    for channels in (behind, passed):  # of none that no name takes
        for channel in [c for c in channels if not any(matches(name, c) for name in had)]:
            del channels[channel]
    joining.behind, joining.ahead = behind, ahead
    joining.passed = {channel: _passed(first, channel) for channel, first in passed.items()}
    joining.resumed = {name: 0 for name in resumed if name in had}
    hads, givens = {}, {}
    for name in had:
        late = [max(seq, cursor, ahead.get(c, 0)) for c, seq in behind.items() if matches(name, c)]
        hads[name] = min([had[name], *late])
        givens[name] = min([hads[name], *(first - 1 for c, first in passed.items() if matches(name, c))])
    assert joining.hads() == hads
    assert joining.givens() == givens
    assert joining.reached(20) == min([20, *givens.values()])
    assert joining.level(20) == min([20, *(seq for name, seq in givens.items() if name not in resumed)])
