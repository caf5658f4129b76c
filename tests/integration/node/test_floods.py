"""Clients that send without end: each costs the node a little, and the others nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node
from tests.support.rawwire import OFFER, deflated
from tests.support.wsclient import PING, PONG, TEXT, WsClient, client_frame, subscribe, text_frame
from wsnode.link import Link

FLOODS = {
    "pings": client_frame(PING, b""),
    "pongs": client_frame(PONG, b""),
    "heartbeats": text_frame({"type": "heartbeat"}),
    "rubbish": client_frame(TEXT, b""),
    "subscribes": text_frame(subscribe(*(f"A.{number}" for number in range(90)))),
    "binary": client_frame(2, b""),
    "fragments": client_frame(0, b"", fin=False),
    "bombs": client_frame(TEXT, deflated(b'"' + b"x" * 65_000 + b'"'), bits=0x40),
}


async def _flood(client: WsClient, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await client.send_bytes(data)


async def _swallow(client: WsClient) -> None:
    while await client._reader.read(65_536):
        pass


@pytest.mark.parametrize("kind", FLOODS)
async def test_floods_do_not_hold_up_the_others(nats_server: NatsServer, kind: str) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        floods = [await WsClient.open(node.port, Sec_WebSocket_Extensions=OFFER) for _ in range(8)]
        quiet = await WsClient.open(node.port, "A.b")
        reads = 0
        receive = node._links.on_data

        def counted(link: Link, received: bytes) -> None:
            nonlocal reads
            reads += bool(received)  # nothing: it goes on with what was read before
            receive(link, received)

        node._links.on_data = counted
        data = FLOODS[kind] * (32_768 // len(FLOODS[kind]))
        if kind == "fragments":
            for client in floods:
                await client.send_bytes(client_frame(TEXT, b"", fin=False))
        tasks = [asyncio.create_task(_flood(client, data)) for client in floods]
        tasks += [asyncio.create_task(_swallow(client)) for client in floods]
        started = time.monotonic()
        for _ in range(10):
            assert (await quiet.ask({"type": "heartbeat"}))["type"] == "pong"
            await nats_server.publish(("A.b", b"1"))
            assert (await quiet.message())["type"] == "price:update"
            await asyncio.sleep(0.11)
        # What is too much is read once a second; until then a burst may come in several reads.
        seconds = time.monotonic() - started
        assert reads <= 10 + len(floods) * (seconds + 2 + 10)
        assert node.connections == 9  # that is no reason to be cut
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in floods:
            client.transport.abort()  # what it still has to send would take its time
        for client in (*floods, quiet):
            await client.close()
