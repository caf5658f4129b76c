"""What a client knows of its place in the stream: with literals, then hopping between nodes of a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsnode.channels import matches
from wsnode.standing import Missed, Standing, Why

RECOVERED = {"recovered": True}


def live(*names: str, seq: int = 10) -> Standing:
    """A client that subscribed for the first time."""
    standing = Standing(names or ("A.x",))
    assert standing.greeted("e1") == []
    assert standing.resume() is None
    assert standing.acknowledged(names or ("A.x",), seq) == []
    return standing


def back(standing: Standing, outcome: dict[str, Any] | None = None) -> list[Missed]:
    """It comes back, and its resume is honoured but for what `outcome` says."""
    missed = standing.greeted("e1")
    names = tuple(standing._names)
    told = {name: (outcome or {}).get(name, RECOVERED) for name in names}
    seq = (standing.resume() or {"seq": 0})["seq"]
    return missed + standing.acknowledged(names, seq, told)


def test_a_first_subscribe_has_nothing_to_resume() -> None:
    standing = Standing(["A.x"])
    standing.greeted("e1")
    assert standing.resume() is None


def test_messages_after_the_acknowledgement() -> None:
    standing = live()
    assert standing.message("A.x", 11, 4) == (True, None)
    assert standing.message("A.x", 15, 11) == (True, None)
    assert standing.last == {"A.x": 15}


def test_a_prev_above_what_was_seen_and_acknowledged_is_a_loss() -> None:
    standing = live()
    assert standing.message("A.x", 13, 11) == (True, Missed("A.x", 11, 11, Why.LOST))
    assert standing.message("A.x", 19, 17) == (True, Missed("A.x", 14, 17, Why.LOST))


def test_a_position_hides_no_loss() -> None:
    standing = live()
    standing.position(15)
    assert standing.message("A.x", 16, 14) == (True, Missed("A.x", 11, 14, Why.LOST))


def test_what_comes_twice_on_one_connection_is_dropped_and_the_nodes_fault() -> None:
    standing = live()
    standing.message("A.x", 12, 10)
    assert standing.message("A.x", 12, 10) == (False, None)
    assert standing.message("A.x", 11, 10) == (False, None)
    assert (standing.doubled, standing.repeated) == (2, 0)


def test_a_channel_that_no_name_takes() -> None:
    standing = live("A.x", "B.*")
    assert standing.message("C.x", 11, 0) == (False, None)
    assert standing.unasked == 1


def test_a_quiet_channel_resumes_from_the_last_position() -> None:
    standing = live("A.x", "B.x")
    standing.message("B.x", 12, 0, 1700)
    standing.position(20)
    standing.message("B.x", 25, 12, 1800)
    assert standing.point() == {"epoch": "e1", "seq": 25, "ts": 1800, "channels": {"A.x": 20}}


def test_without_a_message_seen_there_is_no_time_to_prove_the_stream() -> None:
    standing = live("A.x", "B.x")
    standing.position(20)
    assert standing.point() == {"epoch": "e1", "seq": 20, "channels": {}}


def test_a_pattern_resumes_from_the_position_however_new_its_messages() -> None:
    standing = live("A.*")
    standing.position(20)
    standing.message("A.x", 25, 0, 1800)
    assert standing.point() == {"epoch": "e1", "seq": 25, "ts": 1800, "channels": {"A.*": 20}}


def test_what_comes_again_behind_a_patterns_resume_is_dropped() -> None:
    standing = live("A.*")
    standing.message("A.x", 12, 0)
    standing.message("A.y", 13, 0)
    assert back(standing) == []
    assert standing.message("A.x", 12, 0) == (False, None)
    assert standing.message("A.z", 14, 0) == (True, None)
    assert (standing.repeated, standing.doubled) == (1, 0)


def test_a_broken_replay_goes_on_from_its_own_messages_and_not_from_a_position() -> None:
    standing = live("A.x", "B.x", "C.*")
    standing.position(20)
    assert back(standing) == []
    standing.message("A.x", 30, 0)
    standing.position(40)  # not from this node's promise: it sends none while it replays
    point = standing.point()
    assert point is not None
    assert (point["seq"], point["channels"]) == (30, {"B.x": 20, "C.*": 20})


def test_a_name_that_is_caught_up_takes_positions_again() -> None:
    standing = live("A.x", "B.x")
    back(standing)
    assert standing.caught_up("A.x", 30) == []
    standing.position(40)
    assert standing.point() == {"epoch": "e1", "seq": 40, "channels": {"B.x": 10}}


def test_a_position_before_the_acknowledgement_is_nothing_to_go_on_from() -> None:
    standing = live()
    standing.greeted("e1")
    standing.position(50)
    standing.resume()
    standing.position(60)
    assert standing.point() == {"epoch": "e1", "seq": 10, "channels": {}}


def test_what_the_stream_no_longer_had_is_told_once() -> None:
    standing = live()
    standing.message("A.x", 12, 0)
    missed = back(standing, {"A.x": {"recovered": False, "missing": [13, 18]}})
    assert missed == [Missed("A.x", 13, 18, Why.GONE)]
    assert standing.message("A.x", 15, 14) == (True, None)  # within the range, and kept after all
    assert standing.message("A.x", 20, 18) == (True, None)
    assert standing.message("A.x", 25, 23) == (True, Missed("A.x", 21, 23, Why.LOST))


def test_a_loss_that_one_of_several_names_was_told_of_is_not_told_again() -> None:
    standing = live("A.x", "A.*")
    back(standing, {"A.*": {"recovered": False, "missing": [11, 18]}})
    assert standing.message("A.x", 20, 18) == (True, None)
    assert standing.message("A.x", 22, 21) == (True, Missed("A.x", 21, 21, Why.LOST))


def test_what_left_while_the_replay_was_under_way_is_told_by_caught_up() -> None:
    standing = live()
    back(standing)
    assert standing.caught_up("A.x", 30, [11, 17]) == [Missed("A.x", 11, 17, Why.GONE)]
    assert standing.message("A.x", 31, 17) == (True, None)


def test_what_was_told_while_the_replay_was_under_way_is_not_told_again_at_its_end() -> None:
    standing = live()
    back(standing, {"A.x": {"recovered": False, "missing": [11, 14]}})
    assert standing.position(0, 17) == [Missed("A.x", 15, 17, Why.NODE)]
    assert standing.caught_up("A.x", 30, [11, 17]) == []
    assert standing.caught_up("A.x", 31, [11, 18]) == [Missed("A.x", 18, 18, Why.GONE)]


def test_what_the_node_itself_lost_is_told_by_a_position() -> None:
    standing = live("A.x", "B.x", "C.*")
    standing.message("A.x", 15, 10)
    standing.message("B.x", 16, 10)
    assert standing.position(20, 15) == [Missed("C.*", 11, 15, Why.NODE)]
    assert standing.message("C.y", 21, 15) == (True, None)


def test_a_loss_told_before_the_acknowledgement_counts_for_names_that_are_live() -> None:
    standing = live("A.x")
    assert standing.position(0, 14) == [Missed("A.x", 11, 14, Why.NODE)]
    assert standing.point() == {"epoch": "e1", "seq": 10, "channels": {}}


def test_a_node_that_does_not_resume() -> None:
    standing = live()
    standing.message("A.x", 11, 10)
    standing.greeted("e1")
    assert standing.resume() is not None
    assert standing.acknowledged(["A.x"], 20) == [Missed("A.x", 12, 20, Why.UNRECOVERED)]
    assert standing.message("A.x", 21, 18) == (True, None)


def test_another_epoch_is_told_and_starts_anew() -> None:
    standing = live("A.x", "B.x", seq=1000)
    other = [Missed(name, 0, 0, Why.OTHER_STREAM) for name in ("A.x", "B.x")]
    assert standing.greeted("e2") == other
    assert standing.resume() is None
    assert standing.acknowledged(["A.x", "B.x"], 3) == []
    assert standing.message("A.x", 4, 3) == (True, None)
    assert standing.greeted("e2") == []


def test_a_second_hello_on_a_connection_is_of_another_stream_whatever_its_epoch() -> None:
    standing = live(seq=1000)
    standing.message("A.x", 1001, 1000)
    assert standing.greeted("e1", again=True) == [Missed("A.x", 0, 0, Why.OTHER_STREAM)]
    assert standing.acknowledged(["A.x"], 3) == []
    assert standing.message("A.x", 4, 3) == (True, None)


def test_the_same_epoch_with_other_messages_is_another_stream_too() -> None:
    standing = live(seq=1000)
    standing.message("A.x", 1001, 1000, 1700)
    standing.greeted("e1")
    standing.resume()
    missed = standing.acknowledged(["A.x"], 3, {"A.x": {"recovered": False}})
    assert missed == [Missed("A.x", 0, 0, Why.OTHER_STREAM)]
    assert standing.message("A.x", 4, 3, 1800) == (True, None)
    assert standing.point() == {"epoch": "e1", "seq": 4, "ts": 1800, "channels": {}}


def test_a_node_that_learns_its_stream_later_is_no_other_stream() -> None:
    standing = Standing(["A.x"])
    standing.greeted("")
    standing.acknowledged(["A.x"], 0)
    assert standing.greeted("e1") == []
    assert standing.acknowledged(["A.x"], 70) == []
    assert standing.message("A.x", 71, 69) == (True, None)


def test_what_one_client_had_another_goes_on_from() -> None:
    point = {"epoch": "e1", "seq": 20, "ts": 1700, "channels": {"B.x": 15}}
    standing = Standing(["A.x", "B.x", "C.*"], point)
    assert standing.point() == {**point, "channels": {"B.x": 15}}
    assert back(standing) == []
    assert standing.message("B.x", 15, 9) == (False, None)
    assert standing.message("B.x", 16, 15) == (True, None)


@pytest.mark.parametrize(
    ("resume", "why"),
    [
        ({"seq": 1}, "its epoch must be a string, its channels an object"),
        ({"epoch": "e", "seq": 1, "channels": []}, "its epoch must be a string, its channels an object"),
        ({"epoch": "e"}, "its sequences must be integers from 0 to 9007199254740991"),
        ({"epoch": "e", "seq": 2**53}, "its sequences must be integers from 0 to 9007199254740991"),
        ({"epoch": "e", "seq": True}, "its sequences must be integers from 0 to 9007199254740991"),
        (
            {"epoch": "e", "seq": 1, "channels": {"A": -1}},
            "its sequences must be integers from 0 to 9007199254740991",
        ),
        ({"epoch": "e", "seq": 1, "ts": "now"}, "its ts must be an integer, in milliseconds"),
    ],
)
def test_a_resume_of_the_wrong_shape(resume: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        Standing(["A.x"], resume)


# A model of the protocol's other side, and a client that is cut off anywhere.

CHANNELS = ("A.x", "A.y", "B.x", "C.z")
NAMES = (*CHANNELS, "A.*", "*.x", "*")


@dataclass
class Stream:
    """What was published (channel by sequence), and the oldest sequence that nodes still have."""

    channels: list[str]
    oldest: int = 1

    def kept(self, after: int, upto: int) -> list[tuple[int, str]]:
        start = max(after + 1, self.oldest)
        return [(seq, self.channels[seq - 1]) for seq in range(start, min(upto, len(self.channels)) + 1)]

    def prev(self, channel: str, seq: int) -> int:
        """The true one: also where that message is gone."""
        return max((s for s in range(1, seq) if self.channels[s - 1] == channel), default=0)


class Connection:
    """One connection to a node of the model: what the client is told, in order, until it is cut."""

    def __init__(self, stream: Stream, standing: Standing, told: list[Missed], got: Counter[int]) -> None:
        self.stream, self.standing, self.told, self.got = stream, standing, told, got
        self.head = 0
        self.lost = 0

    def open(self, names: tuple[str, ...], head: int, cut_after: int) -> bool:
        """Subscribes at a node that has read up to `head`; False when it was cut amid the replay."""
        self.head = head
        self.told += self.standing.greeted("e1")
        resume = self.standing.resume()
        if resume is None:
            self.told += self.standing.acknowledged(names, head)
            return True
        had = {name: resume["channels"].get(name, resume["seq"]) for name in names}
        outcome = {name: self._outcome(name, had[name]) for name in names}
        self.told += self.standing.acknowledged(names, head, outcome)
        owed = [
            (seq, channel)
            for seq, channel in self.stream.kept(min(had.values()), head)
            if any(seq > had[name] and matches(name, channel) for name in names)
        ]
        for seq, channel in owed[:cut_after]:
            self.hear(seq, channel)
        if cut_after <= len(owed):
            return False
        for name in names:
            self.told += self.standing.caught_up(name, head)
        return True

    def _outcome(self, name: str, had: int) -> dict[str, Any]:
        gone = min(self.stream.oldest - 1, self.head)
        lost = [seq for seq in range(had + 1, gone + 1) if matches(name, self.stream.channels[seq - 1])] or (
            [gone] if gone > had and "*" in name else []
        )
        return {"recovered": False, "missing": [had + 1, max(lost)]} if lost else RECOVERED

    def live(self, names: tuple[str, ...], upto: int, drops: set[int]) -> None:
        """Broadcasts: the node reads on, and lets some messages go."""
        for seq in range(self.head + 1, upto + 1):
            channel = self.stream.channels[seq - 1]
            if seq in drops:
                self.lost = seq
            elif any(matches(name, channel) for name in names):
                self.hear(seq, channel)
            self.head = seq

    def position(self) -> None:
        self.told += self.standing.position(self.head, self.lost)
        self.lost = 0

    def hear(self, seq: int, channel: str) -> None:
        fresh, missed = self.standing.message(channel, seq, self.stream.prev(channel, seq), 1000 + seq)
        self.got[seq] += fresh
        if missed is not None:
            self.told.append(missed)


@settings(max_examples=400)
@given(st.data())
def test_hopping_between_nodes_loses_nothing_in_silence(data: st.DataObject) -> None:
    draw = data.draw
    names = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)))
    stream = Stream(draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=8)))
    standing = Standing(names)
    told: list[Missed] = []
    got: Counter[int] = Counter()
    began: int | None = None
    clean = draw(st.booleans())
    for _ in range(draw(st.integers(1, 6))):
        connection = Connection(stream, standing, told, got)
        head = draw(st.integers(max(0, len(stream.channels) - 3), len(stream.channels)))
        whole = connection.open(names, head, draw(st.integers(0, 8)))
        began = head if began is None else began
        if whole:
            for _ in range(draw(st.integers(0, 3))):
                stream.channels += draw(st.lists(st.sampled_from(CHANNELS), max_size=4))
                ahead = set(range(connection.head + 1, len(stream.channels) + 1))
                drops = set() if clean else draw(st.sets(st.sampled_from(sorted(ahead)))) if ahead else set()
                connection.live(names, draw(st.integers(connection.head, len(stream.channels))), drops)
                if draw(st.booleans()):
                    connection.position()
        stream.channels += draw(st.lists(st.sampled_from(CHANNELS), max_size=5))
        if not clean:
            stream.oldest = draw(st.integers(stream.oldest, len(stream.channels)))
    # At rest: all replays are whole, and each channel says something once more.
    last = Connection(stream, standing, told, got)
    last.open(names, len(stream.channels), 10**6)
    stream.channels += CHANNELS
    last.live(names, len(stream.channels), set())
    last.position()
    assert began is not None
    for seq in range(began + 1, len(stream.channels) + 1):
        channel = stream.channels[seq - 1]
        if any(matches(name, channel) for name in names) and not got[seq]:
            spans = [m for m in told if matches(m.name, channel) and m.first <= seq <= m.last]
            assert spans, f"{seq} of {channel} was lost in silence; told {told}"
    assert all(count <= 1 for count in got.values())
    assert standing.doubled == 0
    if clean:
        assert told == []
