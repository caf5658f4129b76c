"""WebSocket frames of a server (RFC 6455, section 5): encoding, and parsing of what a client sent.

A client's bytes are looked at only when they hold at least one whole frame; a partial one stays
what it is, bytes, so that a connection's whole state can be kept small and handed over. No object is
made for a frame: a flood of the smallest ones must not cost more than their bytes deserve. Who
negotiated compression passes the way to inflate a whole message.

    FrameError          the client broke RFC 6455: close with `code`
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode, Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled helper
    from websockets.utils import apply_mask

CONT = int(Opcode.CONT)
TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
CLOSE = int(Opcode.CLOSE)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)

PING_FRAME = b"\x89\x00"

_WHOLE_TEXT = 0x81  # FIN, no reserved bit, text
_FIN, _RESERVED = 0x80, 0x70
_CONTROL = 0x08  # the opcodes that have this bit
_COMPRESSED = 0x40  # RSV1, where permessage-deflate was negotiated (RFC 7692, section 6)
_MASKED = 0x80
_MAX_REASON_BYTES = 123  # a control frame holds 125 bytes, two of them are the code

# A message or control frame received: opcode and unmasked payload.
Received = tuple[int, bytes]
# Payload of a compressed message and limit -> the message; raises FrameError. See `deflate.inflate`.
Inflate = Callable[[bytes, int], bytes]


class FrameError(Exception):
    """The client broke RFC 6455; the connection fails with `code` (section 7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(f"{code} {reason}")


class Fragments:
    """A message of which `count` fragments have come, and more will. Made only when one begins."""

    __slots__ = ("compressed", "count", "data", "opcode")

    def __init__(self, opcode: int, compressed: bool) -> None:
        self.opcode = opcode
        self.compressed = compressed
        self.count = 0
        self.data = bytearray()


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """One unfragmented server frame (never masked)."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (_MASKED | opcode, size, payload)
    if size < 65_536:
        return struct.pack("!BBH", _MASKED | opcode, 126, size) + payload
    return struct.pack("!BBQ", _MASKED | opcode, 127, size) + payload


def encode_text(payload: bytes) -> bytes:
    """A text frame; the payload must be UTF-8."""
    return encode_frame(TEXT, payload)


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame; a reason that is too long for a control frame is cut at a character."""
    data = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    return encode_frame(CLOSE, struct.pack("!H", code) + data)


def frame_bounds(data: bytes | bytearray, start: int, limit: int) -> tuple[int, int] | None:
    """Header and whole size of the client frame that begins at `start`; None while its header is incomplete.

    Raises:
        FrameError: it announces more than `limit` bytes of payload (1009); it is not masked, a long
            control frame, or has a length in a longer form than needed or with its highest bit set
            (1002; sections 5.2 and 5.5). Said at once, not after those bytes have come.
    """
    have = len(data) - start
    if have < 2:
        return None
    if not data[start + 1] & _MASKED:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "incorrect masking")
    size, header, least = data[start + 1] & 127, 6, 0
    if size >= 126:
        if data[start] & _CONTROL:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame too long")
        header, least = (8, 126) if size == 126 else (14, 65_536)
        if have < header - 4:
            return None
        size = int.from_bytes(data[start + 2 : start + header - 4], "big")
    if size < least or size >> 63:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form, or negative")
    if size > limit:
        raise FrameError(CloseCode.MESSAGE_TOO_BIG, f"frame of {size} bytes, at most {limit} are allowed")
    return header, header + size


def read_frames(
    data: bytes | bytearray,
    fragments: Fragments | None,
    limit: int,
    inflate: Inflate | None = None,
    start: int = 0,
    most: int = sys.maxsize,
) -> tuple[list[Received], int, Fragments | None, FrameError | None]:
    """The whole messages and control frames at the beginning of `data`.

    Args:
        data: what the client sent and was not consumed before.
        fragments: what the last call returned.
        limit: largest message in bytes, over all its fragments, compressed and inflated.
        inflate: for a client that negotiated compression.
        start: so many bytes of `data` were consumed before.
        most: no more messages and control frames than this; fewer are all that there are.

    Returns:
        What was received, up to where `data` is consumed now, the fragmented message under way,
        and what ends the connection, if the client broke the rules after what was received.
    """
    received: list[Received] = []
    end = len(data)
    try:
        while start < end and len(received) < most:
            bounds = frame_bounds(data, start, limit)
            if bounds is None or end - start < bounds[1]:
                break
            body, stop = start + bounds[0], start + bounds[1]
            payload = apply_mask(data[body:stop], data[body - 4 : body])
            if data[start] == _WHOLE_TEXT and fragments is None:
                received.append((TEXT, _checked(payload)))
            else:
                fragments = _read_other(data[start], payload, fragments, limit, inflate, received)
            start = stop
    except FrameError as error:
        return received, end, None, error
    return received, start, fragments, None


def _checked(payload: bytes) -> bytes:
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise FrameError(CloseCode.INVALID_DATA, "text is not UTF-8") from error
    return payload


def _read_other(
    first: int,
    payload: bytes,
    fragments: Fragments | None,
    limit: int,
    inflate: Inflate | None,
    received: list[Received],
) -> Fragments | None:
    """One whole frame by its first byte and its payload; returns the message under way after it."""
    opcode, fin, reserved = first & 15, first & _FIN, first & _RESERVED
    if opcode & _CONTROL:
        if reserved or not fin or opcode > PONG:
            raise FrameError(CloseCode.PROTOCOL_ERROR, _what_is_wrong(opcode, reserved))
        received.append((opcode, _close_answer(payload) if opcode == CLOSE else payload))
        return fragments
    compressed = reserved == _COMPRESSED and inflate is not None and opcode != CONT
    if opcode > BINARY or (reserved and not compressed):
        raise FrameError(CloseCode.PROTOCOL_ERROR, _what_is_wrong(opcode, reserved))
    if (opcode == CONT) is (fragments is None):
        raise FrameError(CloseCode.PROTOCOL_ERROR, "continuation frame out of place")
    if fragments is not None or not fin:
        message = fragments or Fragments(opcode, compressed)
        if len(message.data) + len(payload) > limit:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG, f"message above {limit} bytes")
        message.data += payload
        message.count += 1
        if not fin:
            return message
        opcode, compressed, payload = message.opcode, message.compressed, bytes(message.data)
    if compressed:
        assert inflate is not None
        payload = inflate(payload, limit)
    received.append((opcode, _checked(payload) if opcode == TEXT else payload))
    return None


def _what_is_wrong(opcode: int, reserved: int) -> str:
    """Said where a frame's first byte breaks section 5.2 or 5.5."""
    if reserved:
        return "reserved bits must be 0"
    if opcode in (CLOSE, PING, PONG):
        return "fragmented control frame"
    return "invalid opcode"


def _close_answer(payload: bytes) -> bytes:
    """The payload with which a close frame is answered: its own code (RFC 6455, section 5.5.1)."""
    try:
        close = Close.parse(payload)
    except ProtocolError as error:
        raise FrameError(CloseCode.PROTOCOL_ERROR, str(error)) from error
    except UnicodeDecodeError as error:
        raise FrameError(CloseCode.INVALID_DATA, "close reason is not UTF-8") from error
    return b"" if close.code == CloseCode.NO_STATUS_RCVD else struct.pack("!H", close.code)
