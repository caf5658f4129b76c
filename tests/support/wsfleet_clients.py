"""Clients of a fleet, and a publisher to its NATS, from the machine that the tests run on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import nats
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.cluster.release import SYSTEM_NAMESPACE
from tests.support.cluster import Client
from tests.support.release import NATS_SERVICE

OPEN_SECONDS = 10.0
ANSWER_SECONDS = 15.0
ROUTE_SECONDS = 20.0


class FleetClient:
    """One connection; the node told its name in hello."""

    def __init__(self, address: str, seconds: float) -> None:
        self._stack = ExitStack()
        opening = connect(f"ws://{address}/ws", open_timeout=seconds, close_timeout=2)
        self.connection: ClientConnection = self._stack.enter_context(opening)
        self.node = str(self.next_of("hello")["node"])

    def close(self) -> None:
        self._stack.close()

    def next_of(self, type_: str, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next message of a type; others are passed over."""
        end = time.monotonic() + seconds
        while True:
            message = json.loads(self.connection.recv(timeout=max(0.01, end - time.monotonic())))
            if message.get("type") == type_:
                found: dict[str, Any] = message
                return found

    def subscribe(self, *channels: str) -> None:
        self._send({"type": "subscribe", "data": {"channels": list(channels)}})
        self.next_of("subscription_ack")

    def alive(self) -> bool:
        """Whether the node answers on this connection."""
        try:
            self._send({"type": "heartbeat"})
            self.next_of("pong")
        except ConnectionClosed:
            return False
        return True

    def wait_closed(self, seconds: float) -> tuple[int, str]:
        """Code and reason of the close that the node sends within so many seconds."""
        end = time.monotonic() + seconds
        try:
            while True:
                self.connection.recv(timeout=max(0.01, end - time.monotonic()))
        except ConnectionClosed as closed:
            frame = closed.rcvd
        return (frame.code, frame.reason) if frame else (1006, "no close frame")

    def _send(self, message: Any) -> None:
        self.connection.send(json.dumps(message))


def open_client(address: str, seconds: float = OPEN_SECONDS) -> FleetClient:
    """A client of the Service; raises OSError, TimeoutError or InvalidHandshake if it does not get in."""
    return FleetClient(address, seconds)


@contextmanager
def clients(address: str, number: int) -> Iterator[list[FleetClient]]:
    """So many clients, all closed at the end. Routes to a new Service may take seconds."""
    with ExitStack() as stack:
        found: list[FleetClient] = []
        end = time.monotonic() + ROUTE_SECONDS
        while len(found) < number:
            try:
                client = open_client(address, 2.0 if not found else OPEN_SECONDS)
            except OSError:
                if found or time.monotonic() > end:
                    raise
                time.sleep(0.2)
                continue
            stack.callback(client.close)
            found.append(client)
        yield found


def publish(cluster: Client, channel: str, *payloads: Any) -> None:
    """Publish messages of a channel to the quick start's NATS."""
    address = cluster.service_address(NATS_SERVICE, SYSTEM_NAMESPACE)

    async def send() -> None:
        connection = await nats.connect(f"nats://{address}:4222", connect_timeout=5)
        stream = connection.jetstream()
        for payload in payloads:
            await stream.publish(f"odin.token.{channel}", json.dumps(payload).encode())
        await connection.close()

    asyncio.run(send())
