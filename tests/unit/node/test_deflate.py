"""Compression once for all: what is negotiated, and that every client inflates the same bytes."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode
from websockets.headers import build_extension, parse_extension

from wsnode.protocol.deflate import deflated_frame, inflate, negotiate
from wsnode.protocol.frames import FrameError, encode_text

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", ANSWER),  # Firefox
        ("permessage-deflate; client_max_window_bits", ANSWER),  # Chrome
        ("permessage-deflate; client_max_window_bits=8", ANSWER),
        ('permessage-deflate; client_max_window_bits="12"', ANSWER),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", ANSWER),
        ("x-webkit-deflate-frame, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits=15", ANSWER + "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=14", None),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=09", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; unheard_of", None),
        ("x-other; a=b", None),
    ],
)
def test_offers_and_their_exact_answers(offers: str, answer: str | None) -> None:
    assert negotiate(offers) == answer


@pytest.mark.parametrize("offers", ["permessage-deflate;", "permessage-deflate; =3", '"x"', "", "a b"])
def test_a_malformed_header_is_said_to_be_one(offers: str) -> None:
    with pytest.raises(ValueError, match="Sec-WebSocket-Extensions"):
        negotiate(offers)


@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, *range(9, 16)]),
    st.sampled_from([None, True, *range(9, 16)]),
)
def test_what_the_library_offers_is_answered_as_it_accepts(
    server_alone: bool, client_alone: bool, server_bits: int | None, client_bits: int | None
) -> None:
    factory = ClientPerMessageDeflateFactory(server_alone, client_alone, server_bits, client_bits)
    answer = negotiate(build_extension([(factory.name, factory.get_request_params())]))
    assert (answer is None) == (server_bits not in (None, 15))
    if answer is not None:
        [(_, parameters)] = parse_extension(answer)
        factory.process_response_params(parameters, [])


def test_small_messages_and_those_that_gain_little_go_plain() -> None:
    dense = zlib.compress(b"".join(b"%d" % number for number in range(9999)), 9)
    for payload in (b"", b"x" * 199, dense):
        assert deflated_frame(payload) == encode_text(payload)
    frame = deflated_frame(b"x" * 200)
    assert frame[0] == 0xC1  # FIN, RSV1, text
    assert len(frame) < 20


def test_a_gain_of_a_tenth_is_asked_for() -> None:
    # The first 512 bytes hold nothing to gain, what follows nearly all: so that the share can be set.
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(16))
    assert deflated_frame(noise + b"\0" * 20)[0] == 0x81
    assert deflated_frame(noise + b"\0" * 120)[0] == 0xC1


class _ZlibClient:
    """A client on bare zlib: a new inflater for each message, or against the answer one for all."""

    def __init__(self, *, keeps_context: bool) -> None:
        self._kept = zlib.decompressobj(wbits=-15) if keeps_context else None

    def read(self, frame: Frame) -> bytes:
        assert frame.opcode is Opcode.TEXT
        assert frame.fin
        if not frame.rsv1:
            return bytes(frame.data)
        stream = self._kept or zlib.decompressobj(wbits=-15)
        return stream.decompress(bytes(frame.data) + TAIL)


def _parsed(frame: bytes) -> Frame:
    """The frame as it stands on the wire, by hand."""
    size, start = frame[1], 2
    if size == 126:
        size, start = int.from_bytes(frame[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(frame[2:10], "big"), 10
    assert len(frame) == start + size
    return Frame(Opcode(frame[0] & 15), frame[start:], True, bool(frame[0] & 0x40))


_PIECES = st.sampled_from(
    [b'{"price":', b"1.25", b'"BTC.trade"', b"x" * 300, b'"volume24h":123456.78,', b" "]
)
_PAYLOADS = st.lists(
    st.one_of(
        st.lists(_PIECES, max_size=60).map(b"".join),
        st.binary(max_size=2000),
        st.integers(0, 200_000).map(lambda size: b"ab" * size),
    ),
    max_size=12,
)


@given(_PAYLOADS, st.data())
def test_many_frames_in_a_row_and_interleaved_inflate_to_the_same_bytes(
    payloads: list[bytes], data: st.DataObject
) -> None:
    """Three kinds of client, each with a part of the messages: what one missed must not matter to it."""
    fresh, keeping = _ZlibClient(keeps_context=False), _ZlibClient(keeps_context=True)
    library = PerMessageDeflate(True, True, 15, 15)
    context = PerMessageDeflate(False, True, 15, 15)
    for payload in payloads:
        frame = _parsed(deflated_frame(payload))
        assert fresh.read(frame) == payload
        if data.draw(st.booleans()):
            assert keeping.read(frame) == payload
        if data.draw(st.booleans()):
            assert library.decode(frame).data == payload
        if data.draw(st.booleans()):
            assert context.decode(frame).data == payload


@given(st.binary(max_size=5000), st.sampled_from([1, 6, 9]), st.integers(9, 15))
def test_what_clients_compress_is_inflated(payload: bytes, level: int, bits: int) -> None:
    factory = ServerPerMessageDeflateFactory()
    _, encoder = factory.process_request_params([("server_no_context_takeover", None)], [])
    assert inflate(bytes(encoder.encode(Frame(Opcode.TEXT, payload)).data), 5000) == payload
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    data = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
    assert inflate(data[:-4], 5000) == payload


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # RFC 7692, section 7.2.3: one block, stored, with BFINAL, two blocks, empty.
        (bytes.fromhex("f248cdc9c90700"), b"Hello"),
        (bytes.fromhex("000500faff48656c6c6f00"), b"Hello"),
        (bytes.fromhex("f348cdc9c9070000"), b"Hello"),
        (bytes.fromhex("f24805000000ffffcac9c90700"), b"Hello"),
        (b"\x00", b""),
        (b"", b""),
        # A final block, then another stream.
        (bytes.fromhex("f348cdc9c90700") + bytes.fromhex("f248cdc9c90700"), b"HelloHello"),
    ],
)
def test_the_rfcs_own_examples(data: bytes, message: bytes) -> None:
    assert inflate(data, 100) == message


def _deflated(payload: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


@given(st.integers(1, 70_000))
def test_the_limit_counts_after_inflation(limit: int) -> None:
    assert len(inflate(_deflated(b"x" * limit), limit)) == limit
    with pytest.raises(FrameError) as caught:
        inflate(_deflated(b"x" * (limit + 1)), limit)
    assert caught.value.code == 1009


def test_a_bomb_is_not_inflated() -> None:
    bomb = _deflated(b"\0" * 50_000_000)
    assert len(bomb) < 65_536
    with pytest.raises(FrameError) as caught:
        inflate(bomb, 65_536)
    assert caught.value.code == 1009
    with pytest.raises(FrameError) as caught:
        inflate(b"\x03\x00" * 30_000, 65_536)
    assert caught.value.code == 1007


@pytest.mark.parametrize("data", [b"\xff\xff", b"not deflated at all", bytes.fromhex("f200110000")])
def test_what_is_no_deflated_data_is_refused(data: bytes) -> None:
    """The last one refers to what a message before it held: the client was told to keep no context."""
    with pytest.raises(FrameError) as caught:
        inflate(data, 100)
    assert caught.value.code == 1007


@given(st.binary(max_size=300))
def test_rubbish_is_inflated_or_refused(rubbish: bytes) -> None:
    try:
        message, code = inflate(rubbish, 1000), 0
    except FrameError as error:
        message, code = b"", error.code
    assert len(message) <= 1000
    assert code in (0, 1007, 1009)
