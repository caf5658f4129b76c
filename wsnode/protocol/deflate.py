"""permessage-deflate (RFC 7692) for a broadcast: a message is compressed once, not once a client.

All messages go through one compressor that is flushed with Z_FULL_FLUSH: nothing that follows refers
back behind such a flush, so each message can be inflated alone, and the same bytes are right for
every client. That is what `server_no_context_takeover` promises. The other direction has
`client_no_context_takeover`: no inflater is kept for a connection.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from websockets.exceptions import InvalidHeaderFormat
from websockets.frames import CloseCode
from websockets.headers import parse_extension
from websockets.typing import ExtensionParameter

from wsnode.protocol.frames import TEXT, FrameError, encode_frame, encode_text

EXTENSION: Final = "permessage-deflate"
ACCEPTED: Final = f"{EXTENSION}; server_no_context_takeover; client_no_context_takeover"
LEAST_BYTES: Final = 200
"""Below this a message goes as it is: little to gain, and both ends work for it."""

_OPTED_OUT = re.compile(r"(?:^|&)deflate=(?:0|false)(?:&|$)")
_MOST_OF_PLAIN = 0.9  # at least a tenth must be gained
_COMPRESSED = 0x40  # RSV1
_TAIL = b"\0\0\xff\xff"  # what a flush ends with; it does not travel (section 7.2.1)
_WINDOW_BITS: Final = frozenset(str(bits) for bits in range(8, 16))
_FULL_WINDOW = "15"
_MOST_STREAMS = 64

_compressor = zlib.compressobj(level=1, wbits=-15)


def deflated_frame(payload: bytes) -> bytes:
    """A message's text frame for all clients that negotiated compression; plain where little is gained."""
    if len(payload) < LEAST_BYTES:
        return encode_text(payload)
    data = _compressor.compress(payload) + _compressor.flush(zlib.Z_FULL_FLUSH)
    if len(data) - len(_TAIL) > _MOST_OF_PLAIN * len(payload):
        return encode_text(payload)
    return encode_frame(_COMPRESSED | TEXT, data[: -len(_TAIL)])


def inflate(payload: bytes, limit: int) -> bytes:
    """The message behind a client's compressed payload, of which at most `limit` bytes are made.

    A final block (BFINAL) may end the data before its end: then another stream begins at the next
    byte (section 7.2.1).

    Raises:
        FrameError: it is larger (1009), or it is no such data (1007).
    """
    data, message = payload + _TAIL, b""
    for _ in range(_MOST_STREAMS):
        stream = zlib.decompressobj(wbits=-15)
        try:
            # One byte more: what is exactly as long as allowed can't be told from a cut otherwise.
            message += stream.decompress(data, limit + 1 - len(message))
        except zlib.error as error:
            raise FrameError(CloseCode.INVALID_DATA, "a message can't be inflated") from error
        if len(message) > limit:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG, f"message above {limit} bytes")
        data = stream.unused_data
        if not stream.eof or not data:
            return message
    raise FrameError(CloseCode.INVALID_DATA, "a message of too many final blocks")


def opted_out(query: str) -> bool:
    """Whether a URL's query asks for plain messages: a page can't keep its browser from offering."""
    return _OPTED_OUT.search(query) is not None


@lru_cache(maxsize=64)
def negotiate(offers: str) -> str | None:
    """The answer to a `Sec-WebSocket-Extensions` header (several are joined by commas); None without one.

    The first offer that can be met counts (section 7.1). The window for what the server sends is
    always the full one; an offer that says so itself must be told so (section 7.1.2.1).

    Raises:
        ValueError: the header is malformed, which fails the handshake (RFC 6455, section 9.1).
    """
    try:
        parsed = parse_extension(offers)
    except InvalidHeaderFormat as error:
        raise ValueError(f"Sec-WebSocket-Extensions: {error}") from error
    for name, parameters in parsed:
        answer = _answer(parameters) if name == EXTENSION else None
        if answer is not None:
            return answer
    return None


def _answer(parameters: Sequence[ExtensionParameter]) -> str | None:
    """The answer to one offer; None where it must be declined (section 7)."""
    given = dict(parameters)
    if len(given) < len(parameters):
        return None  # a parameter twice
    for name, value in parameters:
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            known = value is None
        elif name == "client_max_window_bits":
            known = value is None or value in _WINDOW_BITS
        else:
            known = name == "server_max_window_bits" and value == _FULL_WINDOW
        if not known:
            return None
    if "server_max_window_bits" in given:
        return f"{ACCEPTED}; server_max_window_bits={_FULL_WINDOW}"
    return ACCEPTED
