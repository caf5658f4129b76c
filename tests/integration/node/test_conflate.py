"""Latest-value delivery: who falls behind gets the newest of each channel, and is told what it was spared."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.nats import STREAM, NatsServer
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
from wsnode.config import Settings
from wsnode.node import Node
from wsnode.watch import SettingsChange


async def _behind(server: NatsServer, node: Node, client: WsClient, channel: str = "A.b") -> int:
    """Fills what stands between the node and a client that does not read. Returns the last sequence."""
    await publish_numbers(server, channel, 1, 2 * FILLING, BIG)
    last = node.feed.position
    await until(lambda: node.feed.position >= 2 * FILLING and not node._fanout.busy)
    assert node._links.behind
    return max(last, node.feed.position)


def _skips(heard: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in data_of(heard) if "skipped" in message]


async def test_who_keeps_up_is_given_all(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, path="/ws?channels=A.b,C.d&conflate=true")
        await client.message()
        for number in range(1, 20):
            await publish_numbers(nats_server, ("A.b", "C.d")[number % 2], number, number)
        heard = await hear_until(client, 19)
        assert (seqs_of(heard), _skips(heard)) == (list(range(1, 20)), [])
        await client.close()


async def test_who_stops_reading_gets_the_newest_of_each_channel(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, position_interval=1)) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("A.b", "C.d", conflate=True))
        last = await _behind(nats_server, node, client)
        await publish_numbers(nats_server, "C.d", 1, 5)
        await until(lambda: node.feed.position == last + 5 and not node._fanout.busy)
        await asyncio.sleep(2.5)  # positions are due meanwhile
        heard = await hear_until(client, last + 5)
        # Nothing is claimed that waits.
        assert max((m["seq"] for m in heard if m["type"] == "position"), default=0) < last
        behind, newest = _skips(heard)
        before = seqs_of(heard, "A.b")[-2]
        assert (behind["channel"], behind["seq"], behind["prev"]) == ("A.b", last, before)
        assert behind["skipped"] == last - before - 1
        assert (newest["seq"], newest["prev"], newest["skipped"]) == (last + 5, 0, 4)
        assert node.counters.messages_skipped == behind["skipped"] + 4
        assert (await hear_until(client, "position"))[-1] == {"type": "position", "seq": last + 5}
        await publish_numbers(nats_server, "A.b", 1, 1)
        assert (await hear(client, 1))[0]["prev"] == last
        assert node.counters.slow_clients == 0
        await client.close()


async def test_a_loss_among_what_was_passed_over_still_alarms(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, position_interval=60)
    async with running_node(settings) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("A.b", conflate=True))
        last = await _behind(nats_server, node, client)
        node.feed_reader.pause(True)
        await asyncio.sleep(0.1)
        await publish_numbers(nats_server, "A.b", 1, 4)
        async with nats_server.client() as broker:
            await broker.jetstream()._jsm.delete_msg(STREAM, last + 2)
        node.feed_reader.pause(False)
        await until(lambda: node.feed.position == last + 4 and not node._fanout.busy)
        heard = await hear_until(client, last + 4)
        (told,) = _skips(heard)
        seen = seqs_of(heard)[-2]
        assert told["prev"] == last + 2 > seen
        # And it is told before what follows it, for those who go on from one sequence.
        assert {"type": "position", "seq": seen, "prev": last + 2} in heard
        await client.close()


async def test_what_waits_stays_small_while_nothing_is_read(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, client_buffer_bytes=65_536)) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("*", conflate=True))
        for channel in range(3 * FILLING):
            await publish_numbers(nats_server, f"S{channel}.x", 1, 1, BIG)
        for _ in range(20):
            await client.send({"type": "heartbeat"})
        await until(lambda: node.counters.client_messages == 21)
        assert node._links.buffered_bytes < 65_536
        assert node.counters.slow_clients == 0
        # It reads on: all channels come, each its newest, in pieces that its buffer holds.
        heard = await hear_until(client, "pong")
        heard += await hear_until(client, 3 * FILLING)
        assert sorted(seqs_of(heard)) == list(range(1, 3 * FILLING + 1))
        assert all(m["seq"] < 3 * FILLING for m in heard if m["type"] == "pong")
        await client.close()


async def test_a_resume_gives_the_newest_of_each_channel(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await publish_numbers(nats_server, "A.b", 1, 5)
        await publish_numbers(nats_server, "A.c", 6, 6)
        await until(lambda: node.feed.position == 6)
        for names in (["A.b", "A.c"], ["A.*"]):
            client = await WsClient.open(node.port)
            resume = {"epoch": node.feed.epoch, "seq": 1}
            await client.send(subscribing(*names, resume=resume, conflate=True))
            heard = await hear_until(client, "caught_up")
            told = [(m["seq"], m["prev"], m.get("skipped")) for m in data_of(heard)]
            assert told == [(5, 1, 3), (6, 0, None)]
            await client.close()


async def test_what_is_asked_for_whole_is_not_passed_over(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_buffer_bytes=4_000_000)
    async with running_node(settings) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("*", conflate=True))
        await client.ask(subscribing("A.b", "*.y"))
        last = await _behind(nats_server, node, client)
        for number in range(1, 9):
            await publish_numbers(nats_server, ("C.d", "E.y")[number % 2], number, number)
        await until(lambda: node.feed.position == last + 8 and not node._fanout.busy)
        heard = await hear_until(client, last + 8)
        assert seqs_of(heard, "A.b") == list(range(1, last + 1))
        assert seqs_of(heard, "E.y") == [last + 1, last + 3, last + 5, last + 7]
        assert [(m["channel"], m["seq"], m["skipped"]) for m in _skips(heard)] == [("C.d", last + 8, 3)]
        await client.close()


async def test_who_asks_for_all_from_now_on_is_given_what_waited_too(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("A.b", conflate=True))
        last = await _behind(nats_server, node, client)
        await client.send(subscribing("A.b"))
        await until(lambda: node.counters.client_messages == 2)
        await publish_numbers(nats_server, "A.b", 1, 3)
        heard = await hear_until(client, last + 3)
        assert (seqs_of(heard), _skips(heard)) == (list(range(1, last + 4)), [])
        (ack,) = [m for m in heard if m["type"] == "subscription_ack"]
        assert ack["seq"] <= seqs_of(heard[: heard.index(ack)])[-1]  # no claim on what waited
        await client.close()


async def test_unsubscribing_takes_away_what_waited(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("A.b", "C.d", "*.d", conflate=True))
        last = await _behind(nats_server, node, client)
        await publish_numbers(nats_server, "C.d", 1, 2)
        await until(lambda: node.feed.position == last + 2 and not node._fanout.busy)
        await client.send({"type": "unsubscribe", "data": {"channels": ["A.b", "C.d"]}})
        await until(lambda: node.counters.client_messages == 2)
        heard = await hear_until(client, last + 2)
        assert last not in seqs_of(heard)
        (told,) = _skips(heard)  # the other name still takes it
        assert (told["channel"], told["skipped"]) == ("C.d", 1)
        await client.close()


async def test_what_was_lost_before_it_is_told_with_what_waited(nats_server: NatsServer) -> None:
    """The line let a message of a quiet channel go while the client was behind on another."""
    settings = node_settings(nats_server.url, worker_queue_size=4, position_interval=1)
    async with running_node(settings) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("A.b", "Q.q", conflate=True))
        last = await _behind(nats_server, node, client)

        def change(**changes: Any) -> None:
            node.apply(SettingsChange(Settings(**node.settings.model_dump() | changes), "", None))

        guest = await WsClient.open(node.port, "G.g")
        change(max_broadcast_rate=0.01)
        for number in range(1, 4):  # until the rate is used up, and one round waits
            await publish_numbers(nats_server, "G.g", number, number)
            await until(lambda number=number: node.feed.position == last + number)  # type: ignore[misc]
        await publish_numbers(nats_server, "Q.q", 1, 1)
        await publish_numbers(nats_server, "A.b", 1, 10)
        await until(lambda: node.feed.position == last + 14)
        dropped = last + 14 - 4
        change(max_broadcast_rate=0)
        await until(lambda: not node._fanout.busy)
        await asyncio.sleep(1.5)
        heard = await hear_until(client, last + 14)
        told = next(i for i, m in enumerate(heard) if m["type"] == "position" and m.get("prev") == dropped)
        assert all(m["seq"] <= last for m in data_of(heard[:told]))
        assert heard[told]["seq"] <= last
        await client.close()
        await guest.close()
