"""An operator killed amid each step: the next one goes on, and does no harm that one alone would not do.

Operators are real processes, one after the other; the API server and the nodes are scripted, with clients
that are counted.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.crowded_fleet import CrowdedFleet
from tests.support.operating import wsfleet
from tests.support.scripted_operator import Replica, start_replica
from wsfleet.resources import names

NAMESPACE = "games"
CLIENTS = 100
"""On each node at the beginning."""
BUDGET = 50.0
"""Closes a second: a node is emptied in two seconds, so that there is a while to die in."""
WAIT_SECONDS = 60.0
HELD_BACK_SECONDS = 0.3
"""A kill comes up to so long after what it waits for."""


class Ground:
    """A fleet with clients, and the operators that die over it one after the other."""

    def __init__(self, folder: Path, fleet: CrowdedFleet, chance: random.Random) -> None:
        self.folder, self.fleet, self.chance = folder, fleet, chance
        self.replicas: list[Replica] = []
        """All that there were; the last one but one acts, the last one waits."""
        self.killed = 0

    async def begin(self) -> None:
        """The first operator acts."""
        await self._start()
        await self._turn()

    @property
    def acting(self) -> Replica:
        return self.replicas[-2]

    async def _start(self) -> None:
        name = f"op-{len(self.replicas) + 1}"
        self.replicas.append(await start_replica(self.fleet.api, self.folder, name, waiting=True))

    async def _turn(self) -> None:
        self.replicas[-1].begin()
        await self._start()

    async def end(self) -> None:
        """No operator is left."""
        for replica in self.replicas:
            await replica.kill()

    async def killed_at(self, what: str, reached: Callable[[], object]) -> None:
        """Wait for a state, kill the operator a moment later, and let the next one go on."""
        await self.until(what, reached)
        await asyncio.sleep(self.chance.uniform(0, HELD_BACK_SECONDS))
        still = bool(reached())
        await self.acting.kill()
        self.killed += 1
        print(f"killed: {what}{'' if still else ' (a moment after it)'}")
        await self._turn()

    async def until(self, what: str, holds: Callable[[], object]) -> None:
        """Wait for something; an operator that ends by itself is no better than one that does nothing."""
        end = time.monotonic() + WAIT_SECONDS
        while not holds():
            if time.monotonic() > end or self.acting.ended:
                raise AssertionError(f"{what}: not so\n{self.acting.log.read_text()[-6000:]}")
            await asyncio.sleep(0.01)

    # What there is.

    def spec(self, **changes: Any) -> None:
        """The user changes the fleet."""
        self.fleet.api.patch("wsfleets", NAMESPACE, "odin", {"spec": changes})

    @property
    def status(self) -> dict[str, Any]:
        fleet = self.fleet.api.get("wsfleets", NAMESPACE, "odin") or {}
        return fleet.get("status") or {}

    @property
    def pods(self) -> list[dict[str, Any]]:
        return self.fleet.api.all("pods")

    @property
    def sets(self) -> dict[str, int]:
        """Replicas by ReplicaSet."""
        return {one["metadata"]["name"]: one["spec"]["replicas"] for one in self.fleet.api.all("replicasets")}

    def marked(self) -> list[Any]:
        """Nodes of pods that are to go."""
        return [
            self.fleet.nodes[pod["metadata"]["name"]]
            for pod in self.pods
            if names.VICTIM_ANNOTATION in (pod["metadata"].get("annotations") or {})
            and pod["metadata"]["name"] in self.fleet.nodes
        ]

    def being_emptied(self) -> bool:
        """A drain is under way: clients have gone, and some are there yet."""
        return any(node.draining and node.clients for node in self.fleet.nodes.values())

    def empty(self) -> bool:
        """A drain is over, and the pod still there."""
        return any(node.draining and not node.clients for node in self.fleet.nodes.values())

    def at_rest(self, nodes: int) -> bool:
        """So many nodes, all ready, and nothing that is still to be done."""
        status = self.status
        counts = (status.get("replicas"), status.get("readyReplicas"), status.get("desiredReplicas"))
        fleet = self.fleet.api.get("wsfleets", NAMESPACE, "odin") or {}
        return (
            counts == (nodes, nodes, nodes)
            and status.get("phase") == "Running"
            and status.get("observedGeneration") == fleet["metadata"]["generation"]
            and len(self.pods) == nodes
            and all(node.ready for node in self.fleet.nodes.values())
        )

    def drained(self) -> set[str]:
        """Nodes that were told to drain."""
        return {one.node for one in self.fleet.commands if (one.verb, one.status) == ("PUT /drain", 200)}

    def check(self, clients: int, most_closes: int) -> None:
        """Nobody was cut off, nobody waits, and no more were closed, and no faster, than was needed."""
        fleet = self.fleet
        assert self.killed > 0
        assert sum(node.clients for node in fleet.nodes.values()) == clients
        assert (fleet.cut_off, fleet.away) == (0, 0)
        assert fleet.closed <= most_closes, f"{fleet.closed} closes, {most_closes} were needed"
        assert fleet.most_closes(1.0) <= 1.2 * BUDGET + 5
        taken_back = [one for one in fleet.commands if one.verb == "DELETE /drain"]
        assert not taken_back, "a drain was begun in vain"
        print(f"{self.killed} operators killed, {fleet.closed} closes, {most_closes} allowed")


@asynccontextmanager
async def ground_of(folder: Path, nodes: int) -> AsyncIterator[Ground]:
    """A fleet at rest, with an operator."""
    seed = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    print(f"KILL_SEED={seed}")
    chance = random.Random(seed)
    fleet = CrowdedFleet(folder, chance)
    async with fleet.api as api:
        odin = wsfleet(
            "odin",
            replicas=nodes,
            reconnects={"perSecond": BUDGET},
            drain={"delaySeconds": 0, "timeoutSeconds": 30},
        )
        odin["metadata"]["namespace"] = NAMESPACE
        api.put("wsfleets", odin)
        running = asyncio.create_task(fleet.run())
        ground = Ground(folder, fleet, chance)
        try:
            await ground.begin()
            await ground.until("the fleet", lambda: ground.at_rest(nodes))
            for node in fleet.nodes.values():
                node.clients = CLIENTS
            fleet.open_account()
            yield ground
        finally:
            await ground.end()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_amid_a_scale_out(tmp_path: Path) -> None:
    async with ground_of(tmp_path, 2) as ground:
        ground.spec(replicas=4)
        await ground.killed_at("more are asked for", lambda: sum(ground.sets.values()) == 4)
        await ground.killed_at("they start", lambda: len(ground.pods) == 4)
        await ground.killed_at(
            "they are ready", lambda: all(one.ready for one in ground.fleet.nodes.values())
        )
        await ground.until("four nodes", lambda: ground.at_rest(4))
        assert ground.fleet.most_pods == 4
        assert not ground.drained()
        ground.check(2 * CLIENTS, 0)


async def test_amid_a_scale_in(tmp_path: Path) -> None:
    async with ground_of(tmp_path, 3) as ground:
        ground.spec(replicas=2)
        await ground.killed_at("one is chosen", ground.marked)
        (victim,) = ground.marked()
        await ground.killed_at("it is being emptied", ground.being_emptied)
        await ground.killed_at("it is empty", ground.empty)
        await ground.killed_at("it is given up", lambda: sum(ground.sets.values()) == 2)
        await ground.until("two nodes", lambda: ground.at_rest(2))
        assert ground.drained() == {victim.name}, "one was chosen, and that one went"
        assert victim.name not in ground.fleet.nodes
        assert ground.fleet.fewest_ready == 2
        ground.check(3 * CLIENTS, CLIENTS)


@pytest.mark.timeout(200)
async def test_amid_a_rollout(tmp_path: Path) -> None:
    async with ground_of(tmp_path, 2) as ground:
        old, (old_set,) = set(ground.fleet.nodes), ground.sets

        def new() -> list[Any]:
            return [node for name, node in ground.fleet.nodes.items() if name not in old]

        ground.spec(overrides={"logFormat": "text"})
        await ground.killed_at("a new node is asked for", lambda: len(ground.sets) == 2)
        await ground.killed_at("it starts", new)
        await ground.killed_at("it is ready", lambda: any(node.ready for node in new()))
        await ground.killed_at("an old one is chosen", ground.marked)
        await ground.killed_at("it is being emptied", ground.being_emptied)
        await ground.killed_at("it is given up", lambda: ground.sets[old_set] == 1)
        await ground.killed_at("half are new", lambda: len(new()) == 2)
        await ground.killed_at("the last is being emptied", ground.being_emptied)
        await ground.until("two new nodes", lambda: ground.at_rest(2) and not ground.sets[old_set])
        assert ground.drained() == old, "each old node was emptied, and no other"
        assert not old & set(ground.fleet.nodes)
        assert ground.fleet.most_pods == 3
        assert ground.fleet.fewest_ready == 2
        # The first node's clients may come to the second, which goes too.
        ground.check(2 * CLIENTS, 3 * CLIENTS)


@pytest.mark.timeout(200)
async def test_amid_a_rebalance(tmp_path: Path) -> None:
    async with ground_of(tmp_path, 3) as ground:
        nodes = list(ground.fleet.nodes.values())
        for node, clients in zip(nodes, (400, 100, 100), strict=True):
            node.clients = clients
        mean = 200
        least = 400 - math.floor(mean * 1.1)
        asked = {"annotations": {names.REBALANCE_ANNOTATION: "2026-01-01T00:00:00Z"}}
        ground.fleet.api.patch("wsfleets", NAMESPACE, "odin", {"metadata": asked})
        await ground.killed_at("new clients are steered", lambda: ground.status.get("rebalance") == "Labels")
        await ground.killed_at("clients are closed", lambda: any(node.closing for node in nodes))
        await ground.killed_at("their return is awaited", lambda: ground.fleet.closed >= least)
        await ground.until(
            "even nodes",
            lambda: (
                max(node.clients for node in nodes) <= mean * 1.1
                and ground.status.get("rebalance") in (None, "Easing")
            ),
        )
        assert set(ground.fleet.nodes.values()) == set(nodes)
        ground.check(600, math.ceil(1.1 * least))
