"""Clients that take patches end with the very values that others get whole, whatever happens on the way."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.slowclient import (
    FILLING,
    data_of,
    hear,
    hear_until,
    open_slow,
    seqs_of,
    subscribing,
)
from tests.support.sseclient import SseClient
from tests.support.wsclient import WsClient
from wsnode.node import Node
from wsnode.protocol.delta import apply_delta

STILL = "s" * 300


class Patched:
    """What a client holds that applies patches."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, Any]] = {}
        self.patches = 0

    def take(self, message: dict[str, Any]) -> tuple[int, Any]:
        """A data message; its sequence and what it says."""
        channel, seq = message["channel"], message["seq"]
        if "delta" in message:
            had, before = self.held[channel]
            assert had == message["prev"]
            value = apply_delta(before, message["delta"])
            self.patches += 1
        else:
            value = message["data"]
        self.held[channel] = seq, value
        return seq, value


def _tick(rng: random.Random, number: int) -> dict[str, Any]:
    tick = {
        "n": number,
        "still": STILL,
        "deep": {"bid": rng.randint(1, 3), "ask": rng.choice([1, 1.5, True])},
    }
    for name in "abc":
        if rng.random() < 0.5:
            tick[name] = rng.choice(["", 0, False, [], {}, {"x": None}, None])
    return tick


async def _publish(server: NatsServer, channel: str, *ticks: Any) -> None:
    await server.publish(*((channel, json.dumps(tick).encode()) for tick in ticks))


async def _arrived(node: Node, seq: int) -> None:
    await until(lambda: node.feed.position == seq)


