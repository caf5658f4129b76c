"""A WebSocket client for tests that sees every byte: its own framing, no library's mercy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from dataclasses import dataclass
from typing import Any, Self

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = base64.b64encode(b"0123456789abcdef").decode()
TIMEOUT_SECONDS = 15.0


def request(port: int, path: str = "/ws", **headers: str) -> bytes:
    """An opening handshake; `headers` add to the usual ones or replace them (_ stands for -)."""
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


def client_frame(opcode: int, payload: bytes, *, fin: bool = True, bits: int = 0, mask: bool = True) -> bytes:
    """A client's frame, by default masked as it must be."""
    size, masked = len(payload), 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | bits | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 65_536:
        head += struct.pack("!BH", masked | 126, size)
    else:
        head += struct.pack("!BQ", masked | 127, size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def text_frame(message: Any) -> bytes:
    """A client's text frame of a JSON message."""
    return client_frame(TEXT, json.dumps(message).encode())


def subscribe(*channels: str) -> dict[str, Any]:
    """The subscribe message."""
    return {"type": "subscribe", "data": {"channels": list(channels)}}


@dataclass
class Closed:
    """How the server closed."""

    code: int
    reason: str


class WsClient:
    """One connection. `await WsClient.open(port)` has read the hello already."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.hello: dict[str, Any] = {}

    @classmethod
    async def connect(cls, port: int, first: bytes) -> Self:
        """A connection on which `first` was sent."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        await client.send_bytes(first)
        return client

    @classmethod
    async def open(cls, port: int, *channels: str, path: str = "/ws", **headers: str) -> Self:
        """A client that is let in, and subscribed to `channels`."""
        client = await cls.connect(port, request(port, path, **headers))
        status, _, _ = await client.response()
        assert status == 101, status
        client.hello = await client.message()
        assert client.hello["type"] == "hello"
        if channels:
            ack = await client.ask(subscribe(*channels))
            assert ack["type"] == "subscription_ack", ack
        return client

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of an HTTP response."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), TIMEOUT_SECONDS)
        first, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body

    async def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def send(self, message: Any) -> None:
        """Sends a JSON message."""
        await self.send_bytes(text_frame(message))

    async def ask(self, message: Any) -> dict[str, Any]:
        """Sends a JSON message and returns the next message that is no position."""
        await self.send(message)
        return await self.message()

    async def frame(self) -> tuple[int, bytes]:
        """The next frame, whatever it is. A server's frame is whole and never masked."""
        head = await asyncio.wait_for(self._reader.readexactly(2), TIMEOUT_SECONDS)
        assert head[0] & 0xF0 == 0x80
        assert not head[1] & 0x80
        size = head[1]
        if size == 126:
            (size,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return head[0] & 15, await self._reader.readexactly(size)

    async def any_message(self) -> dict[str, Any]:
        """The next JSON message; pings are answered on the way."""
        while True:
            opcode, payload = await self.frame()
            if opcode == PING:
                await self.send_bytes(client_frame(PONG, payload))
            else:
                assert opcode == TEXT, (opcode, payload)
                message: dict[str, Any] = json.loads(payload)
                return message

    async def message(self) -> dict[str, Any]:
        """The next JSON message that is no position."""
        while True:
            message = await self.any_message()
            if message["type"] != "position":
                return message

    async def messages(self, count: int) -> list[dict[str, Any]]:
        """The next `count` messages that are no positions."""
        return [await self.message() for _ in range(count)]

    async def closed(self) -> Closed:
        """Reads on until the close frame; answers it, and sees the connection end."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                await self.send_bytes(client_frame(CLOSE, payload[:2]))
                await self.ended()
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                return Closed(code, payload[2:].decode())

    async def ended(self) -> None:
        """Sees the server's end of the connection."""
        assert await asyncio.wait_for(self._reader.read(), TIMEOUT_SECONDS) == b""

    @property
    def socket(self) -> Any:
        """The socket, for options and unclean ends."""
        return self._writer.get_extra_info("socket")

    @property
    def transport(self) -> Any:
        """The transport, to stop reading or to abort."""
        return self._writer.transport

    async def close(self) -> None:
        """Hangs up without a goodbye."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass
