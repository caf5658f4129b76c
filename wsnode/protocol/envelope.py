"""The data message: the publisher's JSON spliced into the node's envelope, encoded once for all clients."""

from __future__ import annotations

import re

import orjson

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


def data_text(
    seq: int,
    ts_ms: int,
    kind: str,
    channel: str,
    prev: int,
    content: bytes,
    field: bytes = b"data",
    skipped: int = 0,
) -> bytes:
    """One message's JSON. `content` must have passed `is_json`; it stands last, where it can be found again.

    Args:
        field: `data`, or `delta` for a patch.
        skipped: messages of the channel that one client was passed over, told where there are any.
    """
    told = b'"skipped":%d,' % skipped if skipped else b""
    return b'{"seq":%d,"ts":%d,"type":"%b","channel":%b,"prev":%d,%b"%b":%b}' % (
        seq,
        ts_ms,
        kind.encode(),
        orjson.dumps(channel),
        prev,
        told,
        field,
        content,
    )
