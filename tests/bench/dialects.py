"""How a client speaks to each kind of server: what it sends, what greets it, what it must answer."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wsnode.load_wire import text_frame

DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class Dialect(Protocol):
    """One server's language."""

    @property
    def path(self) -> str:
        """What to ask for."""
        ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Of the upgrade request, beside the usual ones."""
        ...

    @property
    def ack(self) -> bytes:
        """Stands in a text that confirms a subscription; never in a message."""
        ...

    @property
    def ping(self) -> bytes:
        """A text that must be answered; empty where the server pings by frames."""
        ...

    @property
    def refusal(self) -> bytes:
        """Stands in a text that refuses one."""
        ...

    def subscribe(self, channels: Sequence[str]) -> bytes:
        """Frames to send once the connection is open."""
        ...

    def answer(self, payload: bytes) -> bytes:
        """The frame that this text without any message calls for; empty for none."""
        ...


@dataclass(frozen=True)
class Node:
    """A node's own protocol; the floor, `websockets` and uWebSockets are made to speak it too."""

    path: str = "/ws"
    headers: tuple[tuple[str, str], ...] = ()
    ack: bytes = b'"type":"subscription_ack"'
    refusal: bytes = b'"type":"error"'
    ping: bytes = b""
    options: tuple[str, ...] = ()
    """Asked for with each subscription."""

    def subscribe(self, channels: Sequence[str]) -> bytes:
        """One subscribe message for all."""
        options = dict.fromkeys(self.options, True)
        message = {"type": "subscribe", "data": {"channels": list(channels), **options}}
        return text_frame(json.dumps(message, separators=(",", ":")).encode())

    def answer(self, payload: bytes) -> bytes:
        """Nothing: the node pings by frames."""
        return b""


@dataclass(frozen=True)
class Nats:
    """The NATS protocol in binary frames, as nats-server's WebSocket port speaks it."""

    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    ack: bytes = b"PONG\r\n"
    refusal: bytes = b"-ERR "
    ping: bytes = b"PING\r\n"

    def subscribe(self, channels: Sequence[str]) -> bytes:
        """CONNECT, SUB and a PING, whose PONG confirms them all."""
        lines = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n'
        for number, name in enumerate(channels, 1):
            lines += b"SUB odin.token.%b %d\r\n" % (name.encode(), number)
        return _binary_frame(lines + b"PING\r\n")

    def answer(self, payload: bytes) -> bytes:
        """PONG to the server's PING."""
        return _binary_frame(b"PONG\r\n") if self.ping in payload else b""


@dataclass(frozen=True)
class Centrifugo:
    """Centrifugo's JSON protocol: https://centrifugal.dev/docs/transports/client_protocol."""

    path: str = "/connection/websocket"
    headers: tuple[tuple[str, str], ...] = ()
    ack: bytes = b'"subscribe":{'
    refusal: bytes = b'"error":{'
    ping: bytes = b"{}"

    def subscribe(self, channels: Sequence[str]) -> bytes:
        """Connect and subscribe commands, one a line."""
        commands: list[dict[str, object]] = [{"id": 1, "connect": {}}]
        commands += [
            {"id": number, "subscribe": {"channel": name}} for number, name in enumerate(channels, 2)
        ]
        return text_frame("\n".join(json.dumps(c, separators=(",", ":")) for c in commands).encode())

    def answer(self, payload: bytes) -> bytes:
        """An empty object is a ping, and its answer."""
        return text_frame(b"{}") if payload == self.ping else b""


DIALECTS: dict[str, Dialect] = {
    "node": Node(),
    "deflate": Node(headers=(("Sec-WebSocket-Extensions", DEFLATE),)),
    "delta": Node(options=("delta",)),
    "nats": Nats(),
    "centrifugo": Centrifugo(),
}


def _binary_frame(payload: bytes) -> bytes:
    """A masked binary frame. The mask is fresh, so the payload is masked for real."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    if len(payload) < 126:
        return struct.pack("!BB", 0x82, 0x80 | len(payload)) + mask + masked
    return struct.pack("!BBH", 0x82, 0xFE, len(payload)) + mask + masked
