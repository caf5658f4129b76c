"""Server-sent events: the node's messages for those who can't keep a WebSocket.

Source: the HTML standard, section "Server-sent events". A message is one event without a name; the
id of an event is a point to resume from, and comes back in the header `Last-Event-ID`.
"""

from __future__ import annotations

import re
from typing import Final

from wsnode.protocol.envelope import MAX_SEQUENCE

PATH: Final = "/sse"
PING: Final = b":\n\n"
"""A comment: a client passes it over, proxies see that the connection is in use."""

_AFTER = re.compile(r"\bafter=([0-9]{1,9})\b")
_EVENT_ID = re.compile(r"([0-9A-Za-z_.:-]{1,64})-([0-9]{1,16})")


def response_head(origin: str | None) -> bytes:
    """The head of an answer without an end, given to a page of this origin (None: to no page)."""
    allowed = f"Access-Control-Allow-Origin: {origin}\r\n" if origin is not None else ""
    return (
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/event-stream\r\n"
        "Cache-Control: no-store\r\n"
        "X-Accel-Buffering: no\r\n"
        "Connection: close\r\n"
        f"Vary: Origin\r\n{allowed}\r\n"
    ).encode("latin-1", "replace")


def event(payload: bytes, event_id: str = "") -> bytes:
    """One message. A publisher's JSON may have line ends between its tokens; each line is marked as data."""
    if b"\n" in payload or b"\r" in payload:
        payload = b"\ndata: ".join(payload.splitlines())
    if event_id:
        return b"id: %b\ndata: %b\n\n" % (event_id.encode(), payload)
    return b"data: %b\n\n" % payload


def parse_last_event_id(text: str) -> tuple[str, int] | None:
    """Epoch and sequence of an id that this or another node gave; None where none did."""
    match = _EVENT_ID.fullmatch(text.strip(" \t"))
    if match is None or int(match[2]) > MAX_SEQUENCE:
        return None
    return match[1], int(match[2])


def retry(ms: int) -> bytes:
    """How long a client is to wait, after its connection ended, before it comes back."""
    return b"retry: %d\n\n" % ms


def goodbye(reason: str) -> bytes:
    """What stands in place of a close frame: when to come back, where its reason says so, then the end."""
    after = _AFTER.search(reason)
    return retry(int(after[1])) if after else b""
