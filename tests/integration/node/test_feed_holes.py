"""What the stream no longer has: told by `prev`, never in silence, and no more often than needed."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

from tests.support.feeds import Way, cut, data, each_way, hold, seeded
from tests.support.nats import STREAM, NatsServer
from tests.support.node import running_node, until
from tests.support.wsclient import WsClient

CHANNELS = ["A.b", "C.d", "E.f"]


@each_way
async def test_a_hole_in_the_stream_is_told_on_every_channel(nats_server: NatsServer, way: Way) -> None:
    await nats_server.create_stream(max_msgs=3, **way.stream)
    async with running_node(way.settings(nats_server.url, position_interval=1)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        await nats_server.publish(("A.b", b"1"), ("C.d", b"2"))
        await client.messages(2)
        hold(node, True)
        await until(lambda: node.feed.paused)
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(10)))
        await nats_server.publish(("C.d", b"x"), ("C.d", b"3"))
        hold(node, False)
        got = [await client.message() for _ in range(2)]
        # 3 are left of 14: 12 (A.b), 13 (not JSON) and 14 (C.d).
        assert [(m["seq"], m["channel"], m["prev"]) for m in got] == [(12, "A.b", 11), (14, "C.d", 13)]
        assert node.counters.stream_holes == 1
        while "prev" not in (position := await client.any_message()):
            pass
        assert (position["type"], position["prev"]) == ("position", 11)
        await client.close()


@each_way
async def test_a_pause_longer_than_the_streams_age_is_told_by_prev(nats_server: NatsServer, way: Way) -> None:
    await nats_server.create_stream(max_age=1.0, duplicate_window=1.0, **way.stream)
    async with running_node(way.settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"))
        await client.message()
        hold(node, True)
        await nats_server.publish(("A.b", b"2"), ("A.b", b"3"))
        await asyncio.sleep(2.5)
        hold(node, False)
        await until(lambda: node.feed.connected and not node.feed.paused)
        await nats_server.publish(("A.b", b"4"))
        message = (await data(client, 1))[0]
        assert (message["seq"], message["prev"], message["data"]) == (4, 3, 4)
        await client.close()


@each_way
async def test_messages_deleted_by_hand_are_a_hole_only_for_who_had_not_read_them(
    nats_server: NatsServer, way: Way
) -> None:
    await nats_server.create_stream(**way.stream)
    async with running_node(way.settings(nats_server.url)) as node, nats_server.client() as broker:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(3)))
        await client.messages(3)
        await broker.jetstream().delete_msg(STREAM, 2)
        hold(node, True)
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(3, 7)))
        await broker.jetstream().delete_msg(STREAM, 5)
        hold(node, False)
        got = await data(client, 3)
        assert [(m["seq"], m["prev"]) for m in got] == [(4, 3), (6, 5), (7, 6)]
        await client.close()
        # A node that comes now can't know what was in the hole: it says the most that may be lost.
        settings = way.settings(nats_server.url, node_name="node-b")
        async with running_node(settings) as fresh:
            assert fresh.counters.stream_holes == 2
            later = await WsClient.open(fresh.port, "C.d")
            await nats_server.publish(("C.d", b"1"))
            assert (await later.message())["prev"] == 5
            await later.close()


@each_way
async def test_a_stream_that_keeps_one_message_a_subject(nats_server: NatsServer, way: Way) -> None:
    await nats_server.create_stream(max_msgs_per_subject=1, **way.stream)
    async with running_node(way.settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        await nats_server.publish(("A.b", b"1"), ("C.d", b"2"))
        await data(client, 2)
        hold(node, True)
        await nats_server.publish(*(("A.b", b"%d" % number) for number in range(3, 8)), ("C.d", b"8"))
        hold(node, False)
        got = await data(client, 2)
        assert [(m["seq"], m["channel"], m["prev"]) for m in got] == [(7, "A.b", 6), (8, "C.d", 6)]
        await client.close()


class Reader:
    """A client that keeps what it is told of its channels, and judges it against what was published."""

    def __init__(self, client: WsClient, since: int) -> None:
        self._client = client
        self._since = since
        self._task = asyncio.create_task(self._read())
        self.got: dict[str, list[dict[str, Any]]] = defaultdict(list)

    async def _read(self) -> None:
        while True:
            message = await self._client.message()
            if ":" in message["type"]:
                self.got[message["channel"]].append(message)

    def last(self, channel: str) -> int:
        return int(self.got[channel][-1]["seq"]) if self.got[channel] else 0

    async def judge(self, sent: dict[int, tuple[str, int]]) -> int:
        """Ends. Returns how many messages were lost, each of them told."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()
        lost = 0
        for channel, messages in self.got.items():
            seen = self._since
            for message in messages:
                seq = message["seq"]
                assert seq > seen, f"{channel}: {seq} after {seen}"
                assert sent[seq] == (channel, message["data"])
                between = [other for other in range(seen + 1, seq) if sent[other][0] == channel]
                assert not between or message["prev"] > seen, f"{channel}: {between} lost in silence"
                assert message["prev"] < seq
                lost += len(between)
                seen = seq
        return lost


@each_way
@pytest.mark.parametrize("limits", [{}, {"max_msgs": 5}, {"max_msgs_per_subject": 2}], ids=str)
async def test_nothing_is_lost_in_silence_whatever_happens(
    nats_server: NatsServer, way: Way, limits: dict[str, int]
) -> None:
    source = random.Random(seeded())
    await nats_server.create_stream(**limits, **way.stream)
    sent: dict[int, tuple[str, int]] = {}

    async def publish(*channels: str) -> None:
        values = [(channel, source.randrange(1000)) for channel in channels]
        seqs = await nats_server.publish(*((channel, b"%d" % value) for channel, value in values))
        sent.update(zip(seqs, values, strict=True))

    async with running_node(way.settings(nats_server.url)) as node:
        readers = [
            Reader(await WsClient.open(node.port, *channels), 0)
            for channels in (CHANNELS, CHANNELS[:1], CHANNELS[1:])
        ]
        for _ in range(60):
            await publish(*(source.choice(CHANNELS) for _ in range(source.randrange(1, 12))))
            happens = source.random()
            if happens < 0.25:
                hold(node, source.random() < 0.5)
            elif happens < 0.35:
                cut(node)
            elif happens < 0.5:
                async with nats_server.client() as broker:
                    await broker.jetstream().delete_msg(STREAM, max(sent))
            elif happens < 0.6:
                async with nats_server.client() as broker:
                    await broker.jetstream().purge_stream(STREAM, seq=max(sent))
            elif happens < 0.65:
                nats_server.kill()
                nats_server.start()
            await asyncio.sleep(source.random() * 0.03)
        hold(node, False)
        await until(lambda: node.feed.connected)
        await publish(*CHANNELS)
        await until(lambda: all(reader.last(c) >= max(sent) - 2 for reader in readers for c in reader.got))
        lost = sum([await reader.judge(sent) for reader in readers])
        print(f"{len(sent)} sent, {lost} lost and told, {node.counters.stream_holes} holes")
        assert lost
