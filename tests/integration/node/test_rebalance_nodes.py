"""Rebalance with real nodes and real clients, over the nodes' admin ports.

Only the Service is played: clients come back, after the time they are told, to a labelled node at random.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node
from tests.support.wsclient import WsClient
from wsfleet.scaling import (
    NodeSample,
    RebalanceMemory,
    RebalancePhase,
    RebalancePolicy,
    drain_state,
    rebalance,
    steer,
)
from wsfleet.scrape import DirectTransport, NodeAdmin, Target
from wsnode.admin import AdminServer
from wsnode.node import Node

TOKEN = "token-of-the-fleet"
LOOK_SECONDS = 0.25
QUICK = {"label_seconds": 0.1, "settle_seconds": 1.6, "round_seconds": 5.0, "ease_seconds": 1.0}


class ManyPorts:
    """Each node of this machine has an admin port of its own."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._to = {uid: DirectTransport(port) for uid, port in ports.items()}

    async def request(self, method: str, target: Target, path: str, **more: Any) -> Any:
        return await self._to[target.uid].request(method, target, path, **more)

    async def close(self) -> None:
        for one in self._to.values():
            await one.close()


@dataclass
class Fleet:
    """Nodes, their labels, and clients that come back."""

    nodes: dict[str, Node]
    admin: NodeAdmin
    chance: random.Random
    labels: dict[str, bool] = field(default_factory=dict)
    memory: RebalanceMemory = field(default_factory=RebalanceMemory)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    moves: list[int] = field(default_factory=list)

    def counts(self) -> list[int]:
        return [node.connections for node in self.nodes.values()]

    async def client(self, uid: str, number: int) -> None:
        while True:
            client = await WsClient.open(self.nodes[uid].port)
            try:
                closed = await client.closed()
            finally:
                await client.close()
            assert closed.code == 1012, closed
            self.moves.append(number)
            await asyncio.sleep(int(closed.reason.removeprefix("reconnect;after=")) / 1000)
            uid = self.chance.choice([one for one, label in self.labels.items() if label])

    def join(self, uid: str, many: int) -> None:
        first = len(self.tasks)
        self.tasks += [asyncio.create_task(self.client(uid, first + number)) for number in range(many)]

    async def look(self, policy: RebalancePolicy, budget: float) -> None:
        targets = [Target(uid, "games", uid, "127.0.0.1") for uid in self.nodes]
        figures = await self.admin.scrape(targets)
        samples = [
            NodeSample(
                uid=uid,
                name=uid,
                shape="a",
                ready=one.ready,
                serving=self.labels[uid],
                drain=drain_state(one.drain_state),
                connections=one.connections,
                max_connections=one.max_connections,
                cpu_percent=one.cpu_percent,
                rejections=one.rejections,
                sample_age_seconds=time.monotonic() - one.taken,
                pod_age_seconds=600.0,
            )
            for uid, one in figures.items()
        ]
        found, self.memory = rebalance(policy, samples, self.memory, time.time(), budget)
        for shed in found.sheds:
            target = next(one for one in targets if one.uid == shed.uid)
            for _ in range(2):  # a command that is repeated changes nothing
                await self.admin.shed(target, TOKEN, shed_id=shed.id, down_to=shed.target, rate=shed.rate)
        for change in steer(samples, 10_000, receivers=found.receivers):
            self.labels[change.uid] = change.serving


@contextlib.asynccontextmanager
async def running_fleet(broker: NatsServer, folder: Path, seed: int, number: int) -> AsyncIterator[Fleet]:
    tokens = folder / "tokens"
    tokens.write_text(TOKEN)
    async with contextlib.AsyncExitStack() as stack:
        nodes, ports = {}, {}
        for index in range(number):
            settings = node_settings(
                broker.url, node_name=f"node-{index}", admin_token_file=str(tokens), close_timeout=2.0
            )
            node = await stack.enter_async_context(running_node(settings))
            server = AdminServer(node)
            await server.start()
            stack.push_async_callback(server.stop)
            nodes[f"n{index}"], ports[f"n{index}"] = node, server.port
        admin = NodeAdmin(ManyPorts(ports), timeout=5.0, term=lambda: 3)
        stack.push_async_callback(admin.close)
        fleet = Fleet(nodes, admin, random.Random(seed), dict.fromkeys(nodes, True))
        yield fleet
        for task in fleet.tasks:
            task.cancel()
        ended = await asyncio.gather(*fleet.tasks, return_exceptions=True)
        assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == []


async def test_a_new_node_gets_its_share_and_no_client_is_closed_twice(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    policy = RebalancePolicy(enabled=False, requested="2026-01-01T00:00:00Z", **QUICK)  # type: ignore[arg-type]
    async with running_fleet(nats_server, tmp_path, seed=7, number=3) as fleet:
        fleet.join("n0", 150)
        fleet.join("n1", 150)
        while sum(fleet.counts()) < 300:
            await asyncio.sleep(0.05)
        while fleet.memory.done != policy.requested:
            await fleet.look(policy, budget=100.0)
            await asyncio.sleep(LOOK_SECONDS)
        while sum(fleet.counts()) < 300:
            await asyncio.sleep(0.05)
        assert max(fleet.counts()) <= 110
        assert 80 <= len(fleet.moves) <= 88, "two nodes of 150 have 110 as their limit"
        assert len(set(fleet.moves)) == len(fleet.moves)
        closes = [node.counters.connections_closed["shed"] for node in fleet.nodes.values()]
        assert closes[2] == 0
        assert sum(closes) == len(fleet.moves)
        moved = len(fleet.moves)
        while fleet.memory.phase is not RebalancePhase.IDLE:
            await fleet.look(policy, budget=100.0)
            await asyncio.sleep(LOOK_SECONDS)
        await fleet.look(policy, budget=100.0)
        assert len(fleet.moves) == moved
