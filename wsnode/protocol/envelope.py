"""The data message: the publisher's JSON spliced into the node's envelope, encoded once for all clients."""

from __future__ import annotations

import re

import orjson

from wsnode.protocol.frames import encode_text

DEFAULT_TYPE = "price:update"
TYPE_HEADER = "Ws-Type"
# Control types have no colon, so that a publisher can never forge one.
_TYPE = re.compile(r"[a-z0-9_.-]+:[a-z0-9_.:-]+")
MAX_SEQUENCE = 2**53 - 1
"""Highest sequence that JavaScript tells apart from its neighbours."""


def is_json(payload: bytes) -> bool:
    """Whether the payload is one JSON value in UTF-8, and so may be spliced into an envelope."""
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return True


def message_type(wish: str | None) -> str:
    """The type told to clients: the publisher's `Ws-Type` where it is allowed, else the default."""
    return wish if wish is not None and _TYPE.fullmatch(wish) else DEFAULT_TYPE


def data_frame(seq: int, ts_ms: int, kind: str, channel: str, prev: int, payload: bytes) -> bytes:
    """The whole frame of one message. `payload` must have passed `is_json`."""
    return encode_text(
        b'{"seq":%d,"ts":%d,"type":"%b","channel":%b,"prev":%d,"data":%b}'
        % (seq, ts_ms, kind.encode(), orjson.dumps(channel), prev, payload)
    )
