"""A client of the stream of events for tests that sees every byte: no EventSource's mercy."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self

TIMEOUT_SECONDS = 15.0


def stream_request(port: int, path: str, method: str = "GET", **headers: str) -> bytes:
    """A request as a browser's EventSource sends it; `headers` add to the usual ones (_ stands for -)."""
    fields = {"Host": f"127.0.0.1:{port}", "Accept": "text/event-stream", "Cache-Control": "no-cache"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


@dataclass
class Event:
    """One event: the id it brought, empty without one, and its JSON message."""

    id: str
    message: dict[str, Any]


class SseClient:
    """One stream. `await SseClient.open(port, "/sse?channels=A.b")` has read the head already.

    Attributes:
        status, headers (lower case), head (as it came): of the response.
        retries: what `retry` said, in order.
        comments: how many comments came.
        last_id: what would be sent back as Last-Event-ID.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.head = b""
        self.retries: list[int] = []
        self.comments = 0
        self.last_id = ""

    @classmethod
    async def connect(cls, port: int, first: bytes) -> Self:
        """A connection on which `first` was sent, and the head of the answer read."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        try:
            await client.send_bytes(first)
            client.head = await asyncio.wait_for(client._reader.readuntil(b"\r\n\r\n"), TIMEOUT_SECONDS)
        except BaseException:
            client.transport.abort()
            raise
        first_line, *lines = client.head.decode().split("\r\n")[:-2]
        client.status = int(first_line.split()[1])
        for line in lines:
            name, _, value = line.partition(":")
            client.headers[name.lower()] = value.strip()
        return client

    @classmethod
    async def open(cls, port: int, path: str = "/sse", **headers: str) -> Self:
        """A client that is let in."""
        client = await cls.connect(port, stream_request(port, path, **headers))
        assert client.status == 200, client.head
        return client

    async def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def event(self) -> Event | None:
        """The next event; None at the end of the stream. Interpreted as the HTML standard says."""
        data: list[str] = []
        own_id = ""
        while True:
            line = (await asyncio.wait_for(self._reader.readline(), TIMEOUT_SECONDS)).decode()
            if not line:
                return None
            name, _, value = line.rstrip("\n").partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "id":
                own_id = value
            elif name == "retry":
                self.retries.append(int(value))
            elif line.startswith(":"):
                self.comments += 1
            elif line == "\n" and data:
                self.last_id = own_id or self.last_id
                return Event(own_id, json.loads("\n".join(data)))
            else:
                assert line == "\n", line

    async def message(self) -> dict[str, Any]:
        """The next message that is no position."""
        while True:
            event = await self.event()
            assert event is not None, "the stream has ended"
            if event.message["type"] != "position":
                return event.message

    async def messages(self, count: int) -> list[dict[str, Any]]:
        """The next `count` messages that are no positions."""
        return [await self.message() for _ in range(count)]

    async def ended(self) -> None:
        """Reads on to the end of the stream."""
        while await self.event() is not None:
            pass

    async def body(self) -> bytes:
        """All that follows the head, to the end of the connection."""
        return await asyncio.wait_for(self._reader.read(), TIMEOUT_SECONDS)

    @property
    def socket(self) -> Any:
        """The socket, for options and unclean ends."""
        return self._writer.get_extra_info("socket")

    @property
    def transport(self) -> Any:
        """The transport, to stop reading or to abort."""
        return self._writer.transport

    async def close(self) -> None:
        """Hangs up."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass
