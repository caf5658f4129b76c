"""A small server that speaks the nodes' wire protocol, and can be told to break it.

Not a mock of the node: a second, independent speaker of the protocol, so that the clients' checks can
be seen to fail where a node that works gives them no reason to. Built on `websockets`' server.
"""

from __future__ import annotations

import asyncio
import http
import json
import time
from collections.abc import Sequence
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State


class ProtocolServer:
    """Listens on 127.0.0.1. `async with ProtocolServer() as server: server.publish("BTC.trade")`."""

    def __init__(
        self,
        node: str = "node-a",
        epoch: str = "e1",
        *,
        seq: int = 100,
        port: int = 0,
        acknowledge: bool = True,
        resumes: bool = True,
    ) -> None:
        self.node, self.epoch, self.seq = node, epoch, seq
        self.port = port
        self.acknowledge, self.resumes = acknowledge, resumes
        self.history: list[tuple[int, str, str]] = []
        """Sequence, channel and text of what was published; `forgotten` up to there is gone."""
        self.forgotten = seq
        self.answers = True
        self.refuse: tuple[int, str | None] | None = None
        """Status and Retry-After for new connections, while set."""
        self.prevs: dict[str, int] = {}
        self.first_seq = seq
        self.connections: set[ServerConnection] = set()
        self.clients: dict[ServerConnection, set[str]] = {}
        """The subscribed ones."""
        self.received: list[dict[str, Any]] = []
        self.received_closes: list[int | None] = []
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve_client,
            "127.0.0.1",
            self.port,
            process_request=self._process_request,
            compression=None,
            ping_interval=None,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def publish(self, channel: str, data: Any = None, *, skip: Sequence[ServerConnection] = ()) -> str:
        """One message to all subscribers but those in `skip`: these lose it, and the next `prev` says so."""
        text = self.make(channel, data)
        self.send(channel, text, skip=skip)
        return text

    def make(self, channel: str, data: Any = None) -> str:
        """The next message of the stream, not sent."""
        self.seq += 1
        prev, self.prevs[channel] = self.prevs.get(channel, self.first_seq), self.seq
        message = {
            "seq": self.seq,
            "ts": time.time_ns() // 1_000_000,
            "type": "price:update",
            "channel": channel,
            "prev": prev,
            "data": {"price": 1} if data is None else data,
        }
        text = json.dumps(message, separators=(",", ":"))
        self.history.append((self.seq, channel, text))
        return text

    def send(self, channel: str, text: str, *, skip: Sequence[ServerConnection] = ()) -> None:
        """Any text to all subscribers of the channel."""
        for client, channels in list(self.clients.items()):
            if channel in channels and client not in skip:
                self._write(client, text)

    def position(self, seq: int | None = None, lost: int = 0) -> None:
        """A position to everybody."""
        told = {"type": "position", "seq": self.seq if seq is None else seq} | (
            {"prev": lost} if lost else {}
        )
        text = json.dumps(told, separators=(",", ":"))
        self.say(text)

    def say(self, text: str) -> None:
        """Any text to every connection."""
        for client in list(self.connections):
            self._write(client, text)

    async def close_all(self, code: int, reason: str = "") -> None:
        """Close every connection with a close frame."""
        await asyncio.gather(*(client.close(code, reason) for client in list(self.connections)))

    def abort_all(self) -> None:
        """Reset every connection, without a close frame."""
        for client in list(self.connections):
            client.transport.abort()
        self.clients.clear()

    @staticmethod
    def _write(client: ServerConnection, text: str) -> None:
        if client.state is not State.OPEN:  # cut off, and not yet told so
            return
        client.protocol.send_text(text.encode())
        client.send_data()

    def _process_request(self, connection: ServerConnection, _request: Request) -> Response | None:
        if self.refuse is None:
            return None
        status, retry_after = self.refuse
        response = connection.respond(http.HTTPStatus(status), "not now\n")
        if retry_after is not None:
            response.headers["Retry-After"] = retry_after
        assert isinstance(response.headers, Headers)
        return response

    async def _serve_client(self, client: ServerConnection) -> None:
        hello = {"type": "hello", "node": self.node, "epoch": self.epoch, "head": self.seq, "oldest": 0}
        self._write(client, json.dumps(hello))
        self.connections.add(client)
        try:
            async for text in client:
                self._answer(client, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.connections.discard(client)
            self.clients.pop(client, None)
            self.received_closes.append(client.close_code)

    def _answer(self, client: ServerConnection, message: dict[str, Any]) -> None:
        self.received.append(message)
        if not self.answers:
            return
        if message["type"] == "heartbeat":
            self._write(client, json.dumps({"type": "pong", "ts": 0, "seq": self.seq}))
        elif message["type"] == "subscribe" and self.acknowledge:
            channels = message["data"]["channels"]
            self.clients.setdefault(client, set()).update(channels)
            answer = {
                "type": "subscription_ack",
                "subscribed": channels,
                "count": len(channels),
                "seq": self.seq,
            }
            resume = message["data"].get("resume") if self.resumes else None
            if resume is None:
                self._write(client, json.dumps(answer))
                return
            had = {name: resume.get("channels", {}).get(name, resume["seq"]) for name in channels}
            answer["channels"] = {name: self._outcome(resume["epoch"], seq) for name, seq in had.items()}
            self._write(client, json.dumps(answer))
            self._replay(client, resume["epoch"], had)

    def _outcome(self, epoch: str, had: int) -> dict[str, Any]:
        if epoch != self.epoch:
            return {"recovered": False}
        if had >= self.forgotten:
            return {"recovered": True}
        return {"recovered": False, "missing": [had + 1, self.forgotten]}

    def _replay(self, client: ServerConnection, epoch: str, had: dict[str, int]) -> None:
        if epoch != self.epoch:
            return
        for seq, channel, text in self.history:
            if seq > max(self.forgotten, had.get(channel, seq)):
                self._write(client, text)
        for name in had:
            self._write(client, json.dumps({"type": "caught_up", "channel": name, "seq": self.seq}))
