"""Clients that hop between real nodes while nodes and the broker come and go, and the account of each.

`Arena` is a broker, a few nodes and a publisher that notes what the broker acknowledged; its nodes live in
this loop, those of `ProcessArena` in processes of their own, two each. A `Hopper` is a client that leaves
its node every moment and writes down all it is told; `hopaudit.Audit` holds that against the truth: each
message of its channels came once, in order, or was told as missing (or as passed over, where that was
asked for) before anything newer of its channel came.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client as NatsClient
from nats.js.errors import BadRequestError

from tests.support.nats import STREAM, NatsServer
from tests.support.node import WAIT_SECONDS, node_settings, until
from tests.support.node_process import SERVE, NodeProcess
from tests.support.several import Several
from tests.support.sseclient import SseClient, stream_request
from wsnode.channels import matches
from wsnode.client import Client, Event, Message
from wsnode.client_session import Session
from wsnode.node import Node
from wsnode.protocol.sse import parse_last_event_id
from wsnode.standing import Standing

PUBLISH_TIMEOUT_SECONDS = 1.0


@dataclass
class Truth:
    """One stream: what the broker acknowledged, by channel, and what every message says."""

    acknowledged: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[int, int] = field(default_factory=dict)


class Arena:
    """A broker, nodes on ports of their own, and a publisher."""

    def __init__(self, server: NatsServer, rng: random.Random, nodes: int, **settings: Any) -> None:
        self.server, self.rng, self.settings = server, rng, settings
        self.nodes: list[Any] = [None] * nodes
        self.ports = [0] * nodes
        self.truths: dict[str, Truth] = defaultdict(Truth)
        self.contents: dict[int, Any] = {}
        """Data by its number, also of messages that were never acknowledged."""
        self.epoch = ""
        self.publishing = asyncio.Event()
        self.kills = self.outages = self.remakes = 0
        self._broker: NatsClient | None = None
        self._on_its_way = 0

    @property
    def urls(self) -> list[str]:
        """Where the nodes are, also while they are down."""
        return [f"ws://127.0.0.1:{port}/ws" for port in self.ports]

    async def start(self) -> None:
        """All nodes, ready."""
        for index in range(len(self.nodes)):
            await self.start_node(index)
        await until(self.ready)
        self.note_epoch()
        self.publishing.set()

    def ready(self) -> bool:
        """Whether all nodes are there and have read the stream."""
        return all(node is not None and node.ready for node in self.nodes)

    def note_epoch(self) -> None:
        """What the nodes call the stream there is now."""
        self.epoch = next(node.feed.epoch for node in self.nodes if node is not None)

    async def start_node(self, index: int) -> None:
        """A node, on the port that it had before."""
        name = f"node-{index}"
        settings = node_settings(
            self.server.url, addr=f"127.0.0.1:{self.ports[index]}", node_name=name, **self.settings
        )
        node = Node(settings)
        node.open()
        node.feed_reader.start()
        self.nodes[index], self.ports[index] = node, node.port

    async def kill_node(self, index: int) -> None:
        """No goodbye to anyone."""
        node, self.nodes[index] = self.nodes[index], None
        if node is None:
            return
        node.close_port()
        node.close()
        async with asyncio.timeout(WAIT_SECONDS):
            await node.feed_reader.stop()
        self.kills += 1

    async def restart_broker(self, down: float) -> None:
        """It crashes, and is away for a while."""
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(down)
        await asyncio.to_thread(self.server.start)
        self.outages += 1

    async def remake_stream(self, **limits: Any) -> None:
        """The stream is deleted and made again, while nothing is published."""
        self.publishing.clear()
        await until(lambda: not self._on_its_way)
        async with self.server.client() as broker:
            await broker.jetstream().delete_stream(STREAM)
        with contextlib.suppress(BadRequestError):  # a node was first
            await self.server.create_stream(**limits)
        before = self.epoch
        alive = [node for node in self.nodes if node is not None]
        await until(lambda: all(node.feed.epoch != before and node.ready for node in alive))
        self.note_epoch()
        self.publishing.set()
        self.remakes += 1

    async def publish(self, channel: str, data: Any) -> bool:
        """One message; False where the broker did not say that it has it."""
        await self.publishing.wait()
        number = len(self.contents)
        data = {"number": number, **data} if isinstance(data, dict) else data
        self.contents[number] = json.dumps(data, sort_keys=True)
        epoch = self.epoch
        self._on_its_way += 1
        try:
            if self._broker is None:
                self._broker = await nats.connect(self.server.url, allow_reconnect=False, connect_timeout=1)
            stream = self._broker.jetstream(timeout=PUBLISH_TIMEOUT_SECONDS)
            answer = await stream.publish(f"odin.token.{channel}", json.dumps(data).encode())
        except Exception:  # whatever the library raises while its broker dies
            await self.hang_up()
            await asyncio.sleep(0.05)
            return False
        finally:
            self._on_its_way -= 1
        truth = self.truths[epoch]
        bisect.insort(truth.acknowledged[channel], answer.seq)
        truth.numbers[answer.seq] = number
        return True

    async def hang_up(self) -> None:
        """The publisher's own connection ends."""
        broker, self._broker = self._broker, None
        if broker is not None:
            with contextlib.suppress(Exception):
                await broker.close()

    async def stop(self) -> None:
        """Everything ends."""
        await self.hang_up()
        for index in range(len(self.nodes)):
            await self.kill_node(index)


