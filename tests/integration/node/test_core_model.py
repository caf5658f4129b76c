"""Random lives of a core and its clients on virtual time: nothing lost in silence, doubled or disordered.

Positions come as in earnest, by their clock, with data or in groups: no test hand moves them.

CORE_MODEL_SEED repeats one life, CORE_MODEL_ROUNDS makes more of them.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from tests.support.coremodel import FORMS, Watcher, World
from tests.support.simcore import virtual_time
from tests.support.simloop import VirtualLoop
from wsnode.ring import Window

pytestmark = pytest.mark.race

CHANNELS = ["A.x", "A.y", "B.x", "C"]
NAMES = [*CHANNELS, "A.*", "*.x", "*"]
ROUNDS = int(os.environ.get("CORE_MODEL_ROUNDS", "150"))
STEPS = 120
QUIET_INTERVALS = 3
"""Of positions: the first may have begun before all was quiet, the second tells of it, within one more."""


class Life:
    """One life, drawn from a seed."""

    def __init__(self, rng: random.Random, loop: VirtualLoop, log: list[str]) -> None:
        self.rng, self.loop, self.log = rng, loop, log
        window = Window(10**9, rng.choice([5, 30, 1000]), rng.choice([2000, 10**7]))
        self.interval = rng.choice([1.0, 2.5, 5.0])
        self.world = World(loop, window, rng.choice([3, 20, 1000]), self.interval)
        self.clients = [
            Watcher(self.world, rng.choice(FORMS), rng, self.log) for _ in range(rng.randint(1, 4))
        ]
        self.epochs = 0
        self.bad_news = rng.random() < 0.5
        self.remade = rng.random() < 0.3

    def run(self) -> None:
        """All of it, to the account at the end."""
        for _ in range(STEPS):
            self._step()
            if self.rng.random() < 0.6:
                for _ in range(self.rng.randint(1, 6)):
                    self._turn()
        self._rest()
        for client in self.clients:
            client.check()

    def close(self) -> None:
        """Ends all of it."""
        for client in self.clients:
            client.close()
        self.world.close()

    def _rest(self) -> None:
        """Everyone reads, and what is left comes; what the end itself lost a later position tells."""
        world, loop = self.world, self.loop
        for client in self.clients:
            client.reading = True
        for channel in CHANNELS:
            world.publish(channel, {"end": channel})
        quiet_since = loop.time()
        for _ in range(100_000):
            self._turn()
            busy = world.fanout.depth or world.joiner.waiting or any(c.asked for c in self.clients)
            if busy or any(link.withheld or link.out for link in world.links.open_links()):
                quiet_since = loop.time()
            elif loop.time() > quiet_since + QUIET_INTERVALS * self.interval:
                return
            if loop.idle():
                loop.skip(1.0)
        raise AssertionError("no rest")

    def _turn(self) -> None:
        self.loop.turn()
        for client in self.clients:
            client.pump()
            if client.closed:
                client.names.clear()
                client.reading = True
                client.open()

    def _step(self) -> None:
        rng, world = self.rng, self.world
        what = rng.random()
        if what < 0.45:
            for _ in range(rng.choice([1, 1, 1, 3, 12])):
                world.publish(rng.choice(CHANNELS), self._content())
        elif what < 0.5 and self.bad_news:
            self.log.append("spoiled")
            world.spoil(rng.choice(CHANNELS))
        elif what < 0.54 and self.bad_news:
            self.log.append("hole")
            world.hole(rng.choices(CHANNELS, k=rng.randint(1, 3)))
        elif what < 0.55 and self.remade:
            self.epochs += 1
            self.log.append(f"epoch-{self.epochs}")
            self._rest()
            world.restart(f"epoch-{self.epochs}")
            self._rest()
        elif what < 0.57:
            world.holdings.tick()
        elif what < 0.6:
            self._wait(rng.choice([0.02, 0.5, 1.0, self.interval]))
        else:
            self._client_step(rng.choice(self.clients))

    def _wait(self, seconds: float) -> None:
        """Time passes, and each timer in it runs out when it is due."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            self.loop.skip(end - self.loop.time())
            self._turn()

    def _content(self) -> Any:
        rng = self.rng
        kept = {"text": "x" * rng.choice([5, 50, 700]), "more": [1, 2, 3]}
        return {**kept, "n": rng.randint(0, 9), rng.choice("abc"): rng.choice([1, 1.5, None, True, "z", {}])}

    def _client_step(self, client: Watcher) -> None:
        rng = self.rng
        what = rng.random()
        if what < 0.15:
            client.reading = not client.reading
        elif client.asked:
            return
        elif what < 0.55:
            self._subscribe(client)
        elif what < 0.65 and client.names:
            client.say({"type": "unsubscribe", "data": {"channels": [rng.choice(list(client.names))]}})
        elif what < 0.72 and client.names:
            client.replaying += 1
            if rng.random() < 0.5:
                ask = {"since": rng.randint(0, max(client.got, default=0) + 3)}
            else:
                first = rng.randint(0, max(client.got, default=0) + 3)
                ask = {"from": first, "to": first + rng.randint(0, 20)}
            client.say({"type": "replay", "data": ask})
        elif what < 0.8:
            client.say({"type": "heartbeat"})
        elif client.names:
            self._come_back(client)

    def _subscribe(self, client: Watcher) -> None:
        rng = self.rng
        names = rng.sample(NAMES, rng.randint(1, 3))
        data: dict[str, Any] = {"channels": names}
        for option, chance in (("conflate", 0.3), ("delta", 0.4), ("last", 0.2)):
            if rng.random() < chance:
                data[option] = True
        if rng.random() < 0.3:
            head = self.world.ring.position
            data["resume"] = {"epoch": client.epoch, "seq": rng.randint(max(0, head - 30), head)}
        client.log.append(f"  {client.link.fd} says {data}")
        client.say({"type": "subscribe", "data": data})

    def _come_back(self, client: Watcher) -> None:
        """Gone, and back with what it knows."""
        names = dict(client.names)
        points = {name: client.point_of(name) for name in names}
        client.close()
        client.names.clear()
        client.open()
        by_options: dict[int, list[str]] = {}
        for name, own in names.items():
            by_options.setdefault(own.options, []).append(name)
        resume = {"epoch": client.epoch, "seq": 0, "channels": points}
        for options, own_names in by_options.items():
            data: dict[str, Any] = {"channels": own_names, "resume": resume}
            data |= {"conflate": bool(options & 4), "delta": bool(options & 8)}
            client.log.append(f"  {client.link.fd} is back {data}")
            client.say({"type": "subscribe", "data": data})


