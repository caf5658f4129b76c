"""Bytes of the load client: handshake, masked client frames, and a cheap reader of server frames.

No I/O and no state of a connection. Server frames are walked by their lengths; of a data message
only `seq`, `prev`, `ts` and `channel` are read, by byte search in the part before the payload.
Control messages are rare and go through a JSON parser.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from websockets.frames import Frame, Opcode

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
MAX_RESPONSE_BYTES = 16_384
MAX_FRAME_BYTES = 16 * 2**20 + 1024
"""Above the largest message a node may be set to send, with room for the envelope."""

# Kinds of event; a plain int, since millions of them are made.
DATA, HELLO, ACK, POSITION, PONG, FEED, ERROR, OTHER, PING, CLOSE, BAD, CAUGHT_UP = range(12)


class Outcome(NamedTuple):
    """What became of a channel's resume: what is missing, first and last; nothing known when both are 0."""

    channel: int
    recovered: bool
    first: int = 0
    last: int = 0


class Event(NamedTuple):
    """One frame's meaning. For DATA: channel number (-1: not one of ours), seq, prev, ts in ms.

    For others `text` carries what there is to say: HELLO the node's name, ERROR its code, CLOSE the
    reason, BAD what is wrong; `value` a sequence or a close code; `payload` a ping's bytes, or the epoch
    of a HELLO; `prev` what a POSITION tells as lost; `outcomes` what an ACK or CAUGHT_UP says of a resume.
    """

    kind: int
    channel: int = -1
    seq: int = -1
    prev: int = -1
    ts: int = 0
    text: str = ""
    payload: bytes = b""
    outcomes: tuple[Outcome, ...] = ()

    @property
    def value(self) -> int:
        """The sequence of an acknowledgement or position; the code of a close."""
        return self.seq


def handshake_request(host: str, target: str, headers: Sequence[tuple[str, str]] = ()) -> tuple[bytes, bytes]:
    """An upgrade request with a fresh key, and the accept value that must answer it (RFC 6455, 4.1)."""
    key = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
    request = (
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n{extra}\r\n"
    )
    return request.encode("ascii"), accept


class Response(NamedTuple):
    """The answer to an upgrade request; `length` is that of its head in bytes."""

    status: int
    accept: bytes
    retry_after: str | None
    length: int


