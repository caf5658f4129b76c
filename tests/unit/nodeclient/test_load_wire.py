"""Bytes in and out of the load client, checked against the `websockets` library and against literals."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from wsnode.client_messages import subscribe_message
from wsnode.load_wire import (
    ACK,
    BAD,
    CAUGHT_UP,
    CLOSE,
    DATA,
    ERROR,
    FEED,
    HELLO,
    OTHER,
    PING,
    PONG,
    POSITION,
    Event,
    Outcome,
    Scanner,
    close_frame,
    handshake_request,
    parse_response,
    pong_frame,
    text_frame,
)

CHANNELS = ("BTC.trade", "ETH.trade")


def server_frame(payload: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


def events(*payloads: str) -> list[Event]:
    data = b"".join(server_frame(payload.encode()) for payload in payloads)
    found, used = Scanner(CHANNELS).scan(data)
    assert used == len(data)
    return found


def test_a_data_message_as_a_node_writes_it() -> None:
    text = (
        '{"seq":456,"ts":1700000000123,"type":"price:update","channel":"ETH.trade","prev":451,'
        '"data":{"seq":1,"prev":2,"channel":"BTC.trade"}}'
    )
    assert events(text) == [Event(DATA, 1, 456, 451, 1700000000123)]


def test_a_delta_and_a_message_of_another_channel() -> None:
    text = '{"seq":7,"ts":5,"type":"price:update","channel":"DOGE.trade","prev":6,"delta":{}}'
    assert events(text) == [Event(DATA, -1, 7, 6, 5)]


def test_a_data_message_in_another_dress_is_understood_too() -> None:
    text = '{ "channel": "BTC.trade", "prev": 6, "seq": 7, "type": "price:update", "data": null }'
    assert events(text) == [Event(DATA, 0, 7, 6, 0)]
    assert events('{"seq": 7, "channel": "BTC.trade", "prev": 6, "data": null}') == [Event(DATA, 0, 7, 6, 0)]


def test_control_messages() -> None:
    found = events(
        '{"type":"hello","node":"n-1","epoch":"e","head":5,"oldest":1}',
        '{"type":"subscription_ack","subscribed":["BTC.trade"],"count":1,"seq":5}',
        '{"type":"subscription_ack","subscribed":["BTC.trade","ETH.trade","A.b"],"count":3,"seq":5,"channels":'
        '{"BTC.trade":{"recovered":true},"ETH.trade":{"recovered":false,"missing":[2,4]},'
        '"A.b":{"recovered":false}}}',
        '{"type":"position","seq":9}',
        '{"type":"position","seq":9,"prev":7}',
        '{"type":"pong","ts":1,"seq":9}',
        '{"type":"feed","connected":false}',
        '{"type":"error","code":"TOO_MANY_CHANNELS","message":"…"}',
        '{"type":"caught_up","channel":"BTC.trade","seq":9}',
        '{"type":"caught_up","channel":"ETH.trade","seq":9,"missing":[3,6]}',
        "[1,2,3]",
    )
    assert found == [
        Event(HELLO, text="n-1", payload=b"e"),
        Event(ACK, seq=5),
        Event(ACK, seq=5, outcomes=(Outcome(0, True), Outcome(1, False, 2, 4), Outcome(-1, False))),
        Event(POSITION, seq=9),
        Event(POSITION, seq=9, prev=7),
        Event(PONG, seq=9),
        Event(FEED, seq=0),
        Event(ERROR, text="TOO_MANY_CHANNELS"),
        Event(CAUGHT_UP, seq=9, outcomes=(Outcome(0, True),)),
        Event(CAUGHT_UP, seq=9, outcomes=(Outcome(1, True, 3, 6),)),
        Event(OTHER),
    ]


def test_control_frames() -> None:
    data = (
        server_frame(b"hey", Opcode.PING)
        + server_frame(b"", Opcode.PONG)
        + server_frame(b"\x03\xf4reconnect;after=250", Opcode.CLOSE)
        + server_frame(b"", Opcode.CLOSE)
    )
    found, _ = Scanner(CHANNELS).scan(data)
    assert found == [
        Event(PING, payload=b"hey"),
        Event(OTHER),
        Event(CLOSE, seq=1012, text="reconnect;after=250"),
        Event(CLOSE, seq=1005),
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x81\x03nix", "message is not JSON"),
        (b"\x81\x83abcdnix", "masked server frame"),
        (b"\x82\x01x", "unexpected frame 0x82"),
        (b"\xc1\x01x", "unexpected frame 0xc1"),
        (b"\x01\x01x", "unexpected frame 0x01"),
        (b"\x81\x7f" + (2**40).to_bytes(8, "big"), "frame too long"),
    ],
)
def test_what_a_node_never_sends(data: bytes, why: str) -> None:
    found, used = Scanner(CHANNELS).scan(data + b"\x81\x02{}")
    assert found == [Event(BAD, text=why)] or found[-1] == Event(BAD, text=why)
    assert used in (len(data), len(data) + 4)


@given(st.lists(st.integers(0, 70_000), max_size=6), st.integers(0, 200_000))
def test_frames_cut_anywhere_give_the_same_messages(sizes: list[int], cut: int) -> None:
    payloads = [b'{"type":"position","seq":%d,"x":"%b"}' % (n, b"y" * size) for n, size in enumerate(sizes)]
    data = b"".join(server_frame(payload) for payload in payloads)
    scanner = Scanner(CHANNELS)
    first, used = scanner.scan(data[:cut])
    second, rest = scanner.scan(data[used:])
    assert used <= cut
    assert used + rest == len(data)
    assert [event.value for event in first + second] == list(range(len(sizes)))


def test_the_librarys_server_takes_the_handshake_and_the_frames() -> None:
    request, accept = handshake_request("example.org:3002", "/ws?channels=A.x")
    server = ServerProtocol()
    server.receive_data(request)
    (received,) = server.events_received()
    response = server.accept(received)  # type: ignore[arg-type]
    assert (received.path, response.status_code) == ("/ws?channels=A.x", 101)  # type: ignore[union-attr]
    server.send_response(response)
    answer = parse_response(b"".join(server.data_to_send()) + b"\x81\x02{}")
    assert answer is not None
    assert (answer.status, answer.accept) == (101, accept)
    server.receive_data(text_frame(subscribe_message(["A.x"])) + pong_frame(b"hey") + close_frame(1000))
    message, pong, close = server.events_received()
    assert json.loads(bytes(message.data)) == {"type": "subscribe", "data": {"channels": ["A.x"]}}  # type: ignore[union-attr]
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"hey")  # type: ignore[union-attr]
    assert close.data == b"\x03\xe8"  # type: ignore[union-attr]


def test_a_subscribe_can_carry_a_resume() -> None:
    message = json.loads(subscribe_message(["A.x"], {"epoch": "e", "seq": 7}))
    assert message["data"] == {"channels": ["A.x"], "resume": {"epoch": "e", "seq": 7}}


def test_a_refusal_and_its_retry_after() -> None:
    answer = parse_response(
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    )
    assert answer is not None
    assert (answer.status, answer.retry_after) == (503, "7")
    assert parse_response(b"HTTP/1.1 503 Service Unav") is None


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 20_000, b"\r\n\r\n"]
)
def test_what_is_no_http(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_response(data)
