"""Frames to and from a running node (RFC 6455, section 5; RFC 7692, section 6), byte by byte.

A message of an unknown type is answered with its type in an error: that makes an echo of it.
"""

from __future__ import annotations

import struct

import pytest

from tests.support.rawwire import MODES, RSV1, RawWire, deflated, message
from tests.support.wsclient import BINARY, CLOSE, PING, PONG, TEXT, client_frame

CONT = 0
LIMIT = 65_536


def _text(payload: str) -> bytes:
    """A text frame of the node."""
    data = payload.encode()
    return b"\x81" + (bytes([len(data)]) if len(data) < 126 else struct.pack("!BH", 126, len(data))) + data


def _echo(text: str) -> bytes:
    return _text(f'{{"type":"error","code":"UNKNOWN_TYPE","message":"unknown type \'{text}\'"}}')


NO_BINARY = _text(
    '{"type":"error","code":"BINARY_NOT_SUPPORTED","message":"messages are JSON in text frames"}'
)


def _of(text: str) -> bytes:
    return f'{{"type":"{text}"}}'.encode()


def _closes(wire: RawWire, code: int) -> None:
    """Sees a close frame with this code, and the end of the connection behind it."""
    frame = wire.frame()
    assert frame[:1] == b"\x88", frame
    assert int.from_bytes(frame[2:4], "big") == code, frame
    assert wire.ended()


# Whole messages.


def test_the_bytes_of_section_5_7(lone_port: int) -> None:
    with RawWire.open(lone_port) as wire:
        wire.send(bytes([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]))  # "Hello"
        assert b"INVALID_JSON" in wire.frame()
        wire.send(bytes([0x89, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]))
        assert wire.frame() == b"\x8a\x05Hello"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [11, 12, 125, 126, 127, 128, 65_535, 65_536])
def test_a_message_of_any_length_up_to_the_limit(lone_port: int, mode: str, size: int) -> None:
    text = "x" * (size - len(_of("")))
    with RawWire.open(lone_port, mode) as wire:
        wire.send(message(mode, _of(text)))
        assert wire.frame() == _echo(text[:64])
        wire.send(message(mode, _of("again")))
        assert wire.frame() == _echo("again")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cuts", [(), (1,), (1, 2, 3)])
def test_a_message_above_the_limit_is_too_big(lone_port: int, mode: str, cuts: tuple[int, ...]) -> None:
    with RawWire.open(lone_port, mode) as wire:
        wire.send(message(mode, _of("x" * (LIMIT - 10)), cuts))
        _closes(wire, 1009)


@pytest.mark.parametrize("mode", MODES)
def test_empty_and_binary_messages_are_messages(lone_port: int, mode: str) -> None:
    with RawWire.open(lone_port, mode) as wire:
        wire.send(message(mode, b""))
        assert b"INVALID_JSON" in wire.frame()
        for cuts in ((), (1,), (0, 2, 2)):
            wire.send(message(mode, b"\x00\xff\xfe", cuts, BINARY))
            assert wire.frame() == NO_BINARY
        wire.send(message(mode, b"", (), BINARY))
        assert wire.frame() == NO_BINARY


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\xff\x00\xff", b"\x01\x02\x03\x04"])
def test_any_mask_is_a_mask(lone_port: int, key: bytes) -> None:
    with RawWire.open(lone_port) as wire:
        payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(_of("masked")))
        wire.send(bytes([0x81, 0x80 | len(payload)]) + key + payload)
        assert wire.frame() == _echo("masked")


@pytest.mark.parametrize("mode", ["plain", "agreed"])
@pytest.mark.parametrize("opcode", [CONT, TEXT, BINARY, CLOSE, PING, PONG])
def test_a_frame_without_a_mask_breaks_the_rules(lone_port: int, mode: str, opcode: int) -> None:
    with RawWire.open(lone_port, mode) as wire:
        wire.send(client_frame(opcode, b"", mask=False))
        _closes(wire, 1002)


# Lengths, section 5.2.

_KEY = b"\0\0\0\0"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (b"\x81" + struct.pack("!BH", 0xFE, 0), 1002),
        (b"\x81" + struct.pack("!BH", 0xFE, 125), 1002),
        (b"\x81" + struct.pack("!BQ", 0xFF, 0), 1002),
        (b"\x81" + struct.pack("!BQ", 0xFF, 125), 1002),
        (b"\x81" + struct.pack("!BQ", 0xFF, 126), 1002),
        (b"\x81" + struct.pack("!BQ", 0xFF, 65_535), 1002),
        (b"\x81" + struct.pack("!BQ", 0xFF, 2**63), 1002),
        (b"\x81" + struct.pack("!BQ", 0xFF, 2**64 - 1), 1002),
        (b"\x81" + struct.pack("!BQ", 0xFF, 2**63 - 1), 1009),
        (b"\x81" + struct.pack("!BQ", 0xFF, LIMIT + 1), 1009),
        (b"\x89" + struct.pack("!BH", 0xFE, 126), 1002),
        (b"\x8a" + struct.pack("!BH", 0xFE, 126), 1002),
        (b"\x88" + struct.pack("!BQ", 0xFF, 65_536), 1002),
    ],
)
def test_lengths_that_are_refused_are_refused_at_once(lone_port: int, header: bytes, code: int) -> None:
    """Before their payload has come: most of these never would."""
    with RawWire.open(lone_port) as wire:
        wire.send(header + _KEY)
        _closes(wire, code)


