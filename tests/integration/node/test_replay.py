"""Replays of a stretch of the stream that a client asks for by itself."""

from __future__ import annotations

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.slowclient import (
    BIG,
    FILLING,
    data_of,
    hear,
    hear_until,
    open_slow,
    publish_numbers,
    seqs_of,
    subscribing,
)
from tests.support.wsclient import WsClient


def _replay(**data: int) -> dict[str, object]:
    return {"type": "replay", "data": data}


async def test_a_range_is_inclusive_and_since_is_not(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b", "E.*")
        for number in range(1, 10):
            await publish_numbers(nats_server, ("A.b", "C.d", "E.f")[number % 3], number, number)
        live = await hear(client, 6)
        await client.send(_replay(**{"from": 3, "to": 6}))
        heard = await hear_until(client, "replay_complete")
        assert heard[:-1] == [m for m in live if 3 <= m["seq"] <= 6]  # the very same frames
        assert heard[-1] == {"type": "replay_complete", "count": 3}
        await client.send(_replay(since=6))
        heard = await hear_until(client, "replay_complete")
        assert (seqs_of(heard), heard[-1]["count"]) == ([8, 9], 2)
        await client.send(_replay(**{"from": 9, "to": 900}))
        assert seqs_of(await hear_until(client, "replay_complete")) == [9]
        await client.send(_replay(since=9))
        assert await hear(client, 1) == [{"type": "replay_complete", "count": 0}]
        await publish_numbers(nats_server, "A.b", 10, 10)
        assert seqs_of(await hear(client, 1)) == [10]
        await client.close()


async def test_who_listens_to_nothing_is_given_nothing(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 3)
        await until(lambda: node.feed.position == 3)
        client = await WsClient.open(node.port)
        assert await client.ask(_replay(since=0)) == {"type": "replay_complete", "count": 0}
        await client.close()


async def test_what_is_no_longer_there_is_told(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, js_stream_max_msgs=4)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        await publish_numbers(nats_server, "A.b", 1, 8)
        await publish_numbers(nats_server, "C.d", 9, 9)
        await hear(client, 9)
        await client.send(_replay(since=2))
        heard = await hear_until(client, "replay_incomplete")
        assert [(m["seq"], m["prev"]) for m in data_of(heard)] == [(6, 5), (7, 6), (8, 7), (9, 0)]
        assert heard[-1] == {"type": "replay_incomplete", "count": 4, "missing": [3, 5]}
        await client.send(_replay(**{"from": 1, "to": 3}))
        assert await hear(client, 1) == [{"type": "replay_incomplete", "count": 0, "missing": [1, 3]}]
        await client.close()


async def test_a_replay_gives_whole_what_is_conflated(nats_server: NatsServer) -> None:
    """It is how a client fills in what it was passed over."""
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        await client.ask(subscribing("A.b", conflate=True))
        await publish_numbers(nats_server, "A.b", 1, 5)
        await hear(client, 5)
        await client.send(_replay(since=1))
        assert seqs_of(await hear_until(client, "replay_complete")) == [2, 3, 4, 5]
        await client.close()


async def test_replays_wait_for_each_other_and_for_what_the_client_is_owed(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, FILLING, BIG)
        await until(lambda: node.feed.position == FILLING)
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 0}))
        await client.send(_replay(**{"from": 3, "to": 5}))
        await client.send(_replay(**{"from": 4, "to": 4}))
        heard = await hear_until(client, "caught_up")
        assert seqs_of(heard) == list(range(1, FILLING + 1))
        assert seqs_of(await hear_until(client, "replay_complete")) == [3, 4, 5]
        assert seqs_of(await hear_until(client, "replay_complete")) == [4]
        await client.close()


async def test_live_messages_wait_for_a_replay(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("A.b"))
        await publish_numbers(nats_server, "A.b", 1, 3, BIG)
        await hear(client, 3)
        for _ in range(16):
            await client.send(_replay(since=0))
        await until(lambda: node.counters.client_messages == 17)
        await publish_numbers(nats_server, "A.b", 4, 4)
        for _ in range(16):
            assert seqs_of(await hear_until(client, "replay_complete"))[:3] == [1, 2, 3]
        await hear_until(client, 4)
        await client.close()


async def test_too_many_replays_are_refused(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 2 * FILLING, BIG)
        await until(lambda: node.feed.position == 2 * FILLING)
        client = await open_slow(node.port)
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 0}))
        for _ in range(18):
            await client.send(_replay(**{"from": 1, "to": 1}))
        heard = await hear_until(client, "error") + await hear_until(client, "error")
        assert {m["code"] for m in heard if m["type"] == "error"} == {"RATE_LIMIT_EXCEEDED"}
        for _ in range(16):
            await hear_until(client, "replay_complete")
        await client.close()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"since": -1},
        {"since": 1.0},
        {"since": True},
        {"from": 5},
        {"to": 5},
        {"from": 5, "to": 4},
        {"from": 1, "to": 2**53},
        {"since": 1, "to": 4},
    ],
)
async def test_a_stretch_that_is_none_is_refused(nats_server: NatsServer, data: dict[str, object]) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        error = await client.ask({"type": "replay", "data": data})
        assert (error["type"], error["code"]) == ("error", "INVALID_REPLAY")
        await client.close()
