"""Random lives of nodes and their clients on virtual time: nothing lost in silence, doubled or disordered.

CORE_SEED=n repeats one life, CORE_LIVES=n makes more of them.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from tests.support.simaccount import NEVER, Stretch
from tests.support.simclient import SimClient, subscribe_message
from tests.support.simcore import SimCore, Stream, virtual_time
from tests.support.simloop import VirtualLoop
from wsnode.channels import CONFLATE, DELTA
from wsnode.config import Settings
from wsnode.link import DEFLATE, PLAIN, SSE
from wsnode.ring import Window

CHANNELS = ["A.x", "A.y", "B.x", "C", "D.y.z"]
NAMES = [*CHANNELS, "A.*", "B.*", "*.x", "*.y.z", "*"]
LIVES = int(os.environ.get("CORE_LIVES", "120"))
STEPS = 150


class Life:
    """One life, drawn from a seed."""

    def __init__(self, rng: random.Random, loop: VirtualLoop, log: list[str]) -> None:
        self.rng, self.loop, self.log = rng, loop, log
        self.calm = rng.random() < 0.25
        self.remade = not self.calm and rng.random() < 0.3
        self.streams: dict[str, Stream] = {}
        self.stream = self._new_stream()
        self.cores = [self._new_core() for _ in range(rng.choice([1, 1, 2, 3]))]
        forms = [PLAIN, PLAIN, DEFLATE, SSE]
        self.clients = [
            SimClient(f"client {number}", rng.choice(forms), self.streams, log)
            for number in range(rng.randint(1, 4))
        ]
        for client in self.clients:
            client.lossless = self.calm
            self._arrive(client)

    def _new_stream(self) -> Stream:
        stream = Stream(f"created {len(self.streams)}")
        self.streams[stream.epoch] = stream
        return stream

    def _new_core(self) -> SimCore:
        rng = self.rng
        settings = Settings(
            worker_queue_size=100_000 if self.calm else rng.choice([3, 20, 1000]),
            worker_pool_size=rng.choice([1, 1, 8]),
            client_rate_burst=100_000,
            client_rate_per_second=100_000,
            client_buffer_bytes=rng.choice([6000, 131_072]),
            client_buffer_total_bytes=rng.choice([131_072, 10**7]),
            ping_interval=rng.choice([1, 1, 3]),
            ping_timeout=rng.choice([10, 60]),
            position_interval=5,
            node_name=f"node-{rng.randrange(99)}",
        )
        if self.calm:
            window = Window(1e6, 100_000, 10**9)
        else:
            window = Window(rng.choice([2.0, 1e6]), rng.choice([5, 30, 1000]), rng.choice([8000, 10**7]))
        core = SimCore(self.loop, settings, window)
        core.adopt(self.stream)
        return core

    def run(self) -> None:
        """All of it, to the account at the end."""
        for _ in range(STEPS):
            self._step()
            for _ in range(self.rng.choice([0, 1, 1, 2, 5])):
                self._turn()
        self._rest()
        for client in self.clients:
            client.check()
        for core in self.cores:
            self._check_nothing_left(core)

    def _turn(self) -> None:
        self.loop.turn()
        for client in self.clients:
            client.hear()
            if not client.open:
                self._arrive(client)
        if self.loop.idle():
            self.loop.skip(self.rng.choice([0.0, 0.01, 0.3]))

    def _rest(self) -> None:
        """Everyone reads, and what is left is told."""
        for client in self.clients:
            client.reading = True
        end = self.loop.clock.now + 40
        tell = 0.0
        while self.loop.clock.now < end:
            if self.loop.clock.now >= tell:
                tell = self.loop.clock.now + 4
                for core in self.cores:
                    if core.stream is not self.stream:
                        core.adopt(self.stream)
                    core.read(100)
                    core.tell_position()
            self._turn()
            if self.loop.idle():
                self.loop.skip(1.0)

    def _check_nothing_left(self, core: SimCore) -> None:
        for link in core.links.open_links():
            assert not link.withheld
            assert not link.out
        for client in [client for client in self.clients if client.core is core]:
            client.leave()
        for _ in range(3):
            self.loop.turn()
        assert len(core.channels) == 0
        assert core.channels._mixed == 0
        assert core.links.total == core.links.open_count == core.links.buffered_bytes == 0

    # What happens.

    def _step(self) -> None:
        rng = self.rng
        what = rng.random()
        if what < 0.3:
            self._publish()
        elif what < 0.5:
            core = rng.choice(self.cores)
            if core.stream is not self.stream:
                core.adopt(self.stream)
            core.read(rng.choice([1, 3, 20, 100]))
        elif what < 0.55:
            rng.choice(self.cores).tell_position()
        elif what < 0.58 and self.remade:
            self.log.append("the stream is made again")
            self.stream = self._new_stream()
        elif what < 0.6:
            self.loop.skip(rng.choice([0.1, 1.0, 3.0]))
            for core in self.cores:
                core.tick()
        else:
            self._act(rng.choice(self.clients))

    def _publish(self) -> None:
        rng, stream = self.rng, self.stream
        before = stream.last
        for _ in range(rng.choice([1, 1, 2, 4, 15])):
            sendable = self.calm or rng.random() > 0.04
            now_ms = self.loop.clock.time_ns() // 1_000_000
            stream.publish(rng.choice(CHANNELS), self._content(), now_ms, sendable=sendable)
        if not self.calm and rng.random() < 0.1:
            for seq in range(before + 1, stream.last):  # the last one stays, or nothing shows the hole
                if rng.random() < 0.5:
                    stream.delete(seq)
        self.log.append(f"published {before + 1}-{stream.last}")

    def _content(self) -> Any:
        rng = self.rng
        if rng.random() < 0.1:
            return rng.choice([1, None, "text", [1]])
        kept = {"text": "x" * rng.choice([5, 50, 300, 3000]), "more": [1, 2, 3]}
        return {**kept, "n": rng.randint(0, 9), rng.choice("abc"): rng.choice([1, 1.5, None, True, "z", {}])}

    def _act(self, client: SimClient) -> None:
        rng = self.rng
        what = rng.random()
        if what < 0.12:
            client.reading = not client.reading
        elif what < 0.25:
            client.leave()
            self._arrive(client)
        elif client.form == SSE or not client.hellos or client.rehello:
            return
        elif what < 0.6:
            self._subscribe(client)
        elif what < 0.7 and client.subs:
            names = rng.sample(sorted(client.subs), rng.randint(1, len(client.subs)))
            client.say({"type": "unsubscribe", "data": {"channels": names[:2]}})
        elif what < 0.85 and client.subs and len(client.replays) < 4 and not client.doubtful:
            self._replay(client)
        else:
            client.say({"type": "heartbeat"})

    def _replay(self, client: SimClient) -> None:
        rng = self.rng
        first = rng.randint(0, self.stream.last + 3)
        if rng.random() < 0.5:
            client.replays.append(Stretch(first, NEVER))
            client.say({"type": "replay", "data": {"since": first}})
        else:
            last = first + rng.randint(0, 20)
            client.replays.append(Stretch(max(0, first - 1), last))
            client.say({"type": "replay", "data": {"from": first, "to": last}})

    def _options(self) -> int:
        return CONFLATE * (self.rng.random() < 0.35) | DELTA * (self.rng.random() < 0.4)

    def _subscribe(self, client: SimClient) -> None:
        rng = self.rng
        names = rng.sample(NAMES, rng.randint(1, 3))
        points = None
        if rng.random() < 0.3:
            head = client.core.fanout.head()  # what it has never seen it can't have more of than the node
            points = {
                name: client.point_of(name)
                if name in client.subs and client.subs[name].since != NEVER
                else rng.randint(max(0, head - 30), head)
                for name in names
            }
        message = subscribe_message(rng, names, self._options(), points, client.epoch)
        if rng.random() < 0.25:
            message["data"]["last"] = True
        client.say(message)

    def _arrive(self, client: SimClient) -> None:
        """A new connection to any of the nodes, and on from where the client was."""
        rng = self.rng
        core = rng.choice(self.cores)
        if client.form == SSE:
            self._stream_again(client, core)
            return
        if rng.random() < 0.1:
            client.subs, client.before = {}, {}
        known = client.before | client.subs
        points = {name: client.point_of(name) for name, sub in known.items() if sub.since != NEVER}
        client.connect(core)
        by_options: dict[int, list[str]] = {}
        for name in points:
            by_options.setdefault(known[name].options, []).append(name)
        for options, names in by_options.items():
            own = {name: points[name] for name in names}
            client.say(subscribe_message(rng, names, options, own, client.epoch))

    def _stream_again(self, client: SimClient, core: SimCore) -> None:
        rng = self.rng
        if rng.random() < 0.15:  # a page that is opened anew
            client.query = client.last_id = ""
            client.subs, client.before = {}, {}
        if not client.query:
            client.options = self._options()
            client.query = "channels=" + ",".join(rng.sample(NAMES, rng.randint(1, 3)))
            client.query += "&conflate=1" * bool(client.options & CONFLATE)
            client.query += "&delta=1" * bool(client.options & DELTA)
            client.query += "&last=1" * (rng.random() < 0.5)
        client.connect_stream(core)


def _live(seed: int) -> None:
    rng = random.Random(seed)
    log: list[str] = []
    constants = {
        "joining": {"STEP_BYTES": rng.choice([1, 1000, 16_384])},
        "lookup": {
            "GATHERED_MESSAGES": rng.choice([1, 3, 10, 1000]),
            "GATHERED_BYTES": rng.choice([1, 1000, 10**6]),
            "SCANNED_MESSAGES": rng.choice([1, 10, 1000]),
            "SCANNED_CHANNELS": rng.choice([1, 1000]),
            "WALKED_MESSAGES": rng.choice([1, 10, 1000]),
            "EXPANDED_CHANNELS": rng.choice([1, 1000]),
            "SORTED_CHANNELS": rng.choice([0, 3, 1000]),
            "GATHERED_NEWEST": rng.choice([1, 256]),
            "SCANNED_NEWEST": rng.choice([1, 3, 2048]),
        },
        "conflation": {"FLUSHED_BYTES": rng.choice([1, 1000, 16_384])},
        "fanout": {"SHARD_SOCKETS": rng.choice([1, 64]), "PERSONAL_LINKS": rng.choice([1, 128])},
        "position": {"GROUP_LINKS": rng.choice([1, 2, 256])},
        "preparation": {"STEP_LINKS": rng.choice([1, 3, 8192]), "SMALL_LINKS": rng.choice([0, 16_384])},
        "rounds": {"ROUND_LOOKS": rng.choice([1, 5, 262_144])},
    }
    with virtual_time(rng, rng.choice([0.0001, 0.002]), **constants) as loop:
        life = Life(rng, loop, log)
        try:
            life.run()
        except BaseException:
            print(*log[-2000:], f"CORE_SEED={seed}", sep="\n")
            raise
        finally:
            for client in life.clients:
                client.leave()
            for core in life.cores:
                core.close()


@pytest.mark.timeout(600)
def test_lives() -> None:
    only = os.environ.get("CORE_SEED")
    first = random.SystemRandom().randrange(10**9)
    for seed in [int(only)] if only else range(first, first + LIVES):
        _live(seed)
