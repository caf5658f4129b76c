"""What the benchmark's client reads out of a server's bytes."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.bench.chunks import ChunkReader, scan
from tests.bench.dialects import DIALECTS, Centrifugo, Nats, Node
from tests.bench.ticks import KINDS, PAYLOAD_BYTES, STAMP, Ticks, payload

NODE = Node()


def frame(data: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, data).serialize(mask=False)


def message(stamp: int) -> bytes:
    return frame(b'{"seq":1,"channel":"S0.trade","prev":0,"data":%b}' % payload(stamp, 1, Ticks().tail()))


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 10**15), st.integers(0, 50))
def test_a_tick_is_json_of_one_size_and_tells_its_time(kind: str, stamp: int, number: int) -> None:
    ticks = KINDS[kind]()
    tail = [ticks.tail() for _ in range(number + 1)][-1]
    tick = payload(stamp, number, tail)
    assert len(tick) == PAYLOAD_BYTES
    assert json.loads(tick)["t"] == stamp
    assert json.loads(tick)["n"] == number
    assert STAMP.findall(tick) == [str(stamp).encode()]


@given(st.lists(st.integers(1, 10**15), max_size=30), st.data())
def test_every_message_is_counted_once_however_the_bytes_are_cut(
    stamps: list[int], data: st.DataObject
) -> None:
    stream = b"".join(message(stamp) for stamp in stamps)
    reader, rest, count, weights = ChunkReader(NODE), b"", 0, 0
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        read, stream = rest + stream[:size], stream[size:]
        chunk = reader.read(memoryview(read))
        rest = read[chunk.used :]
        count += chunk.messages
        weights += sum(weight for _, weight in chunk.stamps)
    assert (count, weights, rest) == (len(stamps), len(stamps), b"")


def test_many_messages_are_told_by_the_oldest_of_each_quarter() -> None:
    chunk = scan(b"".join(message(stamp) for stamp in range(1, 11)), NODE)
    assert chunk.stamps == ((1, 2), (3, 3), (6, 2), (8, 3))


def test_reads_of_other_messages_are_not_taken_for_known_ones() -> None:
    reader = ChunkReader(NODE)
    for stamp in (111, 222):
        assert reader.read(memoryview(message(stamp))).stamps == ((stamp, 1),)


def test_a_market_changes_little_from_one_tick_to_the_next() -> None:
    market = KINDS["market"]()
    ticks = [json.loads(payload(1, 1, market.tail())) for _ in range(500)]
    changed = [sum(a[name] != b[name] for name in a) for a, b in pairwise(ticks)]
    assert all(1 <= count <= 8 for count in changed)
    assert 2 < sum(changed) / len(changed) < 5


def test_acknowledgements_refusals_and_closes_are_told_apart() -> None:
    assert scan(frame(b'{"type":"subscription_ack","count":1}'), NODE).acked
    assert "error" in scan(frame(b'{"type":"error","code":"INVALID_CHANNEL"}'), NODE).closed
    assert scan(frame(b"\x03\xf0slow", Opcode.CLOSE), NODE).closed == "1008 slow"
    assert scan(frame(b"PONG\r\n", Opcode.BINARY), Nats()).acked
    assert scan(frame(b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{}}'), Centrifugo()).acked


def test_pings_are_answered_in_the_server_s_own_way() -> None:
    assert scan(frame(b"hi", Opcode.PING), NODE).answer[:2] == b"\x8a\x82"
    assert scan(frame(b"PING\r\n", Opcode.BINARY), Nats()).answer[:2] == b"\x82\x86"
    assert scan(frame(b"{}"), Centrifugo()).answer[:2] == b"\x81\x82"


def test_a_deflated_message_is_read() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(payload(77, 1, Ticks().tail())) + packer.flush(zlib.Z_SYNC_FLUSH)
    data = bytearray(frame(packed[:-4]))
    data[0] |= 0x40
    assert scan(bytes(data), DIALECTS["deflate"]).stamps == ((77, 1),)


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_subscription_is_one_masked_frame_that_names_its_channels(name: str) -> None:
    data = DIALECTS[name].subscribe(["S0.trade", "S1.trade"])
    assert data[1] & 0x80
    size = data[1] & 127
    body = 4 if size == 126 else 2
    mask, masked = data[body : body + 4], data[body + 4 :]
    text = bytes(byte ^ mask[i & 3] for i, byte in enumerate(masked))
    assert b"S0.trade" in text
    assert b"S1.trade" in text