async def test_patches_follow_the_first_message(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        await client.ask(subscribing("A.b", "C.d", delta=True))
        ticks = [{"still": STILL, "n": n} for n in range(4)]
        await _publish(nats_server, "A.b", *ticks[:2])
        await _publish(nats_server, "C.d", ticks[2])
        await _publish(nats_server, "A.b", ticks[3], [1], {"still": STILL, "n": 9})
        heard = await hear(client, 6)
        assert [m.get("delta", m.get("data")) for m in heard] == [
            ticks[0],
            {"n": 1},
            ticks[2],
            {"n": 3},
            [1],
            {"still": STILL, "n": 9},
        ]
        assert ["delta" in m for m in heard] == [False, True, False, True, False, False]
        assert [m["prev"] for m in heard] == [0, 1, 0, 2, 4, 5]
        await client.close()


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_is_patched_holds_what_was_published(nats_server: NatsServer, seed: int) -> None:
    """Plain, compressed, of a pattern and as events, beside one that gets all in full."""
    rng = random.Random(seed)
    async with running_node(node_settings(nats_server.url)) as node:
        full = await WsClient.open(node.port, "*")
        client = await WsClient.open(node.port)
        await client.ask(subscribing("A.*", "A.b", "B.b", delta=True))
        stream = await SseClient.open(node.port, "/sse?channels=A.b,*.c&delta=1")
        await stream.messages(2)
        url = f"ws://127.0.0.1:{node.port}/ws?channels=*&delta=1"
        async with connect(url) as compressed:
            assert compressed.response is not None
            assert "permessage-deflate" in compressed.response.headers["Sec-WebSocket-Extensions"]
            published: dict[int, tuple[str, Any]] = {}
            for number in range(1, 81):
                channel = rng.choice(["A.b", "A.c", "B.b"])
                published[number] = channel, _tick(rng, number)
                await _publish(nats_server, channel, published[number][1])
            for message in await hear(full, 80):
                assert message["data"] == published[message["seq"]][1]
            held = [Patched() for _ in range(3)]
            own = [number for number, (channel, _) in published.items() if channel != "B.b"]
            for message in await hear(client, 80):
                seq, value = held[0].take(message)
                assert value == published[seq][1]
            for _ in own:
                seq, value = held[1].take(await stream.message())
                assert value == published[seq][1]
            count = 0
            while count < 80:
                message = json.loads(await compressed.recv())
                if "prev" in message and "channel" in message:
                    count += 1
                    seq, value = held[2].take(message)
                    assert value == published[seq][1]
            assert all(each.patches > 20 for each in held)
        await full.close()
        await client.close()
        await stream.close()


async def test_a_patch_rests_only_on_what_was_given(nats_server: NatsServer) -> None:
    """Across a resume, another subscription, and a name that comes while another goes."""
    async with running_node(node_settings(nats_server.url)) as node:
        ticks = [{"still": STILL, "n": number} for number in range(1, 40)]
        await _publish(nats_server, "A.b", *ticks[:5])
        await until(lambda: node.feed.position == 5)
        client = await WsClient.open(node.port)
        await client.send(subscribing("A.b", resume={"epoch": node.feed.epoch, "seq": 2}, delta=True))
        heard = data_of(await hear_until(client, "caught_up"))
        await _publish(nats_server, "A.b", *ticks[5:8])
        heard += await hear(client, 3)
        await client.send(subscribing("A.b", "A.*"))
        await client.send({"type": "unsubscribe", "data": {"channels": ["A.b"]}})
        await hear_until(client, "unsubscription_ack")
        await _publish(nats_server, "A.b", *ticks[8:11])
        heard += await hear(client, 3)
        await client.ask(subscribing("A.b", delta=True))
        await client.ask({"type": "unsubscribe", "data": {"channels": ["A.*"]}})
        await _publish(nats_server, "A.b", *ticks[11:14])
        heard += await hear(client, 3)
        await client.send({"type": "replay", "data": {"since": 12}})
        replayed = data_of(await hear_until(client, "replay_complete"))
        assert [m["data"] for m in replayed] == ticks[12:14]
        await _publish(nats_server, "A.b", ticks[14])
        heard += await hear(client, 1)
        held = Patched()
        assert [held.take(m) for m in heard] == [(n, ticks[n - 1]) for n in range(3, 16)]
        kinds = "".join("d" if "delta" in m else "." for m in heard)
        # Replayed whole, patched, asked for whole, patched again after the first.
        assert kinds == "....dd" + "..." + ".dd" + "."
        await client.close()


async def test_patches_and_skips_together(nats_server: NatsServer) -> None:
    rng = random.Random(2)
    async with running_node(node_settings(nats_server.url)) as node:
        client = await open_slow(node.port)
        await client.ask(subscribing("A.b", "F.f", conflate=True, delta=True))
        ticks: dict[int, Any] = {}

        async def publish(count: int) -> None:
            for _ in range(count):
                number = node.feed.position + 1
                ticks[number] = {"still": STILL, "n": number}
                await _publish(nats_server, "A.b", ticks[number])
                await _arrived(node, number)

        await publish(5)
        # No patch makes these short.
        fillings = ({"n": n, "text": rng.randbytes(4000).hex()} for n in range(2 * FILLING + 1))
        await _publish(nats_server, "F.f", *fillings)
        await until(lambda: node.feed.position == 6 + 2 * FILLING and not node._fanout.busy)
        assert node._links.behind
        await publish(5)
        heard = await hear_until(client, node.feed.position)
        await publish(5)
        heard += await hear_until(client, node.feed.position)
        held = Patched()
        mine = [m for m in data_of(heard) if m["channel"] == "A.b"]
        assert [value for _, value in map(held.take, mine)] == [ticks[m["seq"]] for m in mine]
        after = next(i for i, m in enumerate(mine) if "skipped" in m)
        assert "delta" not in mine[after]
        assert "delta" not in mine[after + 1]
        assert ["delta" in m for m in mine[after + 2 :]] == [True] * 4
        await client.close()


async def test_no_patch_rests_on_what_the_line_let_go(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, worker_queue_size=4, max_broadcast_rate=0.01)
    async with running_node(settings) as node:
        client = await WsClient.open(node.port)
        await client.ask(subscribing("A.b", delta=True))
        for number in range(1, 4):
            await _publish(nats_server, "A.b", {"still": STILL, "n": number})
            await until(lambda number=number: node.feed.position == number)  # type: ignore[misc]
        await _publish(nats_server, "A.b", *({"still": STILL, "n": n} for n in range(4, 20)))
        await until(lambda: node.feed.position == 19)
        assert node.counters.dropped_broadcasts == 12
        node._fanout._bucket.rate = 0
        node._links.settings = node.settings.model_copy(update={"max_broadcast_rate": 0.0})
        node._fanout.update(node._links.settings)
        heard = data_of(await hear_until(client, 19))
        assert seqs_of(heard) == [1, 2, 3, 16, 17, 18, 19]
        held = Patched()
        assert [value["n"] for _, value in map(held.take, heard)] == seqs_of(heard)
        assert ["delta" in m for m in heard] == [False, True, True, False, True, True, True]
        await client.close()
