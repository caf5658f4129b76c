"""What a client can have the node hold besides its write buffer: counted, ended, let go."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.support.coremodel import World
from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.simcore import virtual_time
from tests.support.slowclient import (
    BIG,
    data_of,
    hear_until,
    open_slow,
    publish_numbers,
    seqs_of,
    subscribing,
)
from tests.support.wsclient import PONG, TEXT, WsClient, client_frame, request, subscribe, text_frame
from wsnode.link import PLAIN
from wsnode.node import Node
from wsnode.ring import Window

MANY = 400


async def _publish_channels(server: NatsServer, first: int, last: int, text: str = BIG) -> None:
    """One message of each of as many channels, `S<number>.x`."""
    await server.publish(*((f"S{n}.x", b'{"text":"%b"}' % text.encode()) for n in range(first, last + 1)))


async def _read(node: Node, position: int) -> None:
    await until(lambda: node.feed.position == position and not node._fanout.busy)


@asynccontextmanager
async def _alive(*clients: WsClient, frame: bytes = b"") -> AsyncIterator[None]:
    """Clients that give signs of life all the time, asked or not, and read nothing."""

    async def live() -> None:
        while True:
            for client in clients:
                await client.send_bytes(frame or client_frame(PONG, b""))
            await asyncio.sleep(0.1)

    living = asyncio.create_task(live())
    try:
        yield
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)


async def _conflating(node: Node, server: NatsServer, name: str = "*") -> WsClient:
    client = await open_slow(node.port)
    await client.ask(subscribing(name, conflate=True))
    await _publish_channels(server, 1, MANY)
    await until(lambda: any(link.extra is not None and link.extra.passed for link in node._links.behind))
    return client


async def _resuming(node: Node, server: NatsServer) -> WsClient:
    if not node.feed.position:
        await _publish_channels(server, 1, MANY)
    await until(lambda: node.feed.position == MANY)
    client = await open_slow(node.port)
    await client.send(subscribing("*", resume={"epoch": node.feed.epoch, "seq": 0}))
    await until(lambda: any(link.extra is not None and link.extra.joining for link in node._links.behind))
    return client


async def test_who_takes_nothing_of_what_waits_is_too_slow_whatever_life_it_shows(
    nats_server: NatsServer,
) -> None:
    settings = node_settings(nats_server.url, ping_interval=1, ping_timeout=2, close_timeout=0.5)
    async with running_node(settings) as node:
        clients = [await waiting(node, nats_server) for waiting in (_conflating, _resuming)]
        async with _alive(*clients):
            await until(lambda: node.connections == 0)
        assert node.counters.connections_closed == {"slow": 2}
        assert node.counters.slow_clients == 2
        await until(lambda: node._links.total == 0)
        assert (node._links.buffered_bytes, node._links.held_bytes) == (0, 0)
        for client in clients:
            await client.close()


async def test_who_takes_something_now_and_then_is_not_too_slow(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, ping_interval=1, ping_timeout=2)
    async with running_node(settings) as node:
        client = await _conflating(node, nats_server)
        (link,) = node._links.behind
        async with _alive(client):
            for _ in range(5):
                took = node._links.behind[link]
                while node._links.behind.get(link) == took:  # a piece, until the node sees that it was taken
                    await client.any_message()
                await asyncio.sleep(1)
                if link not in node._links.behind:
                    break
        assert node.connections == 1
        assert node.counters.slow_clients == 0
        await client.close()


async def test_what_left_the_ring_is_let_go_and_told(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, ping_interval=1, js_stream_max_age=600, js_stream_max_msgs=300)
    async with running_node(settings) as node:
        client = await _conflating(node, nats_server)
        await publish_numbers(nats_server, "Q.q", 1, 200)
        await _read(node, MANY + 200)
        (link,) = node._links.behind
        extra = link.with_extra()
        oldest = node._ring.oldest
        await until(lambda: all(p.message.seq >= oldest for p in extra.passed.values()))
        assert len(extra.passed) == 101  # S300.x to S400.x, and all that is left of Q.q is one
        await until(lambda: node._links.held_bytes == 100 * 101)
        heard = await hear_until(client, MANY + 200)
        given = seqs_of(heard)
        told = next(i for i, m in enumerate(heard) if m["type"] == "position" and "prev" in m)
        before = seqs_of(heard[:told])
        assert heard[told]["prev"] == oldest - 1
        assert before[-1] < heard[told]["seq"] < oldest
        assert given == [*before, *range(oldest, MANY + 1), MANY + 200]
        await until(lambda: node._links.held_bytes == 0)
        await client.close()


async def test_a_loss_of_all_that_waited_is_told_too(nats_server: NatsServer) -> None:
    settings = node_settings(
        nats_server.url, ping_interval=1, position_interval=1, js_stream_max_age=600, js_stream_max_msgs=300
    )
    async with running_node(settings) as node:
        client = await _conflating(node, nats_server, "*.x")
        (link,) = node._links.behind
        await publish_numbers(nats_server, "Q.q", 1, MANY)
        await until(lambda: not link.with_extra().passed)
        await client.send({"type": "heartbeat"})
        heard = await hear_until(client, "pong")
        told = next(m for m in heard if m["type"] == "position" and "prev" in m)
        given = seqs_of(heard)
        assert given == list(range(1, len(given) + 1))
        assert told["prev"] == MANY > given[-1]
        assert (await hear_until(client, "position"))[-1]["seq"] == 2 * MANY
        await _publish_channels(nats_server, 1, 1)
        (again,) = data_of(await hear_until(client, 2 * MANY + 1))
        assert (again["prev"], "skipped" in again) == (1, False)
        await client.close()


async def test_a_plan_that_left_the_ring_is_let_go_and_told(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, ping_interval=1, js_stream_max_age=600, js_stream_max_msgs=MANY)
    async with running_node(settings) as node:
        client = await _resuming(node, nats_server)
        (link,) = node._links.behind
        joining = link.with_extra().joining
        assert joining is not None
        assert joining.plan
        await publish_numbers(nats_server, "Q.q", 1, MANY)
        await _read(node, 2 * MANY)
        await until(lambda: not joining.plan)
        heard = await hear_until(client, "caught_up")
        before = seqs_of(heard)
        assert before == list(range(1, len(before) + 1))
        assert heard[-1]["missing"][1] == MANY > before[-1] >= heard[-1]["missing"][0] - 1
        assert seqs_of(await hear_until(client, 2 * MANY)) == list(range(MANY + 1, 2 * MANY + 1))
        await client.close()


def _half_a_frame(size: int = 60_000) -> bytes:
    return struct.pack("!BBH", 0x81, 0x80 | 126, 65_535) + b"\0" * 4 + b"x" * size


def _half_a_message(size: int = 60_000) -> bytes:
    return struct.pack("!BBH", 0x01, 0x80 | 126, size) + b"\0" * 4 + b"x" * size


async def test_what_is_begun_has_to_end(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, handshake_timeout=1)
    begun = [_half_a_frame(), _half_a_message(), _half_a_message()]
    more = [b"x", client_frame(0, b"x", fin=False), client_frame(PONG, b"")]
    async with running_node(settings) as node, AsyncExitStack() as living:
        clients = [await WsClient.open(node.port) for _ in begun]
        for client, first, next_ones in zip(clients, begun, more, strict=True):
            await client.send_bytes(first)
            await living.enter_async_context(_alive(client, frame=next_ones))
        await until(lambda: node._links.held_bytes >= 3 * 60_000)
        for client in clients:
            closed = await client.closed()
            assert (closed.code, closed.reason) == (1008, "too slow: a message that was begun did not end")
        assert node.counters.connections_closed == {"timeout": 3}
        assert node._links.held_bytes == 0
        for client in clients:
            await client.close()


def test_the_time_of_each_frame_and_message_is_its_own() -> None:
    with virtual_time(random.Random(1), 0.0) as loop:
        world = World(loop, Window(600, 100, 10**6), 100, 5.0)
        links, read = world.links, world.sessions.read
        link, theirs = world.connect(PLAIN)
        frame = text_frame({"type": "heartbeat"})

        def comes(now: int, data: bytes) -> int | None:
            links.now = now
            read(link, data)
            return links.under_way.get(link)

        assert comes(1, frame) is None
        assert comes(2, frame[:4]) == 2
        assert comes(3, frame[4:7]) == 2
        assert comes(4, frame[7:] + frame[:4]) == 4
        assert comes(5, frame[4:]) is None
        assert comes(6, client_frame(TEXT, b"x", fin=False)) == 6
        assert comes(7, client_frame(PONG, b"")) == 6
        assert comes(8, client_frame(0, b"x", fin=False) + frame[:1]) == 6
        links.drop(link, "gone")
        assert not links.under_way
        theirs.close()
        links.shut()


async def test_what_is_held_besides_counts_against_the_budget(nats_server: NatsServer) -> None:
    settings = node_settings(
        nats_server.url, client_buffer_bytes=65_536, client_buffer_total_bytes=150_000, handshake_timeout=60
    )
    async with running_node(settings) as node:
        good = await WsClient.open(node.port, "A.b")
        half = []
        for _ in range(4):
            half.append(socket.create_connection(("127.0.0.1", node.port)))
            half[-1].sendall(request(node.port) + text_frame(subscribe("A.b")) + _half_a_frame())
        await until(lambda: node.counters.slow_clients == 2)
        assert node.counters.connections_closed == {"slow": 2}
        assert 2 * 60_000 <= node._links.held_bytes <= 150_000
        await nats_server.publish(("A.b", b"1"))
        assert (await good.message())["data"] == 1
        for one in half:
            one.close()
        await until(lambda: node.connections == 1)
        assert node._links.held_bytes == 0
        await good.close()
