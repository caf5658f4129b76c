"""Limits are the node's: they hold for the sum, however many knock at once and with whom."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.nats import NatsServer
from tests.support.several import Several, several, until
from tests.support.wsclient import WsClient

pytestmark = pytest.mark.race


async def _burst(node: Several, count: int, source: str | None = None) -> tuple[list[WsClient], Counter[str]]:
    """So many knock at the same time: who is in, and why the others are not."""
    answers = await asyncio.gather(*(node.knock(source) for _ in range(count)))
    inside = [answer for answer in answers if isinstance(answer, WsClient)]
    return inside, Counter(answer for answer in answers if isinstance(answer, str))


async def test_no_burst_gets_above_the_limit_and_none_stays_below(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TEST_SEED={seed}")
    source = random.Random(seed)
    async with several(tmp_path, nats_server.url, 4, WS_MAX_CONNECTIONS="50") as node:
        inside, refused = await _burst(node, 300)
        assert (len(inside), refused) == (50, {"connections": 250})
        for _ in range(8):
            source.shuffle(inside)
            leaving = source.randint(1, 12)
            for client in inside[:leaving]:
                await client.close()
            del inside[:leaving]
            await until(lambda left=50 - leaving: node.status()["connections"]["current"] == left)  # type: ignore[misc]
            more, refused = await _burst(node, 60)
            inside += more
            assert (len(more), refused) == (leaving, {"connections": 60 - leaving})
        metrics = node.metrics()
        assert metrics["ws_connections_current"] == sum(metrics["ws_process_connections"].values()) == 50
        assert min(metrics["ws_process_connections"].values()) > 0


async def test_the_limit_of_an_address_counts_all_its_connections(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url, 4, WS_MAX_CONNECTIONS_PER_ADDRESS="3") as node:
        for last in range(2, 12):  # an address each
            inside, refused = await _burst(node, 8, f"127.0.0.{last}")
            assert (len(inside), refused) == (3, {"address": 5})
        assert node.status()["connections"]["current"] == 30
        await inside.pop().close()
        await until(lambda: node.status()["connections"]["current"] == 29)
        assert isinstance(await node.knock("127.0.0.11"), WsClient)
        assert await node.knock("127.0.0.11") == "address"
        # Who could have come in and was no WebSocket client has taken no place.
        for _ in range(8):
            stranger = await WsClient.connect(node.port, b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await stranger.response())[0] == 426
            await stranger.close()
        assert len((await _burst(node, 8))[0]) == 3


async def test_rates_and_budgets_are_shared(tmp_path: Path, nats_server: NatsServer) -> None:
    async with several(tmp_path, nats_server.url, WS_MAX_BROADCAST_RATE="200") as node:
        clients = await node.shared(10, "A.b")
        await until(lambda: node.metrics()["ws_feed_connected"])
        await asyncio.sleep(2.1)  # shares are looked at once a second
        started = time.monotonic()
        wanted = 600 // len(clients)
        await nats_server.publish(*[("A.b", b"1")] * wanted)
        await asyncio.gather(*(client.messages(wanted) for client in clients))
        # 600 frames at 200 a second, but for the bursts that each of the two is given.
        assert 2.0 < time.monotonic() - started < 12