def _live(seed: int) -> None:
    rng = random.Random(seed)
    log: list[str] = []
    constants = {
        "joining": {"STEP_BYTES": rng.choice([1, 1000, 16_384])},
        "lookup": {
            "SORTED_CHANNELS": rng.choice([0, 1024]),
            "SCANNED_NEWEST": rng.choice([1, 2048]),
            "SCANNED_MESSAGES": rng.choice([1, 8192]),
            "SCANNED_CHANNELS": rng.choice([1, 1024]),
            "WALKED_MESSAGES": rng.choice([1, 10, 8192]),
            "GATHERED_MESSAGES": rng.choice([1, 3, 1024]),
        },
        "preparation": {"STEP_LINKS": rng.choice([1, 8192]), "SMALL_LINKS": rng.choice([0, 16_384])},
        "fanout": {"PERSONAL_LINKS": rng.choice([1, 128])},
        "position": {"GROUP_LINKS": rng.choice([1, 256])},
    }
    with virtual_time(rng, rng.choice([0.0001, 0.002]), **constants) as loop:
        life = Life(rng, loop, log)
        try:
            life.run()
        except BaseException:
            print(f"CORE_MODEL_SEED={seed}", *log[-400:], sep="\n")
            raise
        finally:
            life.close()


@pytest.mark.timeout(600)
def test_lives() -> None:
    only = os.environ.get("CORE_MODEL_SEED")
    first = random.SystemRandom().randrange(10**9)
    for seed in [int(only)] if only else range(first, first + ROUNDS):
        _live(seed)
