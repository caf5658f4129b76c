"""Several operators and one Lease: one acts, whatever happens to it, and another soon after it.

Operators are real processes; the API server and the nodes are scripted, and remember who wrote when.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.operating import wsfleet
from tests.support.scripted_fleet import ScriptedFleet
from tests.support.scripted_operator import Replica, start_replica

NAMESPACE, LEASE = "games", "wsfleet-operator"
SECONDS = 4.0
LOST = 3

# Another wall clock than everybody else's, and one that is set again and again.
_JUMPY = """
import random, time
real, started = time.time, time.monotonic()
offsets = [random.uniform(-1, 1) * 86_400 * 300 for _ in range(20)]
time.time = lambda: real() + offsets[int(time.monotonic() - started) % 20]
"""


@dataclass
class Stage:
    """A fleet that is never at rest, and the operators around it."""

    folder: Path
    fleet: ScriptedFleet
    prelude: str = ""
    replicas: list[Replica] = field(default_factory=list)
    started: int = 0

    async def start(self, seconds: float = SECONDS) -> Replica:
        self.started += 1
        replica = await start_replica(
            self.fleet.api,
            self.folder,
            f"op-{self.started}",
            self.prelude,
            lease=LEASE,
            lease_seconds=str(seconds),
            operator_namespace=NAMESPACE,
        )
        self.replicas.append(replica)
        return replica

    def holder(self) -> str:
        """Name of the replica that the lease names, empty for none."""
        lease = self.fleet.api.get("leases", NAMESPACE, LEASE)
        return str(((lease or {}).get("spec") or {}).get("holderIdentity", "")).rpartition("_")[0]

    async def leader(self) -> Replica:
        """The one that the lease names, once it names one that runs."""
        await self.until("a leader", self._running_leader)
        return self._running_leader()[0]

    def _running_leader(self) -> list[Replica]:
        return [one for one in self.replicas if one.name == self.holder() and not one.ended]

    async def until(self, what: str, holds: Callable[[], object], seconds: float = 90) -> float:
        """Wait for something; how long it took."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"{what}: not within {seconds} s\n{self.logs()}")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def until_acting(self, by: Callable[[str], bool] = bool) -> float:
        """Wait until an operator changes something from now on; how long that took."""
        already = len(self.fleet.api.writes)
        return await self.until(
            "an operator that acts",
            lambda: any(
                by(one.caller) and "/leases" not in one.path and one.status < 300
                for one in self.fleet.api.writes[already:]
            ),
        )

    def logs(self) -> str:
        return "\n".join(f"--- {one.name}\n{one.log.read_text()[-3000:]}" for one in self.replicas[-4:])

    async def unrest(self) -> None:
        """Somebody else who breaks what the operator owns, and a user who can't make up their mind."""
        api, step = self.fleet.api, 0
        while True:
            await asyncio.sleep(0.1)
            step += 1
            if api.get("services", NAMESPACE, "odin"):
                api.patch("services", NAMESPACE, "odin", {"spec": {"ports": []}})
            if step % 15 == 0:
                api.patch("wsfleets", NAMESPACE, "odin", {"spec": {"replicas": 2 + step // 15 % 2}})

    def check(self, seconds: float = SECONDS) -> None:
        """Never two at once: each change came from the holder of that moment, within its lease."""
        changes = iter(
            sorted(
                [(one.at, one.caller, "/leases" in one.path) for one in self.fleet.api.writes],
                key=lambda one: one[0],
            )
        )
        leases = sorted(self.fleet.lease_writes)
        acted = 0
        for at, caller, of_lease in changes:
            if of_lease:
                continue
            said = [one for one in leases if one[0] <= at]
            # Deleted by hand: its holder goes on until it notices, and nobody else may begin.
            held = [one for one in said if one[1] or one[2]]
            when, holder, _ = held[-1]
            assert holder.rpartition("_")[0] == caller, f"{caller} wrote while {holder or 'nobody'} held it"
            assert at - when < seconds, f"{caller} wrote {at - when:.2f} s after its last renewal"
            acted += 1
        assert acted > 0
        terms = [one[2] for one in leases if one[1]]
        assert terms == sorted(terms), "a term came back"
        for node in {one.node for one in self.fleet.commands}:
            heeded = [one.term for one in self.fleet.commands if one.node == node and one.status == 200]
            assert heeded == sorted(heeded)
            assert all(term in terms for term in heeded)


@asynccontextmanager
async def staged(folder: Path, prelude: str = "") -> AsyncIterator[Stage]:
    fleet = ScriptedFleet(folder)
    async with fleet.api as api:
        stage = Stage(folder, fleet, prelude)
        odin = wsfleet("odin", replicas=2)
        odin["metadata"]["namespace"] = NAMESPACE
        api.put("wsfleets", odin)
        # As the chart makes it: empty, so that nobody waits at the first start.
        api.put("leases", {"metadata": {"name": LEASE, "namespace": NAMESPACE}})
        tasks = [asyncio.create_task(one) for one in (fleet.run(), stage.unrest())]
        try:
            yield stage
        finally:
            for replica in stage.replicas:
                await replica.kill()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_killed_leader_is_followed_within_twenty_seconds(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for _ in range(2):
            await stage.start(10.0)
        await stage.until_acting()
        leader = await stage.leader()
        leader.send(signal.SIGKILL)
        took = await stage.until_acting(lambda caller: caller != leader.name)
        print(f"acting again {took:.1f} s after SIGKILL")
        assert took < 20
        stage.check(10.0)


async def test_a_leader_that_is_told_to_stop_hands_over(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for _ in range(2):
            await stage.start(10.0)
        await stage.until_acting()
        leader = await stage.leader()
        leader.send(signal.SIGTERM)
        took = await stage.until_acting(lambda caller: caller != leader.name)
        print(f"acting again {took:.1f} s after SIGTERM")
        # Not by waiting for the lease to run out.
        assert took < 10
        assert await asyncio.wait_for(leader.process.wait(), 20) == 0
        assert "the lease is released" in leader.log.read_text()
        stage.check(10.0)


async def test_a_standby_ends_when_it_is_told_to(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start()
        await stage.until_acting()
        standby = await stage.start()
        await stage.until("a standby", lambda: "standing by" in standby.log.read_text())
        standby.send(signal.SIGTERM)
        assert await asyncio.wait_for(standby.process.wait(), 20) == 0
        assert not [one for one in stage.fleet.api.writes if one.caller == standby.name]


async def test_a_lease_that_another_took_over_by_hand_ends_the_leader(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        leader = await stage.start()
        await stage.until_acting()
        spec = {"holderIdentity": "somebody_else", "leaseDurationSeconds": 3600, "leaseTransitions": 2**30}
        stage.fleet.api.patch("leases", NAMESPACE, LEASE, {"spec": spec})
        assert await asyncio.wait_for(leader.process.wait(), 20) == LOST
        assert "the lease is held by somebody_else" in leader.log.read_text()


@pytest.mark.parametrize("prelude", ["", _JUMPY], ids=["steady", "jumping-clocks"])
@pytest.mark.timeout(600)
async def test_never_two_act_whatever_happens(tmp_path: Path, prelude: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    # Of a lease that is gone, and remembered by nobody, only a good clock gives a later term.
    events = [one for one in _EVENTS if not prelude or one is not _lease_deleted]
    async with staged(tmp_path, prelude) as stage:
        for _ in range(2):
            await stage.start()
        await stage.until_acting()
        for number, what in enumerate(events):
            await asyncio.sleep(chance.uniform(0, 0.7))
            began = time.monotonic()
            await what(stage, chance)
            for _ in range(2 - sum(not one.ended for one in stage.replicas)):
                await stage.start()
            took = await stage.until_acting()
            print(
                f"{number}: {what.__name__[1:]}, acting {time.monotonic() - began:.1f} s later ({took:.1f})"
            )
            stage.check()
        assert any(one.status == 200 for one in stage.fleet.commands), "no node was told anything"


async def _leader_killed(stage: Stage, chance: random.Random) -> None:
    await (await stage.leader()).kill()


async def _leader_stopped_and_continued(stage: Stage, chance: random.Random) -> None:
    leader = await stage.leader()
    leader.send(signal.SIGSTOP)
    await asyncio.sleep(SECONDS * chance.uniform(0.3, 1.5))
    leader.send(signal.SIGCONT)
    await asyncio.sleep(0.5)  # what it would still do, it does now


async def _api_away(stage: Stage, chance: random.Random) -> None:
    stage.fleet.api.away = True
    stage.fleet.api.cut()
    await asyncio.sleep(SECONDS * chance.uniform(0.1, 1.5))
    stage.fleet.api.away = False


async def _lease_deleted(stage: Stage, chance: random.Random) -> None:
    leader = await stage.leader()
    stage.fleet.api.remove("leases", NAMESPACE, LEASE)
    if chance.random() < 0.5:
        await leader.kill()


async def _leader_told_to_stop(stage: Stage, chance: random.Random) -> None:
    (await stage.leader()).send(signal.SIGTERM)


async def _standby_killed(stage: Stage, chance: random.Random) -> None:
    for standby in [one for one in stage.replicas if not one.ended and one.name != stage.holder()]:
        await standby.kill()


_EVENTS = (
    _leader_killed,
    _leader_stopped_and_continued,
    _api_away,
    _lease_deleted,
    _leader_told_to_stop,
    _leader_stopped_and_continued,
    _standby_killed,
    _lease_deleted,
)
