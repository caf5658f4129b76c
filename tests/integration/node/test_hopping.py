"""Hopping clients: each message once and in order, or told, while nodes and the broker are killed.

The seed also says how nodes read the stream: by consumers, or as it republishes its messages.

HOPPING_SEED repeats one run, HOPPING_SECONDS makes each longer, HOPPING_RUNS makes more of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.feeds import CONSUMER, REPUBLISHED
from tests.support.hopaudit import Audit
from tests.support.hopping import Arena, ClientHopper, EventSourceHopper, Hopper, ProcessArena
from tests.support.nats import NatsServer
from tests.support.node import until
from wsnode.admission import Admission
from wsnode.client import Missed, Subscribed

pytestmark = pytest.mark.race

SECONDS = float(os.environ.get("HOPPING_SECONDS", "8"))
RUNS = int(os.environ.get("HOPPING_RUNS", "1"))
# Nothing may be told in it, nor with nodes of several processes each; streams that forget within a second,
# and lines that overflow; new streams.
GENTLE, PROCESSES, HARSH, REMADE = WORLDS = "gentle", "processes", "harsh", "remade"
CHANNELS = ("A.x", "A.y", "B.x", "B.y", "C.z")
KINDS: tuple[tuple[tuple[str, ...], dict[str, bool]], ...] = (
    (("A.x",), {}),
    (("A.x",), {"delta": True}),
    (("A.x", "B.y", "C.z"), {}),
    (CHANNELS, {"delta": True, "deflate": True}),
    (("A.*",), {}),
    (("*.x",), {"delta": True}),
    (("*",), {}),
    (("*",), {"deflate": True}),
    (("A.x", "A.*", "*.y"), {}),
    (("B.x", "B.*"), {"delta": True}),
    (("A.x", "C.z"), {"conflate": True}),
    (("*",), {"conflate": True}),
    (("B.*", "A.y"), {"conflate": True, "delta": True, "deflate": True}),
    (("*.x", "C.z"), {"last": True}),
)
STREAMS = (("A.x",), ("A.x", "B.x"), ("*",))


class Run:
    """One run, drawn from a seed."""

    def __init__(self, server: NatsServer, seed: int, world: str, directory: Path) -> None:
        self.seed, self.world, self.harsh = seed, world, world == HARSH
        self.rng = rng = random.Random(seed)
        self.over = asyncio.Event()
        self.one_at_a_time = asyncio.Lock()
        self.hoppers: list[Hopper] = []
        self.way = CONSUMER
        if world == PROCESSES:
            self.arena: Arena = ProcessArena(server, rng, nodes=2, directory=directory)
            return
        self.way = rng.choice([CONSUMER, REPUBLISHED])
        limits: dict[str, Any] = {"js_stream_max_age": 600, "position_interval": 1} | self.way.node
        if self.harsh:
            limits |= {"js_stream_max_msgs": rng.choice([60, 150, 400])}
            limits |= {"worker_queue_size": rng.choice([10, 60, 1000]), "worker_pool_size": 16}
        self.arena = Arena(server, rng, nodes=3, **limits)

    async def live(self) -> None:
        """All of it, to the account."""
        await self.arena.start()
        arena, rng = self.arena, self.rng
        self.hoppers = [
            ClientHopper(arena, names, random.Random(rng.random()), **options) for names, options in KINDS * 2
        ]
        self.hoppers += [EventSourceHopper(arena, names, random.Random(rng.random())) for names in STREAMS]
        chores = [self._publish(), self._nodes(), self._broker()]
        if isinstance(self.arena, ProcessArena):
            chores.append(self._workers(self.arena))
        else:
            chores += [self._positions(), self._pauses()]
        if self.world == REMADE:
            chores.append(self._stream())
        paces = [(0.05, 0.3), (0.02, 0.1), (0.2, 1.5)]
        chores += [hopper.hop(self.over, *paces[i % 3]) for i, hopper in enumerate(self.hoppers)]
        async with asyncio.TaskGroup() as group:
            for chore in (*chores, asyncio.sleep(SECONDS)):
                group.create_task(self._while_all_is_well(chore))
        await self._rest()

    async def close(self) -> None:
        """Ends all, also what failed."""
        for hopper in self.hoppers:
            with contextlib.suppress(Exception):
                await hopper.leave()
        await self.arena.stop()

    async def _while_all_is_well(self, chore: Coroutine[Any, Any, None]) -> None:
        """The first that ends ends all; a cancellation would not do: the broker's library may swallow it."""
        try:
            await chore
        finally:
            self.over.set()

    async def _publish(self) -> None:
        while not self.over.is_set():
            burst = self.rng.choice([1, 1, 1, 2, 40]) if self.harsh else 1
            await asyncio.gather(
                *(self.arena.publish(self.rng.choice(CHANNELS), self._content()) for _ in range(burst))
            )
            await asyncio.sleep(self.rng.choice([0, 0, 0.005, 0.01]))

    def _content(self) -> dict[str, Any]:
        rng = self.rng
        kept = {"text": "x" * rng.choice([5, 60, 400]), "more": [1, 2.5, {"deep": True}]}
        return {
            **kept,
            "price": rng.randint(0, 9),
            rng.choice("abc"): rng.choice([1, 1.0, True, None, "z", {}]),
        }

    async def _nodes(self) -> None:
        while not self.over.is_set():
            await self._idle(0.3, 1.2)
            index = self.rng.randrange(len(self.arena.nodes))
            async with self.one_at_a_time:
                await self.arena.kill_node(index)
                await self._idle(0, 0.4)
                await self.arena.start_node(index)

    async def _workers(self, arena: ProcessArena) -> None:
        while not self.over.is_set():
            await self._idle(0.3, 2)
            async with self.one_at_a_time:
                arena.kill_worker(self.rng.randrange(len(arena.nodes)))

    async def _broker(self) -> None:
        while not self.over.is_set():
            await self._idle(2, 4)
            async with self.one_at_a_time:
                await self.arena.restart_broker(self.rng.uniform(0, 0.3))

    async def _stream(self) -> None:
        while not self.over.is_set():
            await self._idle(0.5, 2)
            async with self.one_at_a_time:
                await self.arena.remake_stream(max_age=600.0, **self.way.stream)

    async def _positions(self) -> None:
        while not self.over.is_set():
            await self._idle(0.02, 0.3)
            for node in self.arena.nodes:
                if node is not None and self.rng.random() < 0.5:
                    node._fanout.position()

    async def _pauses(self) -> None:
        """A node's CPU gets short for a moment."""
        while not self.over.is_set():
            await self._idle(0.2, 1)
            node = self.rng.choice(self.arena.nodes)
            if node is not None:
                node._joiner.slow = True
                node.feed_reader.pause(True)
                await self._idle(0, 0.4)
                node._joiner.slow = False
                node.feed_reader.pause(False)

    async def _idle(self, shortest: float, longest: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.rng.uniform(shortest, longest)):
                await self.over.wait()

    async def _rest(self) -> None:
        """Everything runs again; when each channel's last message has come, nothing is owed any more."""
        arena = self.arena
        await until(arena.ready)
        for channel in CHANNELS:
            while not await arena.publish(channel, {"end": True}):
                pass
        newest = {channel: arena.truths[arena.epoch].acknowledged[channel][-1] for channel in CHANNELS}
        try:
            await until(lambda: all(hopper.has(newest) for hopper in self.hoppers))
        except AssertionError:
            for hopper in self.hoppers:
                if not hopper.has(newest):
                    print(f"{hopper} waits for {newest}; its last:", *hopper.diary[-20:], sep="\n  ")
            raise
        for hopper in self.hoppers:
            await hopper.leave()

    def report(self) -> None:
        """Fails with what each client has to complain of."""
        audits = [(hopper, Audit(hopper)) for hopper in self.hoppers]
        hops = sum(isinstance(entry, Subscribed) for hopper in self.hoppers for entry in hopper.diary)
        received, told, skipped = (
            sum(getattr(audit, what) for _, audit in audits) for what in ("received", "told", "skipped")
        )
        why = Counter(
            entry.why.name for hopper in self.hoppers for entry in hopper.diary if isinstance(entry, Missed)
        )
        arena = self.arena
        print(
            f"HOPPING_SEED={self.seed} {self.world} by {self.way.name}: {hops} hops, {arena.kills} nodes and "
            f"{arena.outages} "
            f"brokers killed, {arena.remakes} streams, {len(arena.contents)} published, {received} received, "
            f"{told} told {dict(why)}, {skipped} skipped"
        )
        faults = [f"{hopper}: {fault}" for hopper, audit in audits for fault in audit.faults]
        if self.world in (GENTLE, PROCESSES) and told:
            faults += [
                f"{hopper}: false alarm {entry}"
                for hopper, _ in audits
                for entry in hopper.diary
                if isinstance(entry, Missed)
            ]
        assert not faults, "\n".join(faults[:40])


@pytest.mark.timeout(60 + 2 * SECONDS)
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("_number", range(RUNS))
async def test_each_message_comes_once_and_in_order_or_is_told(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: str, _number: int
) -> None:
    monkeypatch.setattr("wsnode.position.RIDES_WITHIN_SECONDS", 0.05)
    # All live in one loop here: how busy it is says nothing of a node.
    monkeypatch.setattr(Admission, "decide", lambda *_: None)
    monkeypatch.setattr(Admission, "paused", lambda *_: False)
    seed = int(os.environ.get("HOPPING_SEED", random.SystemRandom().randrange(10**9)))
    run = Run(nats_server, seed, world, tmp_path)
    try:
        await run.live()
    except BaseException:
        print(f"HOPPING_SEED={seed} {world}")
        raise
    finally:
        await run.close()
    run.report()
