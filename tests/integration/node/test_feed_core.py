"""WS_FEED=core: messages without JetStream, counted by the node itself, and every loss told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client

from tests.support.feeds import cut, data, hold, seeded, settle, transport_of
from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient, subscribe
from wsnode.config import Settings
from wsnode.natsclient import settled


def _settings(server: NatsServer, **changes: Any) -> Settings:
    return node_settings(server.url, feed="core", **changes)


async def _say(broker: Client, *messages: tuple[str, bytes]) -> None:
    for channel, payload in messages:
        await broker.publish(f"odin.token.{channel}", payload)
    await settled(broker)


@asynccontextmanager
async def _publisher(server: NatsServer) -> AsyncIterator[Client]:
    async with server.client() as client:
        yield client


async def test_messages_are_counted_by_the_node(nats_server: NatsServer) -> None:
    async with running_node(_settings(nats_server)) as node, _publisher(nats_server) as broker:
        client = await WsClient.open(node.port, "A.b", "C.d")
        assert (client.hello["feed"], client.hello["head"]) == ("core", 0)
        await broker.publish("odin.token.A.b", b"1", headers={"Ws-Type": "trade:new"})
        await _say(broker, ("C.d", b"2"), ("E.f", b"3"), ("A.b", b"4"), ("A.b", b"nonsense"), ("A.b", b"5"))
        got = await data(client, 4)
        assert [(m["seq"], m["channel"], m["prev"], m["data"]) for m in got] == [
            (1, "A.b", 0, 1),
            (2, "C.d", 0, 2),
            (4, "A.b", 1, 4),
            (6, "A.b", 5, 5),  # not JSON: left out, and told
        ]
        assert (got[0]["type"], got[1]["type"]) == ("trade:new", "price:update")
        assert node.counters.bad_payloads == {"json": 1}
        await client.close()


async def test_no_stream_is_made_and_none_is_needed(nats_server: NatsServer) -> None:
    async with running_node(_settings(nats_server)) as node, nats_server.client() as broker:
        assert await broker.jetstream().streams_info() == []
        assert (node.feed.seeded, node.feed.stream, node.feed.lag) == (True, None, 0)


async def test_a_client_resumes_here_and_nowhere_else(nats_server: NatsServer) -> None:
    other = _settings(nats_server, node_name="node-b")
    async with (
        running_node(_settings(nats_server)) as a,
        running_node(other) as b,
        _publisher(nats_server) as broker,
    ):
        await _say(broker, *(("A.b", b"%d" % number) for number in range(1, 4)))
        await until(lambda: a.feed.position == b.feed.position == 3)
        resume = {"epoch": a.feed.epoch, "seq": 1}
        wish = {"type": "subscribe", "data": {"channels": ["A.b"], "resume": resume}}
        client = await WsClient.open(a.port)
        assert (await client.ask(wish))["channels"] == {"A.b": {"recovered": True}}
        assert [m["data"] for m in await data(client, 2)] == [2, 3]
        await client.close()
        client = await WsClient.open(b.port)
        assert (await client.ask(wish))["channels"] == {"A.b": {"recovered": False}}
        await client.close()


async def test_whoever_came_before_the_broker_is_introduced_when_messages_can_come(
    nats_server: NatsServer,
) -> None:
    nats_server.kill()
    async with running_node(_settings(nats_server), ready=False) as node:
        client = await WsClient.open(node.port, "A.b")
        nats_server.start()
        assert (await client.message())["epoch"] == node.feed.epoch != ""
        assert (await client.message())["seq"] == 0
        assert node.ready
        await client.close()


async def test_a_lost_connection_is_a_hole_for_all_channels(nats_server: NatsServer) -> None:
    async with running_node(_settings(nats_server, position_interval=1)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        async with _publisher(nats_server) as broker:
            await _say(broker, ("A.b", b"1"))
        assert (await client.message())["seq"] == 1
        nats_server.kill()
        assert await client.message() == {"type": "feed", "connected": False}
        late = await WsClient.open(node.port)  # it may miss what others miss now
        assert (await late.message())["type"] == "feed"
        assert (await late.ask(subscribe("A.b")))["seq"] == 1
        nats_server.start()
        assert await client.message() == {"type": "feed", "connected": True}
        while (position := await client.any_message())["type"] != "position":
            pass
        assert (position["seq"], position["prev"]) == (2, 2)
        async with _publisher(nats_server) as broker:
            await _say(broker, ("A.b", b"2"), ("C.d", b"3"))
        got = await data(client, 2)
        assert [(m["seq"], m["channel"], m["prev"]) for m in got] == [(3, "A.b", 2), (4, "C.d", 2)]
        assert (await data(late, 1))[0]["prev"] == 2
        assert node.counters.stream_holes == 1
        await client.close()
        await late.close()


async def test_a_pause_is_a_hole_too(nats_server: NatsServer) -> None:
    async with running_node(_settings(nats_server)) as node, _publisher(nats_server) as broker:
        client = await WsClient.open(node.port, "A.b")
        hold(node, True)
        await asyncio.sleep(0.1)
        await _say(broker, ("A.b", b"1"))
        hold(node, False)
        await until(lambda: node.feed.position == 1)
        await _say(broker, ("A.b", b"2"))
        message = (await data(client, 1))[0]
        assert (message["seq"], message["prev"], message["data"]) == (2, 1, 2)
        await client.close()


async def test_what_comes_faster_than_the_rate_is_told_and_counted(nats_server: NatsServer) -> None:
    async with (
        running_node(_settings(nats_server, max_nats_rate=50)) as node,
        _publisher(nats_server) as broker,
    ):
        client = await WsClient.open(node.port, "A.b")
        await _say(broker, *(("A.b", b"%d" % number) for number in range(300)))
        await until(lambda: node.feed.position == 300)
        await asyncio.sleep(0.1)
        await _say(broker, ("A.b", b"300"))
        got = [(await data(client, 1))[0]]
        while got[-1]["data"] != 300:
            got += await data(client, 1)
        assert [m["seq"] for m in got] == [m["data"] + 1 for m in got]
        assert got[-1]["prev"] == 300
        assert node.counters.bad_payloads["rate"] == 301 - len(got)
        assert len(got) < 60
        await client.close()


async def test_a_node_that_the_broker_cuts_for_being_slow_tells_it(nats_server: NatsServer) -> None:
    """What nats-server does to a reader that does not keep up."""
    async with running_node(_settings(nats_server)) as node, _publisher(nats_server) as broker:
        client = await WsClient.open(node.port, "A.b")
        await _say(broker, ("A.b", b"0"))
        await data(client, 1)
        await settle()  # the node reads again, after a pause of its own
        transport = transport_of(node)
        transport.pause_reading()
        payload = b'"%s"' % (b"x" * 60_000)
        for _ in range(1500):  # 90 MB: more than the server keeps for one connection, 64 MB
            await broker.publish("odin.token.A.b", payload)
        await broker.flush(30)
        transport.resume_reading()
        await until(lambda: node.counters.stream_holes == 1, 40)
        await client.close()
        client = await WsClient.open(node.port, "A.b")
        await _say(broker, ("A.b", b"1"))
        assert (await data(client, 1))[0]["prev"] >= 1
        await client.close()


async def test_nothing_is_lost_in_silence_whatever_happens(nats_server: NatsServer) -> None:
    source = random.Random(seeded())
    sent = 0
    async with running_node(_settings(nats_server)) as node:
        client = await WsClient.open(node.port, "A.b")
        for _ in range(40):
            async with _publisher(nats_server) as broker:
                numbers = range(sent, sent + source.randrange(1, 100))
                await _say(broker, *(("A.b", b"%d" % number) for number in numbers))
                sent = numbers.stop
            happens = source.random()
            if happens < 0.3:
                cut(node)
            elif happens < 0.6:
                hold(node, True)
                await asyncio.sleep(source.random() * 0.01)
                hold(node, False)
            elif happens < 0.7:
                nats_server.kill()
                nats_server.start()
            await asyncio.sleep(source.random() * 0.02)
        hold(node, False)
        last = await _reached(client, node, nats_server, sent)
        seen, count = 0, -1
        for message in last:
            assert message["seq"] > seen
            assert message["data"] > count
            if message["data"] != count + 1:
                assert message["prev"] > seen, f"{count + 1} to {message['data'] - 1} lost in silence"
            seen, count = message["seq"], message["data"]
        print(f"{sent} sent, {len(last)} came, {node.counters.stream_holes} holes")
        await client.close()


async def _reached(client: WsClient, node: Any, server: NatsServer, number: int) -> list[dict[str, Any]]:
    """All data messages up to one that is sent when the node is back."""
    await until(lambda: node.feed.connected and not node.feed.paused)
    await asyncio.sleep(0.3)
    async with _publisher(server) as broker:
        await _say(broker, ("A.b", b"%d" % number))
    got = await data(client, 1)
    while got[-1]["data"] != number:
        got += await data(client, 1)
    return got
