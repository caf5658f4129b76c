"""UTF-8 in text messages to a running node (RFC 6455, section 8.1): whole, in fragments, compressed."""

from __future__ import annotations

import pytest

from tests.support.rawwire import MODES, RawWire, message

# A character of each length, at the edges of each.
VALID = ["a~", "\u0080\u07ff", "\u0800\ud7ff\ue000\uffff", "\U00010000\U0010ffff", "\ufeff\ufffe"]
INVALID = {
    "a continuation alone": b"\x80",
    "the last continuation alone": b"\xbf",
    "a start of two alone": b"\xc2",
    "a start of three alone": b"\xe2",
    "cut after two of three": b"\xe2\x98",
    "cut after three of four": b"\xf0\x9f\x98",
    "a start of two, then a letter": b"\xc2a",
    "overlong of two": b"\xc0\x80",
    "overlong slash": b"\xc1\xaf",
    "overlong of three": b"\xe0\x80\x80",
    "overlong of three, at its edge": b"\xe0\x9f\xbf",
    "overlong of four": b"\xf0\x80\x80\x80",
    "overlong of four, at its edge": b"\xf0\x8f\xbf\xbf",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "above the last character": b"\xf4\x90\x80\x80",
    "a start of four that is none": b"\xf5\x80\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
}
BEFORE, AFTER = b'{"type":"', b'"}'


def _refused(port: int, mode: str, data: bytes) -> None:
    with RawWire.open(port, mode) as wire:
        wire.send(data)
        frame = wire.frame()
        assert (frame[0], int.from_bytes(frame[2:4], "big")) == (0x88, 1007), frame
        assert wire.ended()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", VALID)
def test_valid_text_cut_within_its_characters(lone_port: int, mode: str, text: str) -> None:
    payload = BEFORE + text.encode() + AFTER
    with RawWire.open(lone_port, mode) as wire:
        for cuts in [(), tuple(range(1, len(payload))), *((cut,) for cut in range(len(payload) + 1))]:
            wire.send(message(mode, payload, cuts))
            frame = wire.frame()
            assert frame[0] == 0x81
            assert b'"code":"UNKNOWN_TYPE"' in frame
            shown = frame.decode(errors="replace")
            assert text in shown or not text.isprintable()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", INVALID)
def test_invalid_text_at_the_beginning_in_the_middle_and_at_the_end(
    lone_port: int, mode: str, kind: str
) -> None:
    bad = INVALID[kind]
    for payload in (bad, bad + b"ab", b"ab\xc3\xa9" + bad + b"\xc3\xa9cd", "ab\N{SNOWMAN}".encode() + bad):
        _refused(lone_port, mode, message(mode, payload))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", INVALID)
def test_invalid_text_in_fragments_cut_anywhere(lone_port: int, mode: str, kind: str) -> None:
    payload = b"a" + INVALID[kind] + b"b"
    _refused(lone_port, mode, message(mode, payload, tuple(range(1, len(payload)))))
    _refused(lone_port, mode, message(mode, payload, (0, 2)))


@pytest.mark.parametrize("mode", MODES)
def test_one_bad_byte_at_every_position(lone_port: int, mode: str) -> None:
    payload = BEFORE + "a\N{SNOWMAN}\U0001f600\u00e9".encode() + AFTER
    for position in range(len(payload)):
        _refused(lone_port, mode, message(mode, payload[:position] + b"\xff" + payload[position + 1 :], (3,)))


@pytest.mark.parametrize("mode", MODES)
def test_a_message_that_ends_within_a_character(lone_port: int, mode: str) -> None:
    for character in ("\u00e9", "\N{SNOWMAN}", "\U0001f600"):
        data = character.encode()
        for size in range(1, len(data)):
            _refused(lone_port, mode, message(mode, b"ab" + data[:size]))
            _refused(lone_port, mode, message(mode, b"ab" + data[:size], (1, 3)))


@pytest.mark.parametrize("mode", MODES)
def test_what_came_before_bad_text_is_answered(lone_port: int, mode: str) -> None:
    with RawWire.open(lone_port, mode) as wire:
        wire.send(message(mode, b'{"type":"fine"}') + message(mode, b"\xff"))
        assert b"unknown type 'fine'" in wire.frame()
        assert wire.frame()[:4] == b"\x88\x13\x03\xef"
        assert wire.ended()


@pytest.mark.parametrize("mode", MODES)
def test_binary_messages_hold_any_bytes(lone_port: int, mode: str) -> None:
    with RawWire.open(lone_port, mode) as wire:
        for bad in INVALID.values():
            wire.send(message(mode, bad, (), 2))
            assert b'"code":"BINARY_NOT_SUPPORTED"' in wire.frame()