# Reserved bits and opcodes, section 5.2.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bits", [0x10, 0x20, 0x40, 0x30, 0x50, 0x60, 0x70])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONT, PING, PONG, CLOSE])
def test_reserved_bits(lone_port: int, mode: str, bits: int, opcode: int) -> None:
    with RawWire.open(lone_port, mode) as wire:
        begun = client_frame(TEXT, b"", fin=False) if opcode == CONT else b""
        wire.send(begun + client_frame(opcode, deflated(_of("x")), bits=bits))
        if bits == RSV1 and opcode in (TEXT, BINARY) and mode != "plain":
            assert wire.frame() == (_echo("x") if opcode == TEXT else NO_BINARY)
        else:
            _closes(wire, 1002)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes(lone_port: int, mode: str, opcode: int) -> None:
    for fin in (True, False):
        for payload in (b"", b"x"):
            with RawWire.open(lone_port, mode) as wire:
                wire.send(message(mode, _of("before")) + client_frame(opcode, payload, fin=fin))
                assert wire.frame() == _echo("before")
                _closes(wire, 1002)


# Control frames, section 5.5.


def test_each_ping_of_any_length_is_answered_with_its_own_bytes(lone_port: int) -> None:
    with RawWire.open(lone_port) as wire:
        for size in range(126):
            payload = bytes((size + index) % 256 for index in range(size))
            wire.send(client_frame(PING, payload))
            assert wire.receive(2 + size) == bytes([0x8A, size]) + payload


def test_of_pings_that_come_together_the_newest_is_answered(lone_port: int) -> None:
    """Section 5.5.3 allows it."""
    with RawWire.open(lone_port) as wire:
        wire.send(client_frame(PING, b"1") + client_frame(PING, b"2") + client_frame(TEXT, _of("x")))
        assert [wire.frame(), wire.frame()] == [_echo("x"), b"\x8a\x012"]


def test_a_pong_that_nobody_asked_for_is_no_matter(lone_port: int) -> None:
    with RawWire.open(lone_port) as wire:
        wire.send(client_frame(PONG, b"") + client_frame(PONG, b"x" * 125) + client_frame(PING, b"y"))
        assert wire.frame() == b"\x8a\x01y"


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("data", [{"payload": b"x" * 126}, {"payload": b"", "fin": False}])
def test_control_frames_are_short_and_whole(lone_port: int, opcode: int, data: dict[str, bytes]) -> None:
    with RawWire.open(lone_port) as wire:
        wire.send(client_frame(opcode, data["payload"], fin=bool(data.get("fin", True))))
        _closes(wire, 1002)


# Fragmentation, section 5.4.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "cuts", [(0,), (1,), (10,), (999,), (0, 0, 0), (0, 5, 5, 999), (999, 999), tuple(range(1, 40))]
)
def test_a_message_in_fragments(lone_port: int, mode: str, cuts: tuple[int, ...]) -> None:
    with RawWire.open(lone_port, mode) as wire:
        wire.send(message(mode, _of("in fragments, \N{SNOWMAN}"), cuts) + message(mode, _of("whole")))
        assert wire.frame() == _echo("in fragments, \N{SNOWMAN}")
        assert wire.frame() == _echo("whole")


@pytest.mark.parametrize("mode", MODES)
def test_control_frames_between_fragments_are_answered_between_them(lone_port: int, mode: str) -> None:
    text = "between \N{SNOWMAN}"
    data = message(mode, _of(text), tuple(range(1, 40)))
    first, rest = data[:7], data[7:]  # a frame of one byte: 2 + 4 + 1
    with RawWire.open(lone_port, mode) as wire:
        wire.send(first + client_frame(PING, b"1"))
        assert wire.frame() == b"\x8a\x011"
        wire.send(client_frame(PONG, b"") + client_frame(PING, b"2"))
        assert wire.frame() == b"\x8a\x012"
        wire.send(rest)
        assert wire.frame() == _echo(text)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("begins", [TEXT, BINARY])
@pytest.mark.parametrize("then", [TEXT, BINARY])
def test_a_message_within_another_breaks_the_rules(lone_port: int, mode: str, begins: int, then: int) -> None:
    for fin in (True, False):
        with RawWire.open(lone_port, mode) as wire:
            wire.send(client_frame(begins, b"", fin=False) + client_frame(then, b"", fin=fin))
            _closes(wire, 1002)


@pytest.mark.parametrize("mode", MODES)
def test_a_fragment_of_nothing_breaks_the_rules(lone_port: int, mode: str) -> None:
    for fin in (True, False):
        with RawWire.open(lone_port, mode) as wire:
            wire.send(message(mode, _of("x"), (3,)) + client_frame(CONT, b"", fin=fin))
            assert wire.frame() == _echo("x")
            _closes(wire, 1002)


# However TCP cuts it.


@pytest.mark.parametrize("mode", MODES)
def test_one_byte_at_a_time(lone_port: int, mode: str) -> None:
    data = message(mode, _of("one")) + client_frame(PING, b"2") + message(mode, _of("three"), (4, 9))
    with RawWire.open(lone_port, mode) as wire:
        for byte in data:
            wire.send(bytes([byte]))
        assert wire.frame() == _echo("one")
        assert {wire.frame(), wire.frame()} == {b"\x8a\x012", _echo("three")}


@pytest.mark.parametrize("mode", MODES)
def test_many_frames_in_one_segment(lone_port: int, mode: str) -> None:
    with RawWire.open(lone_port, mode) as wire:
        texts = [f"number {number}" for number in range(60)]
        data = b"".join(
            message(mode, _of(text), (7,) if index % 3 else ()) for index, text in enumerate(texts)
        )
        wire.send(data + client_frame(CLOSE, b"\x03\xe8"))
        assert wire.receive(1 << 20) == b"".join(map(_echo, texts)) + b"\x88\x02\x03\xe8"
