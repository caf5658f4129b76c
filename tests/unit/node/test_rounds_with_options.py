"""Rounds for clients of all forms and options: each its own, in order, once, and patches that fit."""

from __future__ import annotations

import json
import zlib
from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wsnode.channels import CONFLATE, DELTA, Channels
from wsnode.link import DEFLATE, PLAIN, SSE, Link
from wsnode.message import Message
from wsnode.preparation import Preparation
from wsnode.protocol.delta import apply_delta
from wsnode.ring import Ring, Window
from wsnode.rounds import Job, take_round

CHANNELS = ["A.x", "A.y", "B.x"]
NAMES = [*CHANNELS, "A.*", "*.x", "*"]
clients = st.lists(
    st.tuples(
        st.sampled_from([PLAIN, DEFLATE, SSE]),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0, CONFLATE, DELTA, CONFLATE | DELTA])),
    ),
    max_size=6,
)
rounds = st.lists(
    st.tuples(
        st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=6),
        st.sets(st.integers(0, 5)),  # who is behind
        st.booleans(),  # whether the line lets one go first
    ),
    max_size=8,
)


def _messages(form: int, data: bytes) -> list[dict[str, Any]]:
    """What a client of this form reads."""
    found: list[dict[str, Any]] = []
    if form == SSE:
        for event in data.split(b"\n\n")[:-1]:
            lines = dict(line.split(b": ", 1) for line in event.split(b"\n"))
            found.append(json.loads(lines[b"data"]))
            assert lines[b"id"] == b"e5-%d" % found[-1]["seq"]
        return found
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        payload, compressed = data[start : start + size], data[0] & 0x40
        assert not compressed or form == DEFLATE
        if compressed:
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")
        found.append(json.loads(payload))
        data = data[start + size :]
    return found


class _Client:
    """One link, what it was given, and what it holds."""

    def __init__(self, fd: int, form: int) -> None:
        self.link = Link(fd, 0, None)
        self.link.form = form
        self.got: list[int] = []
        self.held: dict[str, tuple[int, Any]] = {}

    def takes(self, data: bytes, truth: dict[int, Any]) -> None:
        for message in _messages(self.link.form, data):
            seq, channel = message["seq"], message["channel"]
            if "delta" in message:
                had, before = self.held[channel]
                assert had == message["prev"]
                value = apply_delta(before, message["delta"])
            else:
                value = message["data"]
            assert value == truth[seq]
            self.held[channel] = seq, value
            self.got.append(seq)


@given(clients, rounds)
def test_each_gets_its_own_in_its_form(
    wishes: list[tuple[int, dict[str, int]]], taken: list[tuple[list[str], set[int], bool]]
) -> None:
    channels: Channels[Link] = Channels()
    everyone = [_Client(fd, form) for fd, (form, _) in enumerate(wishes)]
    for client, (_, names) in zip(everyone, wishes, strict=True):
        for name, chosen in names.items():
            channels.subscribe(client.link, [name], chosen)
    for client in everyone:
        client.link.with_extra()
    ring, seq, truth = Ring(Window(100, 1000, 10**9)), 0, dict[int, Any]()
    expected: list[list[int]] = [[] for _ in everyone]
    for published, behind, lets_go in taken:
        line: deque[Job] = deque()
        for channel in published:
            seq += 1
            truth[seq] = {"n": seq, "same": "x" * 300}
            ring.advance(seq)
            payload = json.dumps(truth[seq]).encode()
            message = Message(seq, 0, "a:b", channel, ring.prev(channel), payload)
            ring.add(message, 0)
            line.append(message)
        if lets_go:
            line.popleft()
        for client in everyone:
            client.link.out = bytearray(b"x") if client.link.fd in behind else None
        told = [(m.seq, m.channel) for m in line if isinstance(m, Message)]
        while line:
            _round(line, channels, everyone, truth)
        for client, own in zip(everyone, expected, strict=True):
            passed = client.link.extra.passed if client.link.extra is not None else {}
            for number, channel in told:
                by = [o for _, o, links in channels.subscribers(channel) if client.link in links]
                assert len(by) <= 1
                if not by:
                    continue
                if by[0] & CONFLATE and client.link.out is not None:
                    assert passed[channel].message.seq >= number
                else:
                    own.append(number)
            if client.link.extra is not None:
                client.link.extra.passed = {}  # as if they were given now
                client.link.extra.patched_after = seq
    assert [client.got for client in everyone] == expected


def _round(
    line: deque[Job], channels: Channels[Link], everyone: list[_Client], truth: dict[int, Any]
) -> None:
    behind = {client.link for client in everyone if client.link.out is not None}
    taken, flows = take_round(line, channels, "e5", behind=behind)
    if flows:
        preparation = Preparation(taken, flows)
        while preparation.step():
            pass
    written: set[Link] = set()
    for part in taken.parts:
        for index, link in enumerate(part.links):
            assert link not in written  # one write a client
            written.add(link)
            data = b"".join(part.own[index]) if part.own is not None else part.data
            count = len(part.own[index]) if part.own is not None else part.frames
            before = len(everyone[link.fd].got)
            everyone[link.fd].takes(data, truth)
            assert len(everyone[link.fd].got) - before == count


def test_who_was_not_given_the_message_before_gets_the_first_in_full() -> None:
    channels: Channels[Link] = Channels()
    old, new = Link(0, 0, None), Link(1, 0, None)
    ring = Ring(Window(100, 1000, 10**9))
    line: deque[Job] = deque()

    def publish(seq: int) -> None:
        ring.advance(seq)
        payload = b'{"n":%d,"same":"%b"}' % (seq, b"x" * 300)
        line.append(Message(seq, 0, "a:b", "A.x", ring.prev("A.x"), payload))
        ring.add(line[-1], 0)  # type: ignore[arg-type]

    channels.subscribe(old, ["A.x"], DELTA)
    old.with_extra()  # as its subscribe has left it
    publish(1)
    take_round(line, channels, "")
    channels.subscribe(new, ["A.x"], DELTA)
    new.with_extra().patched_after = 1
    publish(2)
    publish(3)
    _, flows = take_round(line, channels, "")
    fields = {
        link.fd: [
            sorted({"data", "delta"} & json.loads(frame[4:] if frame[1] == 126 else frame[2:]).keys())
            for flow in flows
            if link in flow.links
            for frame in flow.frames
        ]
        for link in (old, new)
    }
    assert fields == {0: [["delta"], ["delta"]], 1: [["data"], ["delta"]]}
