"""The feed through everything that can happen to it: nothing lost, nothing doubled, nothing silent."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import nats.js.errors
import pytest

from tests.support.nats import STREAM, NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient
from wsnode import feed_stream as feed_module
from wsnode.jetstream import INACTIVE_SECONDS
from wsnode.node import Node
from wsnode.view import StreamLimits


def _hold(node: Node, paused: bool) -> None:
    """As a CPU figure above (or again below) its pause threshold would."""
    node._admission.paused = lambda percent: paused  # type: ignore[assignment,method-assign]
    node.feed_reader.pause(paused)


def _abort(client: Any) -> None:
    """Ends the node's connection to the broker without a word."""
    client._transport._io_writer.transport.abort()


async def _data(client: WsClient, count: int) -> list[dict[str, Any]]:
    """The next data messages; news of the feed are passed over."""
    got: list[dict[str, Any]] = []
    while len(got) < count:
        message = await client.message()
        if ":" in message["type"]:
            got.append(message)
    return got


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


async def test_a_broker_that_refuses_the_node_is_asked_again_and_nothing_leaks(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, "--auth", "secret").start()
    try:
        async with running_node(node_settings(server.url), ready=False) as node:
            await asyncio.sleep(1.0)
            before = sum(1 for _ in Path("/proc/self/fd").iterdir())
            await asyncio.sleep(2.5)
            assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before + 1
            assert not node.ready
            assert "authorization violation" in str(node.feed.trouble).lower()
        wrong = server.url.replace("//", "//guess@")
        async with running_node(node_settings(wrong), ready=False) as node:
            await until(lambda: node.feed.trouble)
            assert "guess" not in str(node.feed.trouble)
        url = server.url.replace("//", "//secret@")
        async with running_node(node_settings(url)) as node:
            assert node.ready
    finally:
        server.kill()


