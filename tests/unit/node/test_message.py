"""One message: encoded once a form, whoever asks when, and what is left of its payload then."""

from __future__ import annotations

import json
import zlib

import pytest

from wsnode.link import DEFLATE, PLAIN, SSE
from wsnode.message import Message
from wsnode.passed import Passed, passed_over
from wsnode.ring import Ring, Window

EPOCH = "e5"
LONG = b'{"text":"' + b"x" * 400 + b'","n":%d}'


def _chain(*payloads: bytes, channel: str = "A.b") -> list[Message]:
    ring = Ring(Window(100, 1000, 10**6))
    messages = []
    for seq, payload in enumerate(payloads, 1):
        ring.advance(seq)
        messages.append(Message(seq, 5, "a:b", channel, ring.prev(channel), payload))
        ring.add(messages[-1], 0)
    return messages


def _inflated(frame: bytes) -> bytes:
    assert frame[0] == 0xC1
    size = 2 if frame[1] < 126 else 4
    return zlib.decompressobj(wbits=-15).decompress(frame[size:] + b"\0\0\xff\xff")


def test_each_form_is_made_once() -> None:
    (message,) = _chain(LONG % 1)
    text = message.text()
    assert message.frame(PLAIN, EPOCH)[4:] == text
    assert _inflated(message.frame(DEFLATE, EPOCH)) == text
    assert message.frame(SSE, EPOCH) == b"id: e5-1\ndata: " + text + b"\n\n"
    for form in (PLAIN, DEFLATE, SSE):
        assert message.frame(form, EPOCH) is message.frame(form, EPOCH)


@pytest.mark.parametrize("payload", [b"null", b"0", b'{"a":"}"}', LONG % 7, b'"' + b"y" * 70_000 + b'"'])
def test_the_payload_is_still_there_once_the_frame_is_made(payload: bytes) -> None:
    (message,) = _chain(payload)
    before = message.text()
    assert message.payload == payload
    message.frame(PLAIN, EPOCH)
    assert (message.payload, message.size, message.text()) == (payload, len(payload), before)


def test_a_patch_rests_on_the_channels_message_before_where_that_was_given() -> None:
    first, second, third = _chain(LONG % 1, LONG % 2, LONG % 3)
    assert second.delta_frame(PLAIN, EPOCH) is None  # the first waits, or was let go
    first.started = second.started = True
    patch = second.delta_frame(PLAIN, EPOCH)
    assert patch is not None
    assert json.loads(patch[2:]) == {
        "seq": 2,
        "ts": 5,
        "type": "a:b",
        "channel": "A.b",
        "prev": 1,
        "delta": {"n": 2},
    }
    assert second.delta_frame(PLAIN, EPOCH) is patch
    sse = third.delta_frame(SSE, EPOCH)
    assert sse is not None
    assert sse.startswith(b"id: e5-3\ndata: {")
    assert third.frame(PLAIN, EPOCH) != third.delta_frame(PLAIN, EPOCH)


def test_no_patch_rests_on_a_message_that_is_gone_or_is_not_the_one_before() -> None:
    ring = Ring(Window(100, 2, 10**6))
    messages = []
    for seq in (1, 2, 4):  # a hole before the last
        ring.advance(seq)
        messages.append(Message(seq, 0, "a:b", "A", ring.prev("A"), LONG % seq))
        messages[-1].started = True
        ring.add(messages[-1], 0)
    assert messages[1].delta_frame(PLAIN, EPOCH) is None  # what it would rest on left the ring
    assert messages[2].delta_frame(PLAIN, EPOCH) is None  # something was lost in between


def test_what_was_passed_over_is_told_with_the_one_that_is_given() -> None:
    messages = _chain(b"1", b"2", b"3")
    passed = passed_over(messages)
    assert passed is not None
    assert (passed.first, passed.prev, passed.skipped, passed.message.seq) == (1, 0, 2, 3)
    told = json.loads(passed.frame(PLAIN, EPOCH)[2:])
    assert told == {
        "seq": 3,
        "ts": 5,
        "type": "a:b",
        "channel": "A.b",
        "prev": 0,
        "skipped": 2,
        "data": 3,
    }
    assert passed_over([]) is None


def test_a_single_message_was_not_passed_over() -> None:
    (message,) = _chain(b"1")
    assert Passed(message).frame(PLAIN, EPOCH) is message.frame(PLAIN, EPOCH)


def test_a_loss_among_the_messages_passed_over_still_alarms() -> None:
    messages = [Message(seq, 0, "a:b", "A", prev, b"1") for seq, prev in [(5, 2), (6, 5), (9, 8), (10, 9)]]
    passed = passed_over(messages)
    assert passed is not None
    assert (passed.prev, passed.skipped) == (8, 3)  # 7 and 8 are missing


def test_an_event_before_others_that_were_passed_over_is_no_point_to_go_on_from() -> None:
    first = Passed(Message(7, 0, "a:b", "A", 2, b"1"))
    other = Passed(Message(5, 0, "a:b", "B", 3, b"1"))
    other.take(Message(9, 0, "a:b", "B", 5, b"1"))
    assert first.frame(SSE, EPOCH, [other]).startswith(b"data: {")
    assert first.frame(SSE, EPOCH).startswith(b"id: e5-7\ndata: {")
    assert other.frame(SSE, EPOCH, [Passed(Message(12, 0, "a:b", "C", 0, b"1"))]).startswith(b"id: e5-9\n")
