"""WS_REPUBLISH_SUBJECT: the stream's messages from core NATS, and from the stream only what is missing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from nats.js.api import RePublish, StreamConfig

from tests.support.feeds import CONSUMER, REPUBLISH, REPUBLISHED, data, lives_on_the_flow, seeded
from tests.support.nats import STREAM, NatsServer
from tests.support.node import running_node, until
from tests.support.wsclient import WsClient
from wsnode.republished import Flow


async def _consumers(server: NatsServer) -> int:
    async with server.client() as broker:
        return len(await broker.jetstream().consumers_info(STREAM))


async def _edit(server: NatsServer, **changes: Any) -> None:
    """Changes the stream, as an operator would."""
    async with server.client() as broker:
        config = (await broker.jetstream().stream_info(STREAM)).config
        await broker.jetstream().update_stream(config.evolve(**changes))


async def test_the_node_makes_such_a_stream_and_needs_no_consumer(nats_server: NatsServer) -> None:
    async with running_node(REPUBLISHED.settings(nats_server.url)) as node:
        await lives_on_the_flow(node)
        async with nats_server.client() as broker:
            config = (await broker.jetstream().stream_info(STREAM)).config
        assert config.republish == RePublish(src=">", dest=REPUBLISH)
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(300)))
        assert [m["data"] for m in await data(client, 300)] == list(range(300))
        assert await _consumers(nats_server) == 0
        assert (node.counters.messages_in, node.counters.feed_gaps) == (300, 0)
        await client.close()


async def test_who_reads_all_says_so_wherever_it_joined_the_flow(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins amid messages; nothing that the consumer said of those that waited then may stay."""
    monkeypatch.setattr("wsnode.joining._PATIENCE_SECONDS", 0.3)
    await nats_server.create_stream(**REPUBLISHED.stream)
    await nats_server.publish(*(("A.b", b"1") for _ in range(200)))
    settings = REPUBLISHED.settings(nats_server.url, max_nats_rate=300)
    async with running_node(settings, ready=False) as node:
        reader: Any = node.feed_reader._reader
        await until(lambda: 0 < node.feed.position < 200)
        await nats_server.publish(*(("A.b", b"2") for _ in range(100)))
        await until(lambda: reader._flow.live)
        assert (node.feed.position < 300, node.feed.lag) == (True, 0)
        await until(lambda: node.feed.position == 300)
        client = await WsClient.open(node.port)
        resume = {"epoch": node.feed.epoch, "seq": 900}
        await client.send({"type": "subscribe", "data": {"channels": ["A.b"], "resume": resume}})
        told = [await client.message() for _ in range(3)][2]
        assert (told["type"], told["channels"]) == ("subscription_ack", {"A.b": {"recovered": False}})
        await client.close()


