"""Frames, byte by byte: what RFC 6455 says, and that no cut of the stream changes what is read."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wsclient import BINARY, CLOSE, PING, PONG, TEXT, client_frame
from wsnode.protocol import frames
from wsnode.protocol.deflate import inflate
from wsnode.protocol.frames import Fragments, FrameError, Inflate, Received, read_frames

LIMIT = 65_536
# RFC 6455, section 5.7: "Hello", masked and unmasked.
MASKED_HELLO = bytes([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
UNMASKED_HELLO = bytes([0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])


def _read(
    pieces: list[bytes], limit: int = LIMIT, inflate: Inflate | None = None
) -> tuple[list[Received], FrameError | None]:
    """As a connection does: what is not consumed stays in front of what comes next."""
    got: list[Received] = []
    rest = bytearray()
    fragments: Fragments | None = None
    for piece in pieces:
        rest += piece
        received, consumed, fragments, error = read_frames(rest, fragments, limit, inflate)
        got += received
        del rest[:consumed]
        if error:
            return got, error
    return got, None


def test_the_rfcs_own_examples() -> None:
    assert _read([MASKED_HELLO]) == ([(TEXT, b"Hello")], None)
    assert frames.encode_text(b"Hello") == UNMASKED_HELLO
    assert frames.encode_frame(BINARY, b"\0" * 256)[:4] == bytes([0x82, 0x7E, 0x01, 0x00])
    assert frames.encode_frame(BINARY, b"\0" * 65_536)[:10] == bytes([0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0])
    assert frames.encode_frame(PING, b"Hello")[:2] == bytes([0x89, 0x05])


@pytest.mark.parametrize("size", [0, 125, 126, 127, 65_535, 65_536])
def test_every_form_of_length(size: int) -> None:
    payload = b"x" * size
    assert _read([client_frame(TEXT, payload)]) == ([(TEXT, payload)], None)
    head = {True: 2, False: 4}[size < 126] if size < 65_536 else 10
    assert len(frames.encode_text(payload)) == head + size


def test_close_frames() -> None:
    assert frames.encode_close(1012, "reconnect;after=5") == b"\x88\x13\x03\xf4reconnect;after=5"
    long = frames.encode_close(1000, "\N{SNOWMAN}" * 100)
    assert len(long) == 2 + 2 + 123
    assert long[4:].decode() == "\N{SNOWMAN}" * 41
    for payload, answer in [(b"", b""), (b"\x03\xe8bye", b"\x03\xe8"), (b"\x0b\xb8", b"\x0b\xb8")]:
        assert _read([client_frame(CLOSE, payload)]) == ([(CLOSE, answer)], None)


_HALF_SNOWMAN = "\N{SNOWMAN}".encode()[:2]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (UNMASKED_HELLO, 1002),
        (client_frame(TEXT, b"", bits=0x10), 1002),
        (client_frame(TEXT, b"", bits=0x20), 1002),
        (client_frame(TEXT, b"", bits=0x40), 1002),
        *((client_frame(opcode, b""), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        (bytes([0x81, 0xFE, 0, 125]), 1002),
        (bytes([0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), 1002),
        (bytes([0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1]), 1009),
        (bytes([0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]), 1002),
        (bytes([0x81, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0]), 1009),
        (client_frame(TEXT, _HALF_SNOWMAN), 1007),
        (client_frame(TEXT, b"a", fin=False) + client_frame(0, _HALF_SNOWMAN), 1007),
        (client_frame(TEXT, b"\xed\xa0\x80"), 1007),  # a surrogate
        (client_frame(CLOSE, b"\x03"), 1002),
        *((client_frame(CLOSE, code.to_bytes(2, "big")), 1002) for code in (0, 999, 1004, 1005, 1006, 2999)),
        (client_frame(CLOSE, b"\x03\xe8" + _HALF_SNOWMAN), 1007),
        (client_frame(PING, b"x" * 126), 1002),
        (client_frame(CLOSE, b"", fin=False), 1002),
        (client_frame(0, b""), 1002),
        (client_frame(BINARY, b"", fin=False) + client_frame(BINARY, b""), 1002),
    ],
)
def test_what_breaks_the_rules(data: bytes, code: int) -> None:
    before = client_frame(TEXT, b"before")
    got, error = _read([before + data])
    assert got == [(TEXT, b"before")]
    assert error is not None
    assert error.code == code


def test_a_length_is_refused_before_its_bytes_have_come() -> None:
    got, error = _read([client_frame(TEXT, b"x" * 101)[:2]], limit=100)
    assert (got, error and error.code) == ([], 1009)


def test_fragments_with_control_frames_between_and_utf8_cut_in_a_character() -> None:
    snowman = "a\N{SNOWMAN}b".encode()
    data = (
        client_frame(TEXT, snowman[:2], fin=False)
        + client_frame(PING, b"1")
        + client_frame(0, b"", fin=False)
        + client_frame(PONG, b"2")
        + client_frame(0, snowman[2:])
        + client_frame(BINARY, b"\xff")
    )
    assert _read([data]) == ([(PING, b"1"), (PONG, b"2"), (TEXT, snowman), (BINARY, b"\xff")], None)


def test_all_fragments_together_are_bounded() -> None:
    parts = [client_frame(TEXT, b"x" * 60, fin=False), client_frame(0, b"x" * 41)]
    got, error = _read([b"".join(parts)], limit=100)
    assert (got, error and error.code) == ([], 1009)


_messages = st.lists(
    st.one_of(
        st.tuples(st.just(TEXT), st.text(max_size=200).map(str.encode)),
        st.tuples(st.just(BINARY), st.binary(max_size=300)),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    ),
    max_size=8,
)


@given(_messages, st.data())
def test_any_splitting_into_frames_and_pieces_gives_the_same_messages(
    messages: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = b""
    for opcode, payload in messages:
        if opcode in (TEXT, BINARY) and data.draw(st.booleans()):
            cut = data.draw(st.integers(0, len(payload)))
            stream += client_frame(opcode, payload[:cut], fin=False) + client_frame(0, payload[cut:])
        else:
            stream += client_frame(opcode, payload)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert _read(pieces) == (messages, None)
    assert _read([bytes([byte]) for byte in stream]) == (messages, None)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_rubbish_never_raises_and_a_cut_never_changes_the_verdict(rubbish: bytes, cut: int) -> None:
    whole, error = _read([rubbish], limit=100)
    in_two, error_in_two = _read([rubbish[:cut], rubbish[cut:]], limit=100)
    assert whole == in_two
    assert (error and error.code) == (error_in_two and error_in_two.code)


@given(st.binary(max_size=70_000))
def test_what_the_server_encodes_is_read_back_by_the_library(payload: bytes) -> None:
    from websockets.frames import Frame, Opcode

    assert frames.encode_frame(BINARY, payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


RSV1 = 0x40


def _deflated(payload: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_compressed_and_plain_messages_in_any_order() -> None:
    data = (
        client_frame(TEXT, _deflated(b"one"), bits=RSV1)
        + client_frame(TEXT, b"two")
        + client_frame(BINARY, _deflated(b"\xff" * 300), bits=RSV1)
        + client_frame(TEXT, _deflated(b""), bits=RSV1)
    )
    expected = [(TEXT, b"one"), (TEXT, b"two"), (BINARY, b"\xff" * 300), (TEXT, b"")]
    assert _read([data], inflate=inflate) == (expected, None)
    assert _read([bytes([byte]) for byte in data], inflate=inflate) == (expected, None)


def test_a_compressed_message_in_fragments_has_its_bit_in_the_first_alone() -> None:
    snowman = "\N{SNOWMAN}".encode() * 3
    packed = _deflated(snowman)
    data = (
        client_frame(TEXT, packed[:2], fin=False, bits=RSV1)
        + client_frame(PING, b"1")
        + client_frame(0, b"", fin=False)
        + client_frame(0, packed[2:])
        + client_frame(TEXT, b"a", fin=False)  # the next one is not compressed
        + client_frame(0, b"b")
    )
    assert _read([data], inflate=inflate) == ([(PING, b"1"), (TEXT, snowman), (TEXT, b"ab")], None)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(PING, _deflated(b""), bits=RSV1), 1002),
        (client_frame(CLOSE, b"", bits=RSV1), 1002),
        (client_frame(TEXT, b"", bits=0x20), 1002),
        (client_frame(TEXT, b"", bits=0x10), 1002),
        (client_frame(TEXT, _deflated(b"x"), bits=0x60), 1002),
        (client_frame(3, b"", bits=RSV1), 1002),
        (client_frame(TEXT, b"", fin=False, bits=RSV1) + client_frame(0, b"", bits=RSV1), 1002),
        (client_frame(TEXT, b"", fin=False) + client_frame(0, b"", bits=RSV1), 1002),
        (client_frame(TEXT, b"", fin=False) + client_frame(TEXT, _deflated(b"x"), bits=RSV1), 1002),
        (client_frame(TEXT, _deflated(b"\xff"), bits=RSV1), 1007),
        (client_frame(TEXT, b"\xff\xff", bits=RSV1), 1007),
        (client_frame(TEXT, _deflated(b"x" * 1001), bits=RSV1), 1009),
        (
            client_frame(TEXT, _deflated(b"x" * 1001)[:3], fin=False, bits=RSV1)
            + client_frame(0, _deflated(b"x" * 1001)[3:]),
            1009,
        ),
    ],
)
def test_what_breaks_the_rules_of_compression(data: bytes, code: int) -> None:
    got, error = _read([client_frame(TEXT, b"before") + data], limit=1000, inflate=inflate)
    assert got == [(TEXT, b"before")]
    assert error is not None
    assert error.code == code


@given(st.lists(st.tuples(st.text(max_size=300), st.booleans(), st.integers(0, 20)), max_size=6), st.data())
def test_compression_and_any_cut_change_nothing(
    messages: list[tuple[str, bool, int]], data: st.DataObject
) -> None:
    stream = b""
    for text, compress, cut in messages:
        payload, bits = (_deflated(text.encode()), RSV1) if compress else (text.encode(), 0)
        stream += client_frame(TEXT, payload[:cut], fin=False, bits=bits) + client_frame(0, payload[cut:])
    at = data.draw(st.integers(0, len(stream)))
    expected = [(TEXT, text.encode()) for text, _, _ in messages]
    assert _read([stream[:at], stream[at:]], inflate=inflate) == (expected, None)
