"""Resume and replay: what was missed comes in order, once, and what can't come is told."""

from __future__ import annotations

from typing import Any

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient


def _subscribe(channels: list[str], **data: Any) -> dict[str, Any]:
    return {"type": "subscribe", "data": {"channels": channels, **data}}


async def _publish(nats_server: NatsServer, channel: str, first: int, last: int) -> None:
    await nats_server.publish(*((channel, b'{"n":%d}' % n) for n in range(first, last + 1)))


async def test_what_was_missed_comes_before_what_is_new(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await _publish(nats_server, "A.b", 1, 5)
        await _publish(nats_server, "C.d", 6, 6)
        await until(lambda: node.feed.position == 6)
        client = await WsClient.open(node.port)
        resume = {"epoch": node.feed.epoch, "seq": 2, "channels": {"C.d": 6}}
        assert await client.ask(_subscribe(["A.b", "C.d"], resume=resume)) == {
            "type": "subscription_ack",
            "subscribed": ["A.b", "C.d"],
            "count": 2,
            "seq": 6,
            "channels": {"A.b": {"recovered": True}, "C.d": {"recovered": True}},
        }
        got = await client.messages(5)
        assert got[0] == {"type": "caught_up", "channel": "C.d", "seq": 6}
        assert [(m["seq"], m["prev"]) for m in got[1:4]] == [(3, 2), (4, 3), (5, 4)]
        assert got[4] == {"type": "caught_up", "channel": "A.b", "seq": 6}
        await _publish(nats_server, "A.b", 7, 7)
        assert [(m["seq"], m["prev"]) for m in await client.messages(1)] == [(7, 5)]
        await client.close()


async def test_another_epoch_recovers_nothing(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        await _publish(nats_server, "A.b", 1, 3)
        await until(lambda: node.feed.position == 3)
        client = await WsClient.open(node.port)
        for resume in ({"epoch": "other", "seq": 1}, {"epoch": node.feed.epoch, "seq": 1, "ts": 5}):
            ack = await client.ask(_subscribe(["A.b"], resume=resume))
            assert (ack["seq"], ack["channels"]) == (3, {"A.b": {"recovered": False}})
        await _publish(nats_server, "A.b", 4, 4)
        assert [m["seq"] for m in await client.messages(1)] == [4]
        await client.close()
