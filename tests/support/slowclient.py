"""Clients that read only when the test does: what they do not take stays in the node."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tests.support.nats import NatsServer
from tests.support.wsclient import WsClient, request

BIG = "x" * 8000
"""Some forty of these fill what kernels hold between a node and a client that does not read."""
FILLING = 60
HEARING_SECONDS = 20.0


async def open_slow(port: int, path: str = "/ws", **headers: str) -> WsClient:
    """A client that is let in, on a connection with small buffers."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
    client = WsClient(*await asyncio.open_connection(sock=own, limit=4096))
    await client.send_bytes(request(port, path, **headers))
    status, _, _ = await client.response()
    assert status == 101, status
    client.hello = await client.message()
    return client


def subscribing(*channels: str, **data: Any) -> dict[str, Any]:
    """A subscribe with options."""
    return {"type": "subscribe", "data": {"channels": list(channels), **data}}


async def publish_numbers(server: NatsServer, channel: str, first: int, last: int, text: str = "") -> None:
    """Messages of a channel, numbered."""
    await server.publish(
        *((channel, b'{"n":%d,"text":"%b"}' % (n, text.encode())) for n in range(first, last + 1))
    )


async def hear_until(client: WsClient, last: str | int) -> list[dict[str, Any]]:
    """All messages up to the next of this type, or the data message of this sequence; that one last."""
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(HEARING_SECONDS):
        while True:
            heard.append(message := await client.any_message())
            if message["type"] == last or (message.get("seq") == last and "prev" in message):
                return heard


async def hear(client: WsClient, count: int) -> list[dict[str, Any]]:
    """The next messages that are no positions."""
    async with asyncio.timeout(HEARING_SECONDS):
        return await client.messages(count)


def data_of(heard: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are data."""
    return [message for message in heard if "channel" in message and "prev" in message]


def seqs_of(heard: list[dict[str, Any]], channel: str = "") -> list[int]:
    """The sequences of data messages, of one channel or of all."""
    return [m["seq"] for m in data_of(heard) if channel in ("", m["channel"])]
