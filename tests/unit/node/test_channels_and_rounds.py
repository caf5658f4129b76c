"""Who listens to what, and who gets which bytes in a round."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.channels import CONFLATE, Channels
from wsnode.link import PLAIN, Link
from wsnode.message import Message
from wsnode.preparation import Preparation
from wsnode.rounds import ROUND_BYTES, ROUND_MESSAGES, Announcement, Job, take_round


def _links(count: int) -> list[Link]:
    return [Link(fd, 0, None) for fd in range(count)]


def _message(seq: int, channel: str, size: int = 5) -> Message:
    return Message(seq, 0, "a:b", channel, 0, b"1" * size)


def test_subscribing_is_idempotent_and_leaving_leaves_nothing() -> None:
    channels: Channels[Link] = Channels()
    one, two = _links(2)
    channels.subscribe(one, ["A", "B"])
    channels.subscribe(one, ["B", "C"])
    channels.subscribe(two, ["B"])
    assert list(one.channels) == ["A", "B", "C"]
    assert channels.subscribers("B") == [(PLAIN, 0, {one, two})]
    channels.unsubscribe(one, ["A", "X"])
    assert list(one.channels) == ["B", "C"]
    assert channels.subscribers("A") == []
    channels.leave(one)
    channels.leave(two)
    assert (len(channels), list(one.channels)) == (0, [])


def test_a_round_takes_what_waits_up_to_an_announcement() -> None:
    channels: Channels[Link] = Channels()
    (link,) = _links(1)
    channels.subscribe(link, ["A"])
    line: deque[Job] = deque(
        [_message(1, "A"), _message(2, "B"), Announcement(lambda form: b""), _message(3, "A")]
    )
    taken, flows = take_round(line, channels, "")
    assert [message.seq for message in taken.messages] == [1, 2]
    assert [message.seq for message in taken.heard] == [1]
    assert [(flow.seqs, flow.links) for flow in flows] == [([1], {link})]
    assert len(line) == 2


def test_a_round_is_bounded_in_bytes_and_messages() -> None:
    channels: Channels[Link] = Channels()
    (link,) = _links(1)
    channels.subscribe(link, ["A"])
    line: deque[Job] = deque(_message(seq, "A", 1000) for seq in range(1, 200))
    taken, flows = take_round(line, channels, "")
    assert sum(map(len, flows[0].frames)) <= ROUND_BYTES
    assert len(taken.messages) < 60
    line = deque(_message(seq, "quiet") for seq in range(1, 2000))
    assert len(take_round(line, channels, "")[0].messages) == ROUND_MESSAGES


def test_a_round_ends_where_it_is_told_to() -> None:
    channels: Channels[Link] = Channels()
    line: deque[Job] = deque(_message(seq, "A") for seq in range(1, 10))
    taken, _ = take_round(line, channels, "", upto=4)
    assert [message.seq for message in taken.messages] == [1, 2, 3, 4]


def test_channels_of_the_same_listeners_are_one_flow() -> None:
    """10,000 clients of `*` get one and the same write of 120 messages, not 120 each."""
    channels: Channels[Link] = Channels()
    one, two, three = _links(3)
    channels.subscribe(one, ["*"])
    channels.subscribe(two, ["*"])
    channels.subscribe(three, ["B.x"])
    line: deque[Job] = deque(
        [_message(1, "A.x"), _message(2, "B.x"), _message(3, "C.x"), _message(4, "A.x"), _message(5, "B.x")]
    )
    _, flows = take_round(line, channels, "")
    assert [(flow.seqs, flow.links) for flow in flows] == [
        ([1, 2, 3, 4, 5], {one, two}),
        ([2, 5], {three}),
    ]


def test_a_round_looks_at_no_more_clients_than_a_turn_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsnode.rounds.ROUND_LOOKS", 10)
    channels: Channels[Link] = Channels()
    links = _links(6)
    for link in links:
        channels.subscribe(link, ["A", "B"])
        channels.subscribe(link, ["C"], CONFLATE)
    line: deque[Job] = deque(_message(seq, channel) for seq, channel in enumerate("AABBAACCCCC", 1))
    # A channel's clients are looked at once, those that are passed over for each message.
    rounds = []
    while line:
        taken, _ = take_round(line, channels, "", behind=set(links))
        rounds.append([message.seq for message in taken.messages])
    assert rounds == [[1, 2, 3], [4, 5], [6, 7], [8], [9], [10], [11]]


@given(
    st.lists(st.sampled_from("ABCD"), max_size=30),
    st.lists(st.sets(st.sampled_from("ABCD")), max_size=8),
    st.sampled_from([b"", b"tail"]),
    st.sampled_from([b"", b"head"]),
)
def test_everyone_gets_its_own_in_order_and_nobody_anything_else(
    published: list[str], wishes: list[set[str]], tail: bytes, head: bytes
) -> None:
    channels: Channels[Link] = Channels()
    links = _links(len(wishes))
    for link, wish in zip(links, wishes, strict=True):
        channels.subscribe(link, sorted(wish))
    line: deque[Job] = deque(_message(seq, channel) for seq, channel in enumerate(published, 1))
    got: dict[int, bytes] = dict.fromkeys(range(len(links)), b"")
    expected = dict(got)
    while line:
        taken, flows = take_round(line, channels, "")
        by_seq = {m.seq: m.frame(PLAIN, "") for m in taken.heard}
        if flows:
            around = [(lambda form, data=data: data) if data else None for data in (tail, head)]
            preparation = Preparation(taken, flows, *around)
            while preparation.step():
                pass
        written: set[Link] = set()
        for part in taken.parts:
            for index, link in enumerate(part.links):
                assert link not in written  # one write a client
                written.add(link)
                got[link.fd] += b"".join(part.own[index]) if part.own else part.data
        for link in links:
            mine = [by_seq[m.seq] for m in taken.heard if m.channel in link.channels]
            expected[link.fd] += head + b"".join(mine) + tail if mine else b""
    assert got == expected
