"""The feed and its stream: made again, vanished, come back as another, or one that can't be used."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.feeds import Way, data, each_way, hold
from tests.support.nats import STREAM, NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient
from wsnode.protocol.envelope import MAX_SEQUENCE
from wsnode.view import StreamLimits

pytestmark = pytest.mark.usefixtures("_quick_checks")


@pytest.fixture
def _quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at every few seconds, several times a second."""
    monkeypatch.setattr("wsnode.feed_stream._LIMITS_SECONDS", 0.1)
    monkeypatch.setattr("wsnode.feed_republished.CHECK_SECONDS", 0.2)


async def _told(client: WsClient) -> list[dict[str, Any]]:
    """All that a client is told up to the next data message."""
    told: list[dict[str, Any]] = []
    while not told or ":" not in told[-1]["type"]:
        told.append(await client.message())
    return told


async def _of_the_new_stream(client: WsClient, last: int) -> list[dict[str, Any]]:
    """The messages up to `last` behind the acknowledgement that comes with a stream made again."""
    got: list[dict[str, Any]] = []
    reached = -1
    while reached < last:
        message = await client.message()
        if message["type"] == "subscription_ack":
            reached, got = message["seq"], []
        elif ":" in message["type"] and reached >= 0:
            got.append(message)
            reached = message["seq"]
    return got


@each_way
async def test_a_stream_made_again_is_told_and_read_from_its_start(nats_server: NatsServer, way: Way) -> None:
    async with running_node(way.settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"), ("A.b", b"2"))
        await client.messages(2)
        epoch = node.feed.epoch
        await broker.jetstream().delete_stream(STREAM)
        await nats_server.create_stream(**way.stream)
        await nats_server.publish(("A.b", b"3"))
        told = await _told(client)
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


@each_way
@pytest.mark.parametrize("before", [1, 5, 9])
async def test_a_stream_made_again_with_messages_at_once(
    nats_server: NatsServer, way: Way, before: int
) -> None:
    """Also with as many as the old one had, and with more: its sequence alone would not show it."""
    async with running_node(way.settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(*(("A.b", b"0") for _ in range(before)))
        await client.messages(before)
        await broker.jetstream().delete_stream(STREAM)
        await nats_server.create_stream(**way.stream)
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(1, 6)))
        got = await _of_the_new_stream(client, 5)
        assert [(m["seq"], m["data"]) for m in got] == [(n, n) for n in range(6 - len(got), 6)]
        assert node.feed.position == 5
        await client.close()


@each_way
async def test_a_stream_that_is_gone_for_good_is_made_by_the_node(nats_server: NatsServer, way: Way) -> None:
    async with running_node(way.settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await broker.jetstream().delete_stream(STREAM)
        await until(lambda: not node.feed.connected)
        await until(lambda: node.feed.connected)
        await nats_server.publish(("A.b", b"1"))
        assert (await data(client, 1))[0]["seq"] == 1
        await client.close()


@each_way
@pytest.mark.parametrize("again", [0, 1, 2, 3])
async def test_a_stream_that_comes_back_from_a_backup(nats_server: NatsServer, way: Way, again: int) -> None:
    """Same time of creation, and as far or further: the time of its last message shows it at the latest."""
    await nats_server.create_stream(**way.stream)
    await nats_server.publish(("A.b", b"0"))
    nats_server.keep_files()
    async with running_node(way.settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"), ("A.b", b"2"))
        await client.messages(2)
        hold(node, True)
        nats_server.restore_files()
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(10, 10 + again)))
        hold(node, False)
        got = await _of_the_new_stream(client, 1 + again)
        there = [(1, 0), (2, 10), (3, 11), (4, 12)][: 1 + again]
        assert [(m["seq"], m["data"]) for m in got] == there[len(there) - len(got) :]
        assert node.feed.position == 1 + again
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


async def test_a_stream_at_the_end_of_what_javascript_counts_is_refused(nats_server: NatsServer) -> None:
    await nats_server.create_stream(first_seq=MAX_SEQUENCE - 1)
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["seq"] == 2**53 - 2
        await client.close()
    await nats_server.publish(("A.b", b"2"))
    async with running_node(node_settings(nats_server.url), ready=False) as node:
        await until(lambda: node.feed.problem)
        assert node.feed.problem == (
            "stream ODIN_TOKENS stands at sequence 9007199254740991: JavaScript can't tell sequences from "
            "9007199254740992 apart; publish to a fresh stream"
        )
        assert not node.ready


async def test_what_an_existing_stream_keeps_is_told_as_it_is_now(nats_server: NatsServer) -> None:
    await nats_server.create_stream(max_age=45.0, max_msgs=-1)
    async with running_node(node_settings(nats_server.url)) as node:
        assert node.feed.stream == StreamLimits(45.0, -1, 52_428_800, ("odin.token.>",))
        async with nats_server.client() as client:
            info = await client.jetstream().stream_info(STREAM)
            info.config.max_msgs = 500
            await client.jetstream().update_stream(info.config)
        await until(lambda: node.feed.stream is not None and node.feed.stream.max_msgs == 500)
        assert node.counters.feed_reconnects == 0


@each_way
async def test_what_waits_in_the_stream_is_read_before_the_node_is_ready(
    nats_server: NatsServer, way: Way
) -> None:
    await nats_server.create_stream(**way.stream)
    await nats_server.publish(*(("A.b", b"%d" % number) for number in range(1200)))
    async with running_node(way.settings(nats_server.url)) as node:
        assert node.feed.position == 1200
        client = await WsClient.open(node.port)
        assert (client.hello["head"], client.hello["oldest"]) == (1200, 1)
        ack = await client.ask({"type": "subscribe", "data": {"channels": ["A.b"]}})
        assert ack["seq"] == 1200
        await nats_server.publish(("A.b", b"7"))
        assert (await client.message())["prev"] == 1200
        await client.close()


@each_way
async def test_other_subjects_of_the_stream_are_no_messages(nats_server: NatsServer, way: Way) -> None:
    await nats_server.create_stream(subjects=["odin.>"], **way.stream)
    async with running_node(way.settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await broker.jetstream().publish("odin.other.A.b", b"0")
        await nats_server.publish(("A.b", b"1"))
        assert [(m["seq"], m["prev"]) for m in await data(client, 1)] == [(2, 0)]
        assert node.counters.feed_gaps == 0
        await client.close()