async def test_what_does_not_come_shows_as_lag_until_it_is_asked_for(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.feed_republished.CHECK_SECONDS", 0.1)
    receive = Flow._received
    losing = False
    monkeypatch.setattr(Flow, "_received", lambda *message: losing or receive(*message))
    async with running_node(REPUBLISHED.settings(nats_server.url)) as node:
        await lives_on_the_flow(node)
        await nats_server.publish(("A.b", b"1"))
        await until(lambda: node.feed.position == 1)
        losing = True
        await nats_server.publish(*(("A.b", b"2") for _ in range(3)))
        await until(lambda: node.feed.lag == 3)
        losing = False
        await until(lambda: node.feed.position == 4 and not node.feed.lag)


async def test_what_is_said_of_a_message_is_the_same_as_of_one_read_from_the_stream(
    nats_server: NatsServer,
) -> None:
    """Sequence, time and type; the publisher's headers cannot pass for the server's."""
    await nats_server.create_stream(**REPUBLISHED.stream)
    other = CONSUMER.settings(nats_server.url, node_name="node-b")
    async with running_node(REPUBLISHED.settings(nats_server.url)) as a, running_node(other) as b:
        await lives_on_the_flow(a)
        clients = [await WsClient.open(node.port, "A.b") for node in (a, b)]
        forged = {"Ws-Type": "trade:new", "Nats-Sequence": "77", "Nats-Subject": "odin.token.X.y"}
        forged |= {"Nats-Time-Stamp": "2020-01-01T00:00:00Z", "Nats-Stream": "OTHER"}
        await nats_server.publish(("A.b", b"1"), headers=forged)
        await nats_server.publish(("A.b", b"2"))
        first, second = [[await client.frame() for _ in range(2)] for client in clients]
        assert first == second
        assert b'"type":"trade:new"' in first[0][1]
        assert a.counters.feed_gaps == 0
        for client in clients:
            await client.close()


async def test_messages_that_did_not_come_are_read_from_the_stream(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Core NATS delivers at most once; some are lost on the way, come late or come twice."""
    source = random.Random(seeded())
    receive = Flow._received
    late: list[Any] = []

    def lossy(flow: Flow, *message: Any) -> bool:
        chance = source.random()
        if chance < 0.02:
            return False
        if chance < 0.04:
            late.append(message)
            return False
        while late and source.random() < 0.5:
            receive(flow, *late.pop())
        return receive(flow, *message) or (chance > 0.98 and receive(flow, *message))

    monkeypatch.setattr(Flow, "_received", lossy)
    async with running_node(REPUBLISHED.settings(nats_server.url)) as node, nats_server.client() as broker:
        await lives_on_the_flow(node)
        monkeypatch.setattr("wsnode.feed_republished.CHECK_SECONDS", 0.2)
        client = await WsClient.open(node.port, "A.b")
        jetstream = broker.jetstream()
        for number in range(1000):
            await jetstream.publish("odin.token.A.b", b"%d" % number)
        got = [await client.message() for _ in range(1000)]  # nobody is told of a lost feed
        assert [m["data"] for m in got] == list(range(1000))
        assert [m["prev"] for m in got] == list(range(1000))
        assert node.counters.feed_gaps > 3
        await client.close()


async def test_the_last_message_is_missed_too(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(REPUBLISHED.settings(nats_server.url)) as node:
        await lives_on_the_flow(node)
        client = await WsClient.open(node.port, "A.b")
        monkeypatch.setattr(Flow, "_received", lambda *_: False)
        await nats_server.publish(("A.b", b"1"))
        message = await client.message()
        assert (message["seq"], message["prev"]) == (1, 0)
        await client.close()


async def test_what_others_say_on_the_subject_is_no_message(nats_server: NatsServer) -> None:
    async with running_node(REPUBLISHED.settings(nats_server.url)) as node, nats_server.client() as broker:
        await lives_on_the_flow(node)
        client = await WsClient.open(node.port, "A.b")
        await broker.jetstream().add_stream(
            StreamConfig(name="OTHER", subjects=["other.>"], republish=RePublish(src=">", dest=REPUBLISH))
        )
        await broker.jetstream().publish("other.A.b", b"0")
        await broker.publish("ws.live.odin.token.A.b", b"0")
        broken = {"Nats-Stream": STREAM, "Nats-Sequence": "x", "Nats-Subject": "odin.token.A.b"}
        broken |= {"Nats-Time-Stamp": "2020-01-01T00:00:00Z"}
        await broker.publish("ws.live.odin.token.A.b", b"0", headers=broken)
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["data"] == 1
        assert node.counters.feed_gaps == 0
        await client.close()


@pytest.mark.parametrize(
    "republish",
    [
        None,
        RePublish(src=">", dest=REPUBLISH, headers_only=True),
        RePublish(src=">", dest="elsewhere.>"),
        RePublish(src="odin.token.X.>", dest="ws.live.>"),
    ],
    ids=str,
)
async def test_a_stream_that_republishes_otherwise_is_read_by_a_consumer_until_it_does(
    nats_server: NatsServer, republish: RePublish | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.feed_stream._LIMITS_SECONDS", 0.1)
    monkeypatch.setattr("wsnode.feed_republished.CHECK_SECONDS", 0.2)
    await nats_server.create_stream(**{"republish": republish} if republish else {})
    async with running_node(REPUBLISHED.settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"))
        assert (await data(client, 1))[0]["data"] == 1
        assert await _consumers(nats_server) == 1
        await _edit(nats_server, republish=RePublish(src=">", dest=REPUBLISH))
        await lives_on_the_flow(node)
        await nats_server.publish(("A.b", b"2"))
        assert [(m["seq"], m["prev"]) for m in await data(client, 1)] == [(2, 1)]
        await until(lambda: node.feed.connected)
        # And back: somebody takes it away.
        async with nats_server.client() as broker:
            config = (await broker.jetstream().stream_info(STREAM)).config
            config.republish = republish
            await broker.jetstream().update_stream(config)
        await nats_server.publish(("A.b", b"3"))
        assert [(m["seq"], m["prev"]) for m in await data(client, 1)] == [(3, 2)]
        await client.close()
