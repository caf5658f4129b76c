"""The closing handshake of a running node (RFC 6455, sections 5.5.1 and 7), byte by byte."""

from __future__ import annotations

import struct

import pytest

from tests.support.rawwire import RawWire, message
from tests.support.wsclient import CLOSE, PING, TEXT, client_frame

SNOWMAN = "\N{SNOWMAN}".encode()


def _close(code: int, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, struct.pack("!H", code) + reason)


@pytest.mark.parametrize("mode", ["plain", "agreed"])
@pytest.mark.parametrize(
    "code",
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999],
)
def test_a_code_that_is_allowed_comes_back(lone_port: int, mode: str, code: int) -> None:
    for reason in (b"", b"bye", SNOWMAN, b"x" * 123):
        with RawWire.open(lone_port, mode) as wire:
            wire.send(_close(code, reason))
            assert wire.receive(100) == b"\x88\x02" + struct.pack("!H", code)


@pytest.mark.parametrize("mode", ["plain", "agreed"])
@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65_535]
)
def test_a_code_that_is_not_breaks_the_rules(lone_port: int, mode: str, code: int) -> None:
    for reason in (b"", b"bye"):
        with RawWire.open(lone_port, mode) as wire:
            wire.send(_close(code, reason))
            frame = wire.frame()
            assert frame[:1] + frame[2:4] == b"\x88\x03\xea"
            assert wire.ended()


def test_no_code_is_answered_with_none(lone_port: int) -> None:
    with RawWire.open(lone_port) as wire:
        wire.send(client_frame(CLOSE, b""))
        assert wire.receive(100) == b"\x88\x00"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", 1002),  # half a code
        (b"\x03\xe8" + b"x" * 124, 1002),  # longer than a control frame may be
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8" + SNOWMAN[:2], 1007),
        (b"\x03\xe8a\xed\xa0\x80b", 1007),
        (b"\x03\xe8\xc0\x80", 1007),
    ],
)
def test_close_frames_that_are_none(lone_port: int, payload: bytes, code: int) -> None:
    with RawWire.open(lone_port) as wire:
        wire.send(client_frame(CLOSE, payload))
        frame = wire.frame()
        assert (frame[0], int.from_bytes(frame[2:4], "big")) == (0x88, code)
        assert wire.ended()


@pytest.mark.parametrize("mode", ["plain", "compressed"])
@pytest.mark.parametrize(
    "behind",
    [
        client_frame(PING, b"x"),
        client_frame(TEXT, b"{}"),
        client_frame(CLOSE, b"\x03\xe9"),
        b"\xff\xff\xff\xff no frames at all",
        client_frame(TEXT, b"x", mask=False),
    ],
)
def test_what_comes_behind_a_close_frame_is_ignored(lone_port: int, mode: str, behind: bytes) -> None:
    with RawWire.open(lone_port, mode) as wire:
        wire.send(message(mode, b'{"type":"last"}') + _close(1000) + behind)
        assert b"unknown type 'last'" in wire.frame()
        assert wire.receive(100) == b"\x88\x02\x03\xe8"
    with RawWire.open(lone_port, mode) as wire:
        wire.send(_close(1000))
        assert wire.receive(4) == b"\x88\x02\x03\xe8"
        wire.send(behind * 1000)
        assert wire.ended()


@pytest.mark.parametrize("mode", ["plain", "compressed"])
def test_a_close_amid_a_message_ends_it(lone_port: int, mode: str) -> None:
    begun = message(mode, b'{"type":"never"}', (5,))[: 6 + 5]
    with RawWire.open(lone_port, mode) as wire:
        wire.send(begun + _close(1001))
        assert wire.receive(100) == b"\x88\x02\x03\xe9"


def test_what_comes_behind_a_broken_rule_is_ignored(lone_port: int) -> None:
    with RawWire.open(lone_port) as wire:
        wire.send(client_frame(3, b"") + client_frame(PING, b"x") + client_frame(TEXT, b"{}"))
        frame = wire.frame()
        assert frame[:1] + frame[2:4] == b"\x88\x03\xea"
        wire.send(client_frame(PING, b"x") * 100 + _close(1002))
        assert wire.ended()


def test_a_close_frame_byte_by_byte(lone_port: int) -> None:
    with RawWire.open(lone_port) as wire:
        for byte in _close(1000, b"bye"):
            wire.send(bytes([byte]))
        assert wire.receive(100) == b"\x88\x02\x03\xe8"
