"""The feed and its broker: away, gone, hanging, slow, killed again and again. Nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.support.feeds import Way, cut, data, each_way, lives_on_the_flow, seeded
from tests.support.nats import STREAM, NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.slow_link import slow_link
from tests.support.wsclient import WsClient
from wsnode.jetstream import INACTIVE_SECONDS

KILLS = 20


async def test_a_broker_that_is_away_at_start_is_waited_for(nats_server: NatsServer) -> None:
    nats_server.kill()
    async with running_node(node_settings(nats_server.url), ready=False) as node:
        await until(lambda: node.feed.trouble)
        assert not node.ready
        assert str(node.not_ready_reason).startswith(f"has not reached NATS at {nats_server.url}: ")
        assert "Errno 111" in str(node.feed.trouble)  # the cause, and not what comes of it
        client = await WsClient.open(node.port)  # whoever comes all the same is let in
        nats_server.start()
        await until(lambda: node.ready)
        assert node.feed.trouble is None
        assert (await client.message())["type"] == "hello"  # the stream is known now
        await client.close()


@each_way
async def test_a_broker_that_goes_away_later_closes_nobody(nats_server: NatsServer, way: Way) -> None:
    async with running_node(way.settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        nats_server.kill()
        assert await client.message() == {"type": "feed", "connected": False}
        assert node.ready
        assert not node.feed.connected
        assert (await client.ask({"type": "heartbeat"}))["type"] == "pong"
        nats_server.start()
        assert await client.message() == {"type": "feed", "connected": True}
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["prev"] == 0
        await client.close()


@each_way
async def test_a_broker_that_hangs_is_noticed_by_its_silence(
    nats_server: NatsServer, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.feed_republished.CHECK_SECONDS", 0.5)
    async with running_node(way.settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        nats_server.freeze()
        await until(lambda: not node.feed.connected)
        nats_server.thaw()
        await until(lambda: node.feed.connected)
        await nats_server.publish(("A.b", b"1"))
        assert [m["data"] for m in await data(client, 1)] == [1]
        await client.close()


@each_way
async def test_killed_twenty_times_with_a_backlog_nothing_is_lost_or_doubled(
    nats_server: NatsServer, way: Way
) -> None:
    source = random.Random(seeded())
    await nats_server.create_stream(**way.stream)
    sent: list[int] = []
    async with running_node(way.settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        for _ in range(KILLS):
            for _ in range(source.randrange(1, 4)):
                numbers = range(len(sent), len(sent) + source.randrange(1, 200))
                sent += await nats_server.publish(*(("A.b", b"%d" % number) for number in numbers))
                await asyncio.sleep(source.random() * 0.05)
            nats_server.kill()
            await asyncio.sleep(source.random() * 0.1)
            nats_server.start()
        got = await data(client, len(sent))
        assert [m["seq"] for m in got] == sent
        assert [m["data"] for m in got] == list(range(len(sent)))
        assert [m["prev"] for m in got[1:]] == sent[:-1]
        await client.close()


@each_way
async def test_killed_while_messages_are_on_their_way(nats_server: NatsServer, way: Way) -> None:
    await nats_server.create_stream(**way.stream)
    numbers = range(5000)
    await nats_server.publish(*(("A.b", b"%d" % number) for number in numbers))
    settings = way.settings(nats_server.url, max_nats_rate=4000)
    async with running_node(settings, ready=False) as node:
        client = await WsClient.open(node.port, "A.b")
        for _ in range(4):
            await asyncio.sleep(0.2)
            nats_server.kill()
            nats_server.start()
        # The stream became known after the client came: it was introduced anew.
        got = await data(client, 5000)
        assert [m["data"] for m in got] == list(numbers)
        await client.close()


@each_way
async def test_a_connection_cut_while_messages_flow_loses_none(nats_server: NatsServer, way: Way) -> None:
    source = random.Random(seeded())
    async with running_node(way.settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        jetstream = broker.jetstream()
        for number in range(600):
            await jetstream.publish("odin.token.A.b", b"%d" % number)
            if source.random() < 0.05:
                await asyncio.sleep(source.random() * 0.3)
                cut(node)
        got = await data(client, 600)
        assert [m["data"] for m in got] == list(range(600))
        assert [m["prev"] for m in got] == list(range(600))
        assert node.counters.feed_reconnects > 0
        await client.close()


@each_way
async def test_a_slow_link_to_the_broker_only_takes_longer(nats_server: NatsServer, way: Way) -> None:
    await nats_server.create_stream(**way.stream)
    payload = b'"%s"' % (b"x" * 400)
    await nats_server.publish(*(("A.b", payload) for _ in range(600)))
    async with (
        slow_link(nats_server.port, 500_000, 0.02) as port,
        running_node(way.settings(f"nats://127.0.0.1:{port}")) as node,
    ):
        assert node.feed.position == 600
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(*(("A.b", payload) for _ in range(200)))
        assert [m["prev"] for m in await data(client, 200)] == list(range(600, 800))
        assert (node.counters.feed_reconnects, node.counters.feed_gaps) == (0, 0)
        await client.close()


@each_way
async def test_reading_ends_when_told_whatever_it_is_doing(nats_server: NatsServer, way: Way) -> None:
    source = random.Random(seeded())
    for _ in range(30):
        async with running_node(way.settings(nats_server.url), ready=False) as node:
            await asyncio.sleep(source.random() * 0.03)
    async with running_node(way.settings(nats_server.url)) as node:
        if way.node:
            await lives_on_the_flow(node)
    async with nats_server.client() as broker:
        async with asyncio.timeout(INACTIVE_SECONDS + 3):
            while await broker.jetstream().consumers_info(STREAM):
                await asyncio.sleep(0.05)
