"""Patterns: `SYMBOL.*`, `*.EVENT` and `*`, live and of the past, and where they overlap."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.slowclient import data_of, hear, hear_until, publish_numbers, seqs_of, subscribing
from tests.support.wsclient import WsClient, subscribe, text_frame
from wsnode.message import Message

CHANNELS = ("BTC.trade", "BTC.book", "ETH.trade", "ETH.book.deep", "solo")


async def _publish_all(server: NatsServer, first: int = 1) -> None:
    for number, channel in enumerate(CHANNELS, first):
        await publish_numbers(server, channel, number, number)


async def _heard(client: WsClient) -> list[int]:
    """All that has come: what follows an answer comes later."""
    await client.send({"type": "heartbeat"})
    return seqs_of(await hear_until(client, "pong"))


@pytest.mark.parametrize(
    ("names", "seqs"),
    [
        (["BTC.*"], [1, 2]),
        (["*.trade"], [1, 3]),
        (["*.book.deep"], [4]),
        (["*.deep", "solo.*", "*.solo"], []),
        (["solo"], [5]),
        (["*"], [1, 2, 3, 4, 5]),
        (["BTC.*", "*.trade", "BTC.trade", "*"], [1, 2, 3, 4, 5]),
    ],
)
async def test_what_a_pattern_takes(nats_server: NatsServer, names: list[str], seqs: list[int]) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        live = await WsClient.open(node.port)
        assert (await live.ask(subscribe(*names)))["count"] == len(names)
        await _publish_all(nats_server)
        await until(lambda: node.feed.position == 5 and not node._fanout.busy)
        assert await _heard(live) == seqs
        # And the same again of the past.
        late = await WsClient.open(node.port)
        await late.send(subscribing(*names, resume={"epoch": node.feed.epoch, "seq": 0}))
        heard: list[dict[str, Any]] = []
        for _ in names:
            heard += await hear_until(late, "caught_up")
        assert seqs_of(heard) == seqs
        await live.close()
        await late.close()


async def test_names_come_and_go_while_others_stay(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "BTC.trade", "BTC.*", "*.trade")
        await _publish_all(nats_server)
        assert seqs_of(await hear(client, 3)) == [1, 2, 3]
        answer = await client.ask({"type": "unsubscribe", "data": {"channels": ["BTC.trade", "*.trade"]}})
        assert (answer["unsubscribed"], answer["count"]) == (["BTC.trade", "*.trade"], 1)
        await _publish_all(nats_server, 6)
        assert seqs_of(await hear(client, 2)) == [6, 7]
        await client.ask({"type": "unsubscribe", "data": {"channels": ["BTC.*"]}})
        await _publish_all(nats_server, 11)
        await until(lambda: node.feed.position == 15 and not node._fanout.busy)
        assert await _heard(client) == []
        assert len(node._channels) == 0
        await client.close()


async def test_patterns_count_as_channels(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_channels=3)) as node:
        client = await WsClient.open(node.port, "A.*", "*.b")
        error = await client.ask(subscribe("*", "C.d"))
        assert (error["type"], error["code"]) == ("error", "TOO_MANY_CHANNELS")
        assert (await client.ask(subscribe("A.*", "*")))["count"] == 3
        await client.close()


@pytest.mark.parametrize("name", ["A.b.*", "*.*", "**", "A*", "*b", "A.*.b", ".*", "*.", ">", "A.>", "* "])
async def test_what_is_no_pattern_is_refused(nats_server: NatsServer, name: str) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        error = await client.ask(subscribe("A.b", name))
        assert (error["type"], error["code"]) == ("error", "INVALID_CHANNEL")
        assert len(node._channels) == 0
        await client.close()


async def test_the_newest_of_each_channel_comes_at_once(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await _publish_all(nats_server)
        await _publish_all(nats_server, 6)
        await until(lambda: node.feed.position == 10)
        client = await WsClient.open(node.port, path="/ws?channels=BTC.*,ETH.trade,none&last=1")
        ack, *heard = await hear(client, 4)
        assert (ack["subscribed"], ack["seq"]) == (["BTC.*", "ETH.trade", "none"], 10)
        assert [(m["seq"], m["channel"], m["prev"]) for m in data_of(heard)] == [
            (6, "BTC.trade", 1),
            (7, "BTC.book", 2),
            (8, "ETH.trade", 3),
        ]
        # Who has them asks for them again; who resumes is given what it missed, the newest among it.
        await client.send(subscribing("BTC.trade", last=True))
        assert seqs_of(await hear(client, 2)) == [6]
        late = await WsClient.open(node.port)
        resume = {"epoch": node.feed.epoch, "seq": 1, "channels": {"BTC.book": 7}}
        await late.send(subscribing("BTC.trade", "BTC.book", resume=resume, last=True))
        heard = await hear_until(late, "caught_up") + await hear_until(late, "caught_up")
        assert seqs_of(heard) == [6]
        unknown = await WsClient.open(node.port)
        await unknown.send(subscribing("BTC.trade", resume={"epoch": "another", "seq": 1}, last=True))
        assert seqs_of(await hear(unknown, 2)) == [6]
        await publish_numbers(nats_server, "BTC.trade", 1, 1)
        for each in (client, late, unknown):
            assert seqs_of(await hear(each, 1)) == [11]
            await each.close()


async def test_the_newest_of_very_many_channels_hold_up_nobody(nats_server: NatsServer) -> None:
    """To ask for them is answered at once; they are looked up piece by piece, and come in order and once."""
    count = 5000
    async with running_node(node_settings(nats_server.url, feed="core")) as node:
        ring = node._ring
        for number in range(count):
            seq = ring.position + 1
            ring.advance(seq)
            now_ms = time.time_ns() // 1_000_000
            ring.add(Message(seq, now_ms, "a:b", f"S{number}.x", ring.prev(f"S{number}.x"), b"1"), now_ms)
        looked: list[int] = []
        span, newest = ring.span, ring.newest

        def looking(seq: int, upto: int, most: int) -> list[Message]:
            found = span(seq, upto, most)
            looked.append(len(found))
            return found

        def looking_up(channel: str, upto: int) -> Message | None:
            looked.append(1)
            return newest(channel, upto)

        ring.span, ring.newest = looking, looking_up  # type: ignore[method-assign]
        client, link = await WsClient.open(node.port), node._links.open_links()[0]
        node._sessions.read(link, text_frame(subscribing("*", last=True)))
        assert looked == []  # while others waited for their turn
        ack = await client.message()
        assert (ack["type"], ack["count"]) == ("subscription_ack", 1)
        heard = data_of(await hear(client, count))
        assert [message["channel"] for message in heard] == [f"S{number}.x" for number in range(count)]
        assert 2 <= len(looked) <= count // 256 + 1
        await client.close()


async def test_a_name_that_overlaps_what_a_client_has_brings_nothing_twice(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "*")
        for turn in range(4):
            await publish_numbers(nats_server, "BTC.trade", 1, 3)
            await client.send(subscribe(("BTC.trade", "BTC.*", "*.trade", "BTC.trade")[turn]))
        heard = await hear_until(client, 12)
        heard += await _after(client)
        assert seqs_of(heard) == list(range(1, 13))
        await client.close()


async def _after(client: WsClient) -> list[dict[str, Any]]:
    await client.send({"type": "heartbeat"})
    return await hear_until(client, "pong")
