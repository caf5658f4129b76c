"""The feed on a cluster of three servers: leaders change, servers leave and die, nobody misses anything."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.nats import STREAM
from tests.support.nats_cluster import SERVERS, NatsCluster
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient
from wsnode.node import Node

pytestmark = pytest.mark.race

SEED = int(os.environ.get("FEED_CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NatsCluster]:
    """Three servers, ended whatever happens."""
    servers = NatsCluster(tmp_path).start()
    try:
        yield servers
    finally:
        servers.stop()


async def _publish(servers: NatsCluster, stop: asyncio.Event) -> list[int]:
    """Publishes numbers one after another until told to stop; returns those that the cluster has taken.

    Each until it is acknowledged: the message's id keeps one that was taken twice from being there twice.
    """
    taken: list[int] = []
    async with servers.client() as client:
        jetstream = client.jetstream(timeout=2)
        for number in itertools.count():
            if stop.is_set():
                return taken
            while True:
                with contextlib.suppress(Exception):
                    headers = {"Nats-Msg-Id": str(number)}
                    await jetstream.publish("odin.token.A.b", b"%d" % number, headers=headers)
                    break
                await asyncio.sleep(0.05)
            taken.append(number)
            await asyncio.sleep(0.002)
    return taken


@contextlib.asynccontextmanager
async def _under_way(servers: NatsCluster, url: str = "") -> AsyncIterator[Node]:
    """A node and a client that must get every number in order, while the test does what it does."""
    print(f"FEED_CLUSTER_SEED={SEED}")
    await servers.ready()
    async with running_node(node_settings(url or servers.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        got: list[tuple[int, int]] = []
        seen = 0

        async def read() -> None:
            nonlocal seen
            while True:
                message = await client.message()
                if message["type"] != "price:update":
                    continue
                got.append((message["seq"], message["data"]))
                assert message["prev"] == seen
                seen = message["seq"]

        stop = asyncio.Event()
        reading = asyncio.create_task(read())
        publishing = asyncio.create_task(_publish(servers, stop))
        await until(lambda: len(got) > 20)
        yield node
        before = len(got)
        await until(lambda: len(got) > before + 20 or reading.done(), 60)
        stop.set()
        taken = await publishing
        await until(lambda: len(got) >= len(taken) or reading.done(), 60)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        assert [number for _, number in got] == taken
        assert [seq for seq, _ in got] == sorted(seq for seq, _ in got)
        await client.close()


@pytest.mark.parametrize("what", [f"STREAM.LEADER.STEPDOWN.{STREAM}", "META.LEADER.STEPDOWN"])
async def test_leaders_change(servers: NatsCluster, what: str) -> None:
    async with _under_way(servers):
        for _ in range(4):
            await servers.step_down(what)
            await asyncio.sleep(0.4)


async def test_all_servers_are_restarted_one_after_another(servers: NatsCluster) -> None:
    async with _under_way(servers):
        for index in range(SERVERS):
            await servers.stop_one(index)
            servers.start_one(index)
            await asyncio.sleep(1.0)


async def test_a_server_sends_its_clients_away_before_it_restarts(servers: NatsCluster) -> None:
    async with _under_way(servers, f"nats://127.0.0.1:{servers.ports[0]}"):
        await servers.stop_one(0, signal.SIGUSR2)
        servers.start_one(0)


async def test_servers_are_killed_the_leader_among_them(servers: NatsCluster) -> None:
    rng = random.Random(SEED)
    killed: list[Callable[[], Awaitable[int]]] = [servers.leader, _any(rng), _any(rng)]
    async with _under_way(servers):
        for choose in killed:
            index = await choose()
            servers.kill_one(index)
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            servers.start_one(index)
            await asyncio.sleep(1.5)


def _any(rng: random.Random) -> Callable[[], Awaitable[int]]:
    async def choose() -> int:
        return rng.randrange(SERVERS)

    return choose
