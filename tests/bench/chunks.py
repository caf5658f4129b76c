"""What one read from a server holds: messages counted, stamps found, pings to answer. Pure.

Most reads hold the same bytes for thousands of clients. `ChunkReader` tells them by length, beginning
and end, and walks the frames only of those it has not seen: the client must cost little, or it would be
what is measured where messages are dense.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import NamedTuple

from tests.bench.dialects import Dialect
from tests.bench.ticks import STAMP
from wsnode.load_wire import pong_frame

_HEAD, _TAIL = 288, 48
"""The beginning holds the first message's stamp, behind an envelope and a short frame before it."""
_KEPT = 4096
_STAMPS = 4
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_DEFLATED = 0x40


class Chunk(NamedTuple):
    """Whole frames at the beginning of a read."""

    messages: int
    stamps: tuple[tuple[int, int], ...]
    """Publish times in nanoseconds, each with the number of messages that it stands for."""
    used: int
    """Bytes of whole frames; what follows is the beginning of another."""
    acked: bool = False
    answer: bytes = b""
    closed: str = ""
    """Why the connection is of no use any more; empty while it is."""


class ChunkReader:
    """Understands the reads of all clients of one server."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: dict[tuple[int, bytes, bytes], Chunk] = {}

    def read(self, data: memoryview) -> Chunk:
        """The chunk that begins at a frame's first byte."""
        size = len(data)
        key = (size, bytes(data[:_HEAD]), bytes(data[-_TAIL:]))
        chunk = self._known.get(key)
        if chunk is None:
            chunk = scan(bytes(data), self._dialect)
            if len(self._known) >= _KEPT:
                self._known.clear()
            # A beginning without a stamp could be that of other messages.
            if size <= _HEAD or STAMP.search(key[1]):
                self._known[key] = chunk
        return chunk


def scan(data: bytes, dialect: Dialect) -> Chunk:
    """Walks the frames of `data`."""
    stamps: list[int] = []
    acked, answer, closed = False, b"", ""
    offset, size = 0, len(data)
    while not closed and size - offset >= 2:
        length, body = data[offset + 1] & 127, offset + 2
        wide = {126: 2, 127: 8}.get(length, 0)
        if wide:
            length, body = int.from_bytes(data[body : body + wide], "big"), body + wide
        if size < body + length or body > size:
            break
        first, payload = data[offset], data[body : body + length]
        offset = body + length
        opcode = first & 15
        if opcode in (_CONTINUATION, _TEXT, _BINARY):
            if first & _DEFLATED:
                payload = _inflated(payload)
            found = [int(stamp) for stamp in STAMP.findall(payload)]
            stamps += found
            acked = acked or dialect.ack in payload
            if not found:
                answer += dialect.answer(payload)
                if dialect.refusal in payload:
                    closed = payload[:120].decode("utf-8", "replace")
        elif opcode == _PING:
            answer += pong_frame(payload)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big")
            closed = f"{code} {payload[2:].decode('utf-8', 'replace')}".strip()
        elif opcode != _PONG:
            closed = f"unknown frame 0x{first:02x}"
    return Chunk(len(stamps), _few(stamps), offset, acked, answer, closed)


def _few(stamps: list[int]) -> tuple[tuple[int, int], ...]:
    """All stamps where they are few; else the oldest of each of four equal parts, standing for its part."""
    count = len(stamps)
    if count <= _STAMPS:
        return tuple((stamp, 1) for stamp in stamps)
    edges = [count * part // _STAMPS for part in range(_STAMPS + 1)]
    return tuple((stamps[a], b - a) for a, b in pairwise(edges))


def _inflated(payload: bytes) -> bytes:
    """A message compressed without context of earlier ones (RFC 7692, 7.2.2)."""
    return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
