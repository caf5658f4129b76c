"""The clients against the node itself, with a broker of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import nats

from wsnode.client import Client, Subscribed
from wsnode.load import LoadClient
from wsnode.load_figures import Snapshot
from wsnode.load_options import LoadOptions


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node's process, where it listens, and where its broker does."""

    process: asyncio.subprocess.Process
    url: str
    nats_url: str


@contextlib.asynccontextmanager
async def running_node(**settings: str) -> AsyncIterator[RunningNode]:
    """`wsnode serve --embedded-nats` on free ports."""
    environ = {
        **os.environ,
        "WS_ADDR": "127.0.0.1:0",
        "WS_ADMIN_ADDR": "127.0.0.1:0",
        "NATS_URL": "nats://broker.invalid:4222",  # not on loopback, so the broker takes a free port
        "WS_NODE_NAME": "node-under-test",
        # A busy machine is no reason to refuse these few clients.
        "WS_CPU_REJECT_THRESHOLD": "94",
        "WS_CPU_PAUSE_THRESHOLD": "99",
        **settings,
    }
    command = (sys.executable, "-m", "wsnode", "serve", "--embedded-nats")
    process = await asyncio.create_subprocess_exec(*command, env=environ, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    reading: asyncio.Task[None] | None = None
    try:
        seen: dict[str, dict[str, object]] = {}
        async with asyncio.timeout(60):
            while "node started" not in seen:
                line = json.loads(await process.stderr.readline())
                seen[line["message"]] = line
        reading = asyncio.create_task(_read_away(process.stderr))
        port, admin_port = (seen["node started"][name] for name in ("port", "admin_port"))
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while not await _is_ready(session, f"http://127.0.0.1:{admin_port}/readyz"):
                await asyncio.sleep(0.05)
        yield RunningNode(process, f"ws://127.0.0.1:{port}/ws", str(seen["embedded nats-server runs"]["url"]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reading is not None:
            await reading


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(url) as answer:
        return answer.status == 200


async def _read_away(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


async def until(load: LoadClient, condition: Callable[[Snapshot], bool]) -> Snapshot:
    return await asyncio.to_thread(load.wait_for, condition, 30)


async def test_four_hundred_clients_on_eight_channels_miss_nothing() -> None:
    async with running_node() as node:
        channels = tuple(f"S{number}.trade" for number in range(8))
        options = LoadOptions(
            node.url, 400, 1000, channels, 2, check=True, retry_longest=0.5, heartbeat=2, marks=(400,)
        )
        load = LoadClient(options)
        await asyncio.to_thread(load.start)
        try:
            await until(load, lambda shot: shot.subscribed == 400)
            client = await nats.connect(node.nats_url)
            stream = client.jetstream()
            for number in range(400):
                await stream.publish(f"odin.token.{channels[number % 8]}", b'{"n":%d}' % number)
            await client.close()
            shot = await until(load, lambda shot: shot.deliveries == 400 * 100 and shot.positions >= 400)
            assert (shot.broken, shot.messages, shot.notes) == (0, 400, [])
            assert shot.nodes["node-under-test"]["open"] == 400
            assert shot.pongs > 0
        finally:
            await asyncio.to_thread(load.stop)


async def test_clients_that_are_cut_again_and_again_have_every_message_once() -> None:
    async with running_node(WS_POSITION_INTERVAL="1") as node:
        channels = tuple(f"S{number}.trade" for number in range(6))
        options = LoadOptions(
            node.url,
            150,
            1000,
            channels,
            3,
            check=True,
            resume=True,
            churn=(0.5, 1.0),
            retry_longest=0.1,
        )
        load = LoadClient(options)
        await asyncio.to_thread(load.start)
        try:
            await until(load, lambda shot: shot.subscribed >= 100 and shot.opened_total >= 150)
            client = await nats.connect(node.nats_url)
            stream = client.jetstream()
            for number in range(600):
                await stream.publish(f"odin.token.{channels[number % 6]}", b'{"n":%d}' % number)
                await asyncio.sleep(0.005)
            await asyncio.to_thread(load.calm)
            for channel in channels:
                await stream.publish(f"odin.token.{channel}", b"{}")
            await client.close()
            shot = await until(load, lambda shot: shot.messages == 606 and not shot.behind)
            assert shot.subscribed == 150
            assert (shot.broken, shot.told, shot.unrecovered, shot.notes) == (0, 0, 0, [])
            assert shot.deliveries == 150 * 303
            assert shot.resumed > 500
        finally:
            await asyncio.to_thread(load.stop)


async def test_a_drain_closes_with_a_time_to_come_back() -> None:
    settings = {"WS_DRAIN_DELAY": "0s", "WS_DRAIN_RATE": "100", "WS_DRAIN_TIMEOUT": "10s"}
    async with running_node(**settings) as node:
        load = LoadClient(LoadOptions(node.url, 50, check=True, retry_longest=0.5))
        await asyncio.to_thread(load.start)
        try:
            await until(load, lambda shot: shot.subscribed == 50)
            node.process.terminate()
            shot = await until(load, lambda shot: shot.open == 0)
            assert shot.closes == {"1012": 50}
            assert shot.broken == 0
            assert await asyncio.wait_for(node.process.wait(), 30) == 0
        finally:
            await asyncio.to_thread(load.stop)


async def test_the_client_follows_a_channel() -> None:
    async with running_node() as node:
        subscribed = asyncio.Event()
        client = Client(
            node.url,
            ["BTC.trade"],
            on_event=lambda event: subscribed.set() if isinstance(event, Subscribed) else None,
        )

        async def first_three() -> list[object]:
            received: list[object] = []
            async with contextlib.aclosing(aiter(client)) as messages:
                async for message in messages:
                    assert message.missed is None
                    received.append(message.data)
                    if len(received) == 3:
                        break
            return received

        following = asyncio.create_task(first_three())
        await asyncio.wait_for(subscribed.wait(), 30)
        broker = await nats.connect(node.nats_url)
        for number in range(3):
            await broker.jetstream().publish("odin.token.BTC.trade", b'{"n":%d}' % number)
        await broker.close()
        assert await asyncio.wait_for(following, 30) == [{"n": 0}, {"n": 1}, {"n": 2}]
