"""A loss is told before anything newer comes, to those too who go on from one sequence for all channels."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.sseclient import Event, SseClient
from tests.support.wsclient import WsClient
from wsnode.config import Settings
from wsnode.node import Node
from wsnode.watch import SettingsChange


def _change(node: Node, **changes: Any) -> None:
    node.apply(SettingsChange(Settings(**node.settings.model_dump() | changes), "", None))


async def _events(stream: SseClient, last: int) -> list[Event]:
    """All up to the one of this sequence."""
    events: list[Event] = []
    while not events or events[-1].message.get("seq") != last:
        event = await asyncio.wait_for(stream.event(), 10)
        assert event is not None
        events.append(event)
    return events


async def test_what_the_line_let_go_is_told_before_newer_messages(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, worker_queue_size=5, max_broadcast_rate=0.01)
    async with running_node(settings) as node:
        stream = await SseClient.open(node.port, "/sse?channels=A.b,C.d")
        for number in range(3):  # two pass at once, the third waits in its round
            await nats_server.publish(("C.d", b"%d" % number))
            await until(lambda number=number: node.feed.position == number + 1)  # type: ignore[misc]
        await nats_server.publish(("A.b", b"lost"), *(("C.d", b"1") for _ in range(30)))
        await until(lambda: node.feed.position == 34)
        _change(node, max_broadcast_rate=0)
        events = await _events(stream, 34)
        dropped = 34 - 5
        newer = next(i for i, e in enumerate(events) if e.message.get("seq", 0) > dropped)
        told = next(i for i, e in enumerate(events) if e.message.get("prev") == dropped)
        assert told < newer
        assert (events[told].message, events[told].id) == (
            {"type": "position", "seq": 0, "prev": dropped},
            "",
        )
        await stream.close()


async def test_a_hole_in_the_stream_is_told_before_what_follows_it(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        stream = await SseClient.open(node.port, "/sse?channels=A.b,C.d")
        await nats_server.publish(("A.b", b"1"))
        await until(lambda: node.counters.messages_out == 1)
        node.feed_reader.pause(True)
        await nats_server.publish(("A.b", b"2"), ("A.b", b"3"), ("C.d", b"4"), ("C.d", b"5"))
        async with nats_server.client() as broker:
            manager = broker.jetstream()._jsm
            for seq in (2, 3):
                await manager.delete_msg("ODIN_TOKENS", seq)
        node.feed_reader.pause(False)
        events = await _events(stream, 5)
        kinds = [(e.message["seq"], e.message["prev"], e.id != "") for e in events if "prev" in e.message]
        assert kinds == [(1, 0, True), (0, 3, False), (4, 3, True), (5, 4, True)]
        await stream.close()


async def test_an_eventsource_can_go_on_before_its_first_message(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await nats_server.publish(("A.b", b"1"))
        await until(lambda: node.feed.position == 1)
        first = await SseClient.open(node.port, "/sse?channels=A.b")
        assert [m["type"] for m in await first.messages(2)] == ["hello", "subscription_ack"]
        assert first.last_id == f"{node.feed.epoch}-1"
        await first.close()
        await nats_server.publish(("A.b", b"2"))
        await until(lambda: node.feed.position == 2)
        second = await SseClient.open(node.port, "/sse?channels=A.b", Last_Event_ID=first.last_id)
        assert [m.get("seq") for m in await second.messages(3)] == [None, 2, 2]
        assert second.last_id == first.last_id.replace("-1", "-2")
        await second.close()


async def test_who_comes_in_after_the_stream_was_made_again_is_greeted_once(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_broadcast_rate=0.01)) as node:
        old = await WsClient.open(node.port, "A.b")
        for number in range(3):  # two pass at once, the third waits in its round, and what follows behind it
            await nats_server.publish(("A.b", b"%d" % number))
            await until(lambda number=number: node.feed.position == number + 1)  # type: ignore[misc]
        node._ring.restart(3)
        node._stream_restarted("another")
        new = await WsClient.open(node.port, "A.b")
        assert new.hello["epoch"] == "another"
        _change(node, max_broadcast_rate=0)
        await nats_server.publish(("A.b", b"4"))
        assert [m["type"] for m in await old.messages(6)] == [
            *["price:update"] * 3,
            "hello",
            "subscription_ack",
            "price:update",
        ]
        assert [m["type"] for m in await new.messages(1)] == ["price:update"]
        for client in (old, new):
            await client.close()