async def test_a_broker_that_goes_away_later_closes_nobody(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
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


async def test_a_broker_that_hangs_is_noticed_by_its_missing_heartbeat(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        nats_server.freeze()
        await until(lambda: not node.feed.connected)
        nats_server.thaw()
        await until(lambda: node.feed.connected)
        await nats_server.publish(("A.b", b"1"))
        assert [m["data"] for m in await _data(client, 1)] == [1]
        await client.close()


async def test_killed_again_and_again_with_a_backlog_nothing_is_lost_or_doubled(
    nats_server: NatsServer,
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    await nats_server.create_stream()
    sent: list[int] = []
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        for _ in range(8):
            for _ in range(source.randrange(1, 4)):
                numbers = range(len(sent), len(sent) + source.randrange(1, 400))
                sent += await nats_server.publish(*(("A.b", b"%d" % number) for number in numbers))
                await asyncio.sleep(source.random() * 0.1)
            nats_server.kill()
            await asyncio.sleep(source.random() * 0.3)
            nats_server.start()
        got = await _data(client, len(sent))
        assert [m["seq"] for m in got] == sent
        assert [m["data"] for m in got] == list(range(len(sent)))
        assert [m["prev"] for m in got[1:]] == sent[:-1]
        await client.close()


async def test_killed_while_messages_are_on_their_way(nats_server: NatsServer) -> None:
    await nats_server.create_stream()
    numbers = range(5000)
    await nats_server.publish(*(("A.b", b"%d" % number) for number in numbers))
    settings = node_settings(nats_server.url, max_nats_rate=4000)
    async with running_node(settings, ready=False) as node:
        client = await WsClient.open(node.port, "A.b")
        for _ in range(4):
            await asyncio.sleep(0.2)
            nats_server.kill()
            nats_server.start()
        # The stream became known after the client came: it was introduced anew.
        got = await _data(client, 5000)
        assert [m["data"] for m in got] == list(numbers)
        await client.close()


async def test_reading_ends_when_told_whatever_it_is_doing(nats_server: NatsServer) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    for _ in range(40):
        async with running_node(node_settings(nats_server.url), ready=False):
            await asyncio.sleep(source.random() * 0.03)
    async with nats_server.client() as broker:
        await asyncio.sleep(INACTIVE_SECONDS + 1)
        assert await broker.jetstream().consumers_info(STREAM) == []


async def test_a_deleted_consumer_is_made_anew(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        for number in range(3):
            for consumer in await broker.jetstream().consumers_info(STREAM):
                await broker.jetstream().delete_consumer(STREAM, consumer.name)
            await nats_server.publish(("A.b", b"%d" % number))
            assert [m["data"] for m in await _data(client, 1)] == [number]
        await client.close()


async def test_a_stream_made_again_is_told_and_read_from_its_start(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"), ("A.b", b"2"))
        await client.messages(2)
        epoch = node.feed.epoch
        await broker.jetstream().delete_stream(STREAM)
        await nats_server.create_stream()
        await nats_server.publish(("A.b", b"3"))
        told: list[dict[str, Any]] = []
        while not told or ":" not in told[-1]["type"]:
            told.append(await client.message())
        by_type = {message["type"]: message for message in told}
        assert by_type["hello"]["epoch"] == node.feed.epoch != epoch
        assert by_type["subscription_ack"] == {
            "type": "subscription_ack",
            "subscribed": ["A.b"],
            "count": 1,
            "seq": by_type["hello"]["head"],
        }
        assert (told[-1]["seq"], told[-1]["prev"], told[-1]["data"]) == (1, 0, 3)
        assert [t["type"] for t in told[-3:-1]] == ["hello", "subscription_ack"] or told[-2]["type"] == "feed"
        await client.close()


async def test_a_stream_that_is_gone_for_good_is_made_by_the_node(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await broker.jetstream().delete_stream(STREAM)
        await until(lambda: not node.feed.connected)
        await until(lambda: node.feed.connected)
        await nats_server.publish(("A.b", b"1"))
        assert (await _data(client, 1))[0]["seq"] == 1
        await client.close()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"storage": "memory"}, "stream ODIN_TOKENS has storage memory, file is needed"),
        ({"retention": "interest"}, "stream ODIN_TOKENS has retention interest, limits is needed"),
        ({"discard": "new"}, "stream ODIN_TOKENS has discard new, old is needed"),
        ({"subjects": ["other.>"]}, "stream ODIN_TOKENS does not take odin.token.>, only other.>"),
    ],
)
async def test_a_stream_that_can_not_keep_the_promises_is_said_and_not_ready(
    nats_server: NatsServer, changes: dict[str, Any], problem: str
) -> None:
    await nats_server.create_stream(**changes)
    async with running_node(node_settings(nats_server.url), ready=False) as node:
        await until(lambda: node.feed.problem)
        assert node.feed.problem == problem
        assert (node.ready, node.not_ready_reason) == (False, problem)


async def test_what_an_existing_stream_keeps_is_told_as_it_is_now(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_LIMITS_SECONDS", 0.1)
    await nats_server.create_stream(max_age=45.0, max_msgs=-1)
    async with running_node(node_settings(nats_server.url)) as node:
        assert node.feed.stream == StreamLimits(45.0, -1, 52_428_800, ("odin.token.>",))
        async with nats_server.client() as client:
            info = await client.jetstream().stream_info(STREAM)
            info.config.max_msgs = 500
            await client.jetstream().update_stream(info.config)
        await until(lambda: node.feed.stream is not None and node.feed.stream.max_msgs == 500)
        assert node.counters.feed_reconnects == 0


async def test_what_waits_in_the_stream_is_read_before_the_node_is_ready(nats_server: NatsServer) -> None:
    await nats_server.create_stream()
    await nats_server.publish(*(("A.b", b"%d" % number) for number in range(1200)))
    async with running_node(node_settings(nats_server.url)) as node:
        assert node.feed.position == 1200
        client = await WsClient.open(node.port)
        assert (client.hello["head"], client.hello["oldest"]) == (1200, 1)
        ack = await client.ask({"type": "subscribe", "data": {"channels": ["A.b"]}})
        assert ack["seq"] == 1200
        await nats_server.publish(("A.b", b"7"))
        assert (await client.message())["prev"] == 1200
        await client.close()


async def test_a_hole_in_the_stream_is_told_on_every_channel(nats_server: NatsServer) -> None:
    await nats_server.create_stream(max_msgs=3)
    async with running_node(node_settings(nats_server.url, position_interval=1)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        await nats_server.publish(("A.b", b"1"), ("C.d", b"2"))
        await client.messages(2)
        _hold(node, True)
        await until(lambda: node.feed.paused)
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(10)))
        await nats_server.publish(("C.d", b"x"), ("C.d", b"3"))
        _hold(node, False)
        got = [await client.message() for _ in range(2)]
        # 3 are left of 14: 12 (A.b), 13 (not JSON) and 14 (C.d).
        assert [(m["seq"], m["channel"], m["prev"]) for m in got] == [(12, "A.b", 11), (14, "C.d", 13)]
        assert node.counters.stream_holes == 1
        while "prev" not in (position := await client.any_message()):
            pass
        assert (position["type"], position["prev"]) == ("position", 11)
        await client.close()


async def test_a_pause_longer_than_the_streams_age_is_told_by_prev(nats_server: NatsServer) -> None:
    await nats_server.create_stream(max_age=1.0, duplicate_window=1.0)
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"))
        await client.message()
        _hold(node, True)
        await nats_server.publish(("A.b", b"2"), ("A.b", b"3"))
        await asyncio.sleep(2.5)
        _hold(node, False)
        await nats_server.publish(("A.b", b"4"))
        message = (await _data(client, 1))[0]
        assert (message["seq"], message["prev"], message["data"]) == (4, 3, 4)
        await client.close()


async def test_two_nodes_say_the_same_of_one_stream(nats_server: NatsServer) -> None:
    other = node_settings(nats_server.url, node_name="node-b")
    async with running_node(node_settings(nats_server.url)) as a, running_node(other) as b:
        assert a.feed.epoch == b.feed.epoch
        clients = [await WsClient.open(node.port, "A.b") for node in (a, b)]
        await nats_server.publish(("A.b", b"1"), ("A.b", b"2"))
        first, second = [[await client.frame() for _ in range(2)] for client in clients]
        assert first == second
        for client in clients:
            await client.close()


async def test_the_consumer_of_a_vanished_node_goes_by_itself(nats_server: NatsServer) -> None:
    async with nats_server.client() as broker, running_node(node_settings(nats_server.url)) as node:
        jetstream = broker.jetstream()
        (consumer,) = await jetstream.consumers_info(STREAM)
        config = consumer.config
        assert config is not None
        assert (config.num_replicas, config.mem_storage, config.ack_policy) == (1, True, "none")
        assert consumer.name.startswith("ws-server-node-a-")
        # As a vanished node would: nobody says goodbye to the broker.
        reader: Any = node.feed_reader._reader
        _abort(reader._pull._client)
        _hold(node, True)
        started = time.monotonic()
        while any(c.name == consumer.name for c in await jetstream.consumers_info(STREAM)):
            assert time.monotonic() - started < INACTIVE_SECONDS + 10
            await asyncio.sleep(0.2)


async def test_a_rate_limits_what_is_read_a_second(nats_server: NatsServer) -> None:
    await nats_server.create_stream()
    await nats_server.publish(*(("A.b", b"1") for _ in range(300)))
    started = time.monotonic()
    async with running_node(node_settings(nats_server.url, max_nats_rate=200)) as node:
        assert time.monotonic() - started > 1.0
        assert node.counters.messages_in == 300


async def test_other_subjects_of_the_stream_are_no_messages(nats_server: NatsServer) -> None:
    await nats_server.create_stream(subjects=["odin.>"])
    async with running_node(node_settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await broker.jetstream().publish("odin.other.A.b", b"0")
        await nats_server.publish(("A.b", b"1"))
        assert [(m["seq"], m["prev"]) for m in await _data(client, 1)] == [(2, 0)]
        with pytest.raises(nats.js.errors.NotFoundError):
            await broker.jetstream().stream_info("OTHER")
        await client.close()