def parse_response(data: bytes) -> Response | None:
    """The head of an HTTP response; None when more is to come.

    Raises ValueError when it is no HTTP response, or a head longer than MAX_RESPONSE_BYTES.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > MAX_RESPONSE_BYTES:
            raise ValueError("response head too long")
        return None
    status_line, *lines = data[:end].split(b"\r\n")
    words = status_line.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("not an HTTP response")
    headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)}
    retry_after = headers.get(b"retry-after")
    return Response(
        int(words[1]),
        headers.get(b"sec-websocket-accept", b""),
        retry_after.decode("latin-1") if retry_after is not None else None,
        end + 4,
    )


def text_frame(payload: bytes) -> bytes:
    """A masked text frame, with a fresh mask (RFC 6455, 5.3)."""
    return Frame(Opcode.TEXT, payload).serialize(mask=True)


def pong_frame(payload: bytes) -> bytes:
    """The masked answer to a ping."""
    return Frame(Opcode.PONG, payload).serialize(mask=True)


def close_frame(code: int) -> bytes:
    """A masked close frame."""
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big")).serialize(mask=True)


class Scanner:
    """Reads server frames into events; knows the channels' numbers."""

    def __init__(self, channels: Sequence[str]) -> None:
        self._numbers = {name.encode(): number for number, name in enumerate(channels)}

    def scan(self, data: bytes) -> tuple[list[Event], int]:
        """All whole frames of `data`, and how many bytes they took. After a BAD event nothing follows."""
        events: list[Event] = []
        offset, size = 0, len(data)
        while size - offset >= 2:
            length, body = data[offset + 1], offset + 2
            if length == 126:
                if size - offset < 4:
                    break
                length, body = int.from_bytes(data[offset + 2 : offset + 4], "big"), offset + 4
            elif length == 127:
                if size - offset < 10:
                    break
                length, body = int.from_bytes(data[offset + 2 : offset + 10], "big"), offset + 10
            if length > MAX_FRAME_BYTES or data[offset + 1] > 127:
                what = "masked server frame" if data[offset + 1] > 127 else "frame too long"
                events.append(Event(BAD, text=what))
                return events, size
            if size - body < length:
                break
            event = self._frame(data[offset], data[body : body + length])
            events.append(event)
            offset = body + length
            if event.kind == BAD:
                return events, size
        return events, offset

    def _frame(self, first: int, payload: bytes) -> Event:
        if first == 0x81:
            return self._message(payload)
        if first == 0x89:
            return Event(PING, payload=payload)
        if first == 0x8A:
            return Event(OTHER)
        if first == 0x88:
            if not payload:
                return Event(CLOSE, seq=1005)
            return Event(
                CLOSE, seq=int.from_bytes(payload[:2], "big"), text=payload[2:].decode("utf-8", "replace")
            )
        # No extension was offered, and a node never fragments: its frames are made once for all.
        return Event(BAD, text=f"unexpected frame 0x{first:02x}")

    def _message(self, payload: bytes) -> Event:
        if payload.startswith(b'{"seq":'):
            event = self._envelope(payload)
            if event is not None:
                return event
        try:
            message = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return Event(BAD, text="message is not JSON")
        if not isinstance(message, dict):
            return Event(OTHER)
        return self._control(message)

    def _envelope(self, payload: bytes) -> Event | None:
        """A data message by byte search; None where it does not look as a node writes it."""
        end = payload.find(b',"data":')
        if end < 0:
            end = payload.find(b',"delta":')
        channel = payload.find(b'"channel":"', 0, end)
        if end < 0 or channel < 0:
            return None
        name = payload[channel + 11 : payload.find(b'"', channel + 11)]
        try:
            return Event(
                DATA,
                self._numbers.get(name, -1),
                int(payload[7 : payload.index(b",", 7, end)]),
                _number(payload, b'"prev":', end),
                _number(payload, b'"ts":', end),
            )
        except ValueError:
            return None

    def _control(self, message: dict[str, Any]) -> Event:
        kind, seq = message.get("type"), message.get("seq")
        number = seq if type(seq) is int else -1
        if "channel" in message and "prev" in message and type(message["prev"]) is int:
            known = self._numbers.get(str(message["channel"]).encode(), -1)
            ts = message.get("ts")
            return Event(DATA, known, number, message["prev"], ts if type(ts) is int else 0)
        if kind == "hello":
            return Event(
                HELLO, text=str(message.get("node", "")), payload=str(message.get("epoch", "")).encode()
            )
        if kind == "subscription_ack":
            return Event(ACK, seq=number, outcomes=self._outcomes(message.get("channels")))
        if kind == "caught_up":
            told = {str(message.get("channel")): {"recovered": True, "missing": message.get("missing")}}
            return Event(CAUGHT_UP, seq=number, outcomes=self._outcomes(told))
        if kind == "position":
            lost = message.get("prev")
            return Event(POSITION, seq=number, prev=lost if type(lost) is int else -1)
        if kind == "pong":
            return Event(PONG, seq=number)
        if kind == "feed":
            return Event(FEED, seq=int(message.get("connected") is True))
        if kind == "error":
            return Event(ERROR, text=str(message.get("code", "")))
        return Event(OTHER)

    def _outcomes(self, told: object) -> tuple[Outcome, ...]:
        found = []
        for name, outcome in told.items() if isinstance(told, dict) else ():
            channel = self._numbers.get(name.encode(), -1)
            recovered, missing = outcome.get("recovered") is True, outcome.get("missing")
            span = missing if isinstance(missing, list) and len(missing) == 2 else (0, 0)
            found.append(Outcome(channel, recovered, *span))
        return tuple(found)


def _number(payload: bytes, name: bytes, end: int) -> int:
    """The integer after `name` before `end`; ValueError where there is none."""
    start = payload.index(name, 0, end) + len(name)
    stop = payload.find(b",", start, end)
    return int(payload[start : stop if stop >= 0 else end])
