"""Figures of several processes as figures of one node."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.counters import Counters
from wsnode.processes.sums import StreamCount, add_counters, count_lost, joint_feed, split_closes
from wsnode.view import FeedStatus, StreamLimits


def counted(messages_in: int, out: int = 0, bad: int = 0) -> Counters:
    counters = Counters()
    counters.messages_in, counters.messages_out = messages_in, out
    if bad:
        counters.bad_payloads["json"] = bad
    return counters


def test_all_counts_are_added() -> None:
    one, other = Counters(), Counters()
    one.messages_out, other.messages_out = 3, 4
    one.connections_closed["drain"], other.connections_closed["gone"] = 1, 2
    one.observe_fanout(0.002)
    other.observe_fanout(0.002)
    other.observe_fanout(100.0)
    add_counters(one, other)
    assert one.messages_out == 7
    assert one.connections_closed == {"drain": 1, "gone": 2}
    assert (one.fanout_buckets[1], one.fanout_buckets[-1]) == (2, 1)
    assert one.fanout_seconds_sum == pytest.approx(100.004)
    assert other.messages_out == 4


def test_what_all_read_is_counted_once_also_when_the_reader_ends() -> None:
    stream = StreamCount()
    stream.note("a", counted(10, bad=1))
    stream.note("b", counted(9))
    stream.note("a", counted(15, bad=2))
    stream.note("b", counted(15, bad=2))
    assert stream.of([counted(15, 4, 2), counted(15, 5, 2)]).messages_in == 15
    stream.forget("a")
    stream.note("c", counted(500))  # what a newcomer read of the past
    stream.note("b", counted(20, bad=2))
    stream.note("c", counted(505))
    whole = stream.of([counted(15, 4, 2), counted(20, 6, 2), counted(505, 1)])
    assert (whole.messages_in, whole.messages_out, whole.bad_payloads) == (20, 11, {"json": 2})
    stream.forget("b")
    stream.note("c", counted(507))
    assert stream.total.messages_in == 22


def test_the_node_stands_where_its_last_one_stands() -> None:
    limits = StreamLimits(30.0, 5, 6, ("a.>",))
    ahead = FeedStatus(connected=True, seeded=True, position=9, lag=1, epoch="e", oldest=3, stream=limits)
    behind = FeedStatus(
        connected=False, paused=True, seeded=True, position=7, lag=4, epoch="e", oldest=4, stream=limits
    )
    assert joint_feed([ahead, behind]) == FeedStatus(
        connected=False, paused=True, seeded=True, position=7, lag=4, epoch="e", oldest=4, stream=limits
    )
    fresh = FeedStatus(problem="odd")  # a newcomer that takes no clients yet
    joint = joint_feed([ahead, fresh])
    assert (joint.connected, joint.position, joint.problem) == (True, 9, "odd")
    assert joint_feed([]) == FeedStatus()
    assert joint_feed([fresh, fresh]).seeded is False


def test_why_a_broker_is_not_reached_is_told_whoever_says_it() -> None:
    well = FeedStatus(connected=True, seeded=True, position=9)
    cut = FeedStatus(seeded=True, position=9, trouble="nats://a:4222: refused")
    fresh = FeedStatus(trouble="nats://a:4222: timed out")
    assert joint_feed([well, well]).trouble is None
    assert joint_feed([well, cut]).trouble == "nats://a:4222: refused"
    assert joint_feed([fresh, cut]).trouble == "nats://a:4222: refused"  # of those that serve first
    assert joint_feed([fresh, fresh]).trouble == "nats://a:4222: timed out"


@pytest.mark.parametrize(
    ("opened", "closed", "held", "then_opened", "lost"),
    [
        (20, 5, 15, 20, 15),
        (20, 5, 17, 22, 17),  # two came since the last report
        (20, 5, 14, 20, 15),  # one went since then, nobody knows how
        (0, 0, 3, 3, 3),
        (0, 0, 0, 0, 0),
    ],
)
def test_what_a_process_held_when_it_ended_is_closed(
    opened: int, closed: int, held: int, then_opened: int, lost: int
) -> None:
    counters = Counters()
    counters.connections_opened = opened
    if closed:
        counters.connections_closed["gone"] = closed
    count_lost(counters, held)
    assert (counters.connections_opened, counters.connections_closed["crash"]) == (then_opened, lost)
    assert counters.connections_opened == counters.connections_closed.total()
    assert ("crash" in counters.connections_closed) is bool(lost)


def test_another_stream_s_numbers_are_not_compared() -> None:
    old = FeedStatus(connected=True, seeded=True, position=900, epoch="old")
    new = FeedStatus(connected=True, seeded=True, position=3, epoch="new")
    joint = joint_feed([old, new])
    assert (joint.epoch, joint.position) == ("old", 900)


def test_the_longest_connected_are_closed_wherever_they_are() -> None:
    opened = [{100: 5, 200: 5}, {150: 4}, {300: 10}]
    assert split_closes(opened, 0) == [0, 0, 0]
    assert split_closes(opened, 5) == [5, 0, 0]
    assert split_closes(opened, 7) == [5, 2, 0]
    assert split_closes(opened, 16) == [10, 4, 2]
    assert split_closes(opened, 99) == [10, 4, 10]
    # Of those that came in the same second each closes its part.
    assert split_closes([{5: 30}, {5: 10}], 20) == [15, 5]
    assert split_closes([{5: 1}, {5: 1}, {5: 1}], 2) == [1, 1, 0]
    assert split_closes([], 3) == []


@given(
    st.lists(st.dictionaries(st.integers(0, 9), st.integers(1, 20), max_size=6), max_size=5),
    st.integers(0, 200),
)
def test_as_many_as_wanted_and_nobody_before_an_older_one(opened: list[dict[int, int]], wanted: int) -> None:
    closes = split_closes(opened, wanted)
    total = sum(sum(part.values()) for part in opened)
    assert sum(closes) == min(wanted, total)
    # Each worker closes its own oldest; what is left must be no older than what went, over all.
    gone: Counter[int] = Counter()
    left: Counter[int] = Counter()
    for part, count in zip(opened, closes, strict=True):
        assert 0 <= count <= sum(part.values())
        for second in sorted(part):
            here = min(part[second], count)
            gone[second] += here
            left[second] += part[second] - here
            count -= here
    youngest_gone = max((second for second, count in gone.items() if count), default=-1)
    oldest_left = min((second for second, count in left.items() if count), default=99)
    assert youngest_gone <= oldest_left
