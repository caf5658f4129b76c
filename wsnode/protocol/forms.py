"""The forms in which clients get their messages; a message is encoded once a form, for all clients."""

from __future__ import annotations

from wsnode.protocol.deflate import deflated_frame
from wsnode.protocol.frames import encode_text
from wsnode.protocol.sse import event

# Text frames, compressed text frames, server-sent events.
PLAIN, DEFLATE, SSE = FORMS = range(3)


def encode(form: int, text: bytes, event_id: str = "") -> bytes:
    """A message's JSON as the bytes that are written; `event_id` is where an SSE client would go on."""
    if form == PLAIN:
        return encode_text(text)
    if form == DEFLATE:
        return deflated_frame(text)
    return event(text, event_id)


def reframe(form: int, frame: bytes, event_id: str = "") -> bytes:
    """A plain frame in the form of a client: control messages are too small to be compressed."""
    return event(_payload(frame), event_id) if form == SSE else frame


def _payload(frame: bytes) -> bytes:
    """The payload of a server's frame."""
    short = frame[1]
    return frame[2 if short < 126 else 4 if short == 126 else 10 :]


def event_id(epoch: str, seq: int) -> str:
    """What an SSE client sends back as Last-Event-ID: it has all up to `seq`."""
    return f"{epoch}-{seq}"