class ProcessArena(Arena):
    """The same with nodes of two processes each, killed by the kernel."""

    def __init__(self, server: NatsServer, rng: random.Random, nodes: int, directory: Path) -> None:
        super().__init__(server, rng, nodes)
        self._directory = directory

    def ready(self) -> bool:
        return all(node is not None and node.ask("/readyz")[0] == 200 for node in self.nodes)

    def note_epoch(self) -> None:
        self.epoch = next(node.status()["feed"]["epoch"] for node in self.nodes if node is not None)

    async def start_node(self, index: int) -> None:
        settings = SERVE | {
            "NATS_URL": self.server.url,
            "WS_ADDR": f"127.0.0.1:{self.ports[index]}",
            "WS_NODE_NAME": f"node-{index}",
            "WS_PROCESSES": "2",
            "WS_POSITION_INTERVAL": "1",
            "JS_STREAM_MAX_AGE": "600s",
            "WS_CPU_LIMIT": "100",
            "WS_CPU_REJECT_THRESHOLD": "94",
            "WS_CPU_PAUSE_THRESHOLD": "99",
            "WS_MEMORY_LIMIT": "64Gi",
        }
        process = await asyncio.to_thread(NodeProcess, self._directory, **settings)
        try:
            node = await asyncio.to_thread(Several, process, 2)
        except BaseException:
            process.stop()
            raise
        self.nodes[index], self.ports[index] = node, node.port

    async def kill_node(self, index: int) -> None:
        node, self.nodes[index] = self.nodes[index], None
        if node is None:
            return
        workers = node.workers()
        await asyncio.to_thread(node.process.stop)
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kills += 1

    def kill_worker(self, index: int) -> None:
        """One process of a node; the node makes another."""
        node = self.nodes[index]
        workers = node.workers() if node is not None else []
        if workers:
            os.kill(self.rng.choice(workers), signal.SIGKILL)
            self.kills += 1


class Hopper:
    """One client, and its diary."""

    standing: Standing

    def __init__(self, arena: Arena, names: Iterable[str], rng: random.Random, **options: Any) -> None:
        self.arena, self.names, self.rng, self.options = arena, tuple(names), rng, options
        self.diary: list[Event | Message] = []
        self.open()
        self._task = asyncio.create_task(self.follow())

    def open(self) -> None:
        """Makes what the client needs."""
        raise NotImplementedError

    async def follow(self) -> None:
        """Reads, as long as it is let."""
        raise NotImplementedError

    def cut(self) -> None:
        """Leaves its node at once."""
        raise NotImplementedError

    async def hop(self, until: asyncio.Event, shortest: float, longest: float) -> None:
        """Leaves its node again and again."""
        while not until.is_set():
            await asyncio.sleep(self.rng.uniform(shortest, longest))
            self.cut()

    def has(self, newest: dict[str, int]) -> bool:
        """Whether all its channels have come up to there."""
        if self._task.done():
            self._task.result()
        last = self.standing.last
        return all(
            last.get(channel, -1) >= seq
            for channel, seq in newest.items()
            if any(matches(name, channel) for name in self.names)
        )

    async def leave(self) -> None:
        """Ends; what went wrong in it comes out."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def __str__(self) -> str:
        wanted = [name for name, value in self.options.items() if value]
        return " ".join([type(self).__name__, *self.names, *wanted])


class ClientHopper(Hopper):
    """The library's client."""

    def open(self) -> None:
        urls = self.arena.urls
        self.rng.shuffle(urls)
        self.client = Client(
            urls, self.names, retry=(0.002, 0.05), rng=self.rng, on_event=self.diary.append, **self.options
        )
        self.standing = self.client.standing

    async def follow(self) -> None:
        async for message in self.client:
            self.diary.append(message)
            if self.rng.random() < 0.002:
                await asyncio.sleep(self.rng.uniform(0, 0.2))

    def cut(self) -> None:
        self.client.hop()


class _LastEventId(Standing):
    """An EventSource knows one sequence for all its channels: that of the last event that had an id."""

    last_id = ""

    def point(self) -> dict[str, Any] | None:
        told = parse_last_event_id(self.last_id)
        return {"epoch": told[0], "seq": told[1], "channels": {}} if told is not None else None


class EventSourceHopper(Hopper):
    """Server-sent events, and a script that resumes as the browser does."""

    standing: _LastEventId

    def open(self) -> None:
        self.standing = _LastEventId(self.names)
        self._stream: SseClient | None = None

    async def follow(self) -> None:
        while True:
            port = self.rng.choice(self.arena.ports)
            headers = {"Last_Event_ID": self.standing.last_id} if self.standing.last_id else {}
            request = stream_request(port, f"/sse?channels={','.join(self.names)}", **headers)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                self._stream = await SseClient.connect(port, request)
                await self._read(self._stream)
            await self._hang_up()
            await asyncio.sleep(self.rng.uniform(0.002, 0.05))

    async def _read(self, stream: SseClient) -> None:
        if stream.status != 200:
            return
        session = Session(self.standing, self.names, self.diary.append)
        while not session.leave and (event := await stream.event()) is not None:
            if event.message["type"] == "hello" and not event.message["epoch"]:
                return
            message = session.receive(json.dumps(event.message))
            self.standing.last_id = event.id or self.standing.last_id
            if message is not None:
                self.diary.append(message)

    async def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                await stream.close()

    def cut(self) -> None:
        if self._stream is not None:
            self._stream.transport.abort()

    async def leave(self) -> None:
        await super().leave()
        await self._hang_up()
