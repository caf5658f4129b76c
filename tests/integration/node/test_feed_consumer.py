"""The consumers that nodes make and leave, and what several nodes say of one stream."""

from __future__ import annotations

import asyncio
import random
import time

from tests.support.feeds import CONSUMER, REPUBLISHED, Way, cut, each_way, hold, seeded
from tests.support.nats import STREAM, NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient
from wsnode.jetstream import INACTIVE_SECONDS


async def test_a_deleted_consumer_is_made_anew(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        for number in range(3):
            for consumer in await broker.jetstream().consumers_info(STREAM):
                await broker.jetstream().delete_consumer(STREAM, consumer.name)
            await nats_server.publish(("A.b", b"%d" % number))
            while ":" not in (message := await client.message())["type"]:
                assert message["type"] == "feed"
            assert (message["data"], message["prev"]) == (number, number)
        await client.close()


async def test_a_consumer_is_small_and_the_nodes_own(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)), nats_server.client() as broker:
        (consumer,) = await broker.jetstream().consumers_info(STREAM)
        config = consumer.config
        assert config is not None
        assert (config.num_replicas, config.mem_storage, config.ack_policy) == (1, True, "none")
        assert config.inactive_threshold == INACTIVE_SECONDS
        assert consumer.name.startswith("ws-server-node-a-")


async def test_the_consumers_of_vanished_nodes_go_by_themselves(nats_server: NatsServer) -> None:
    async with (
        nats_server.client() as broker,
        running_node(node_settings(nats_server.url)) as a,
        running_node(node_settings(nats_server.url, node_name="node-b")) as b,
    ):
        jetstream = broker.jetstream()
        orphaned = {consumer.name for consumer in await jetstream.consumers_info(STREAM)}
        assert len(orphaned) == 2
        for node in (a, b):  # nobody says goodbye to the broker, and nobody comes back
            cut(node)
            hold(node, True)
        started = time.monotonic()
        while {consumer.name for consumer in await jetstream.consumers_info(STREAM)} & orphaned:
            assert time.monotonic() - started < INACTIVE_SECONDS + 10
            await asyncio.sleep(0.2)
        assert time.monotonic() - started > INACTIVE_SECONDS - 1


async def test_a_pause_and_a_stop_leave_no_consumer(nats_server: NatsServer) -> None:
    async with nats_server.client() as broker:
        async with running_node(node_settings(nats_server.url)) as node:
            hold(node, True)
            async with asyncio.timeout(INACTIVE_SECONDS - 2):
                while await broker.jetstream().consumers_info(STREAM):
                    await asyncio.sleep(0.05)
            hold(node, False)
            await until(lambda: node.feed.connected)
        async with asyncio.timeout(INACTIVE_SECONDS - 2):
            while await broker.jetstream().consumers_info(STREAM):
                await asyncio.sleep(0.05)


@each_way
async def test_a_rate_limits_what_is_read_a_second(nats_server: NatsServer, way: Way) -> None:
    await nats_server.create_stream(**way.stream)
    await nats_server.publish(*(("A.b", b"1") for _ in range(200)))
    started = time.monotonic()
    async with running_node(way.settings(nats_server.url, max_nats_rate=200)) as node:
        assert time.monotonic() - started > 0.7
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(300)))
        got = await client.messages(300)
        assert [m["data"] for m in got] == list(range(300))
        assert time.monotonic() - started > 2.0
        assert (node.counters.messages_in, node.counters.feed_gaps) == (500, 0)
        await client.close()


async def test_all_nodes_say_the_same_of_one_stream_however_they_read_it(nats_server: NatsServer) -> None:
    """Also those that came later, and those that were cut off or paused meanwhile."""
    source = random.Random(seeded())
    await nats_server.create_stream(**REPUBLISHED.stream)
    channels = ["A.b", "C.d", "E.f"]
    async with (
        running_node(CONSUMER.settings(nats_server.url)) as a,
        running_node(REPUBLISHED.settings(nats_server.url, node_name="node-b")) as b,
    ):
        nodes, sent = [a, b], 0
        await nats_server.publish(*((channel, b"0") for channel in channels))
        await until(lambda: all(node.feed.position == 3 for node in nodes))
        async with running_node(CONSUMER.settings(nats_server.url, node_name="node-c")) as c:
            nodes.append(c)
            assert len({node.feed.epoch for node in nodes}) == 1
            clients = [await WsClient.open(node.port, *channels) for node in nodes]
            for _ in range(30):
                batch = [(source.choice(channels), b"%d" % source.randrange(99)) for _ in range(20)]
                sent += len(await nats_server.publish(*batch))
                node = source.choice(nodes)
                if source.random() < 0.5:
                    cut(node)
                else:
                    hold(node, True)
                    await asyncio.sleep(source.random() * 0.05)
                    hold(node, False)
            first, *others = [await _frames(client, sent) for client in clients]
            assert all(frames == first for frames in others)
            for client in clients:
                await client.close()


async def _frames(client: WsClient, count: int) -> list[bytes]:
    """The next data messages as they were sent."""
    found: list[bytes] = []
    while len(found) < count:
        _, payload = await client.frame()
        if payload.startswith(b'{"seq"'):
            found.append(payload)
    return found
