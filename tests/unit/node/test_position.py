"""Positions: with each client's next data, else in groups, to every one of them, and losses with them."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.node import until
from tests.support.simloop import VirtualClock, VirtualLoop
from wsnode.channels import Channels
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.link import Link
from wsnode.links import Links
from wsnode.message import Message
from wsnode.position import PositionClock
from wsnode.ring import Ring, Window


class Crowd:
    """Open clients of a fan-out, each with the other end of its socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings) -> None:
        counters = Counters()
        self.links = Links(loop, settings, counters)
        self.channels: Channels[Link] = Channels()
        self.ring = Ring(Window(30, 1000, 10**6))
        self.ring.epoch = "e"
        self.fanout = Fanout(loop, self.links, self.channels, self.ring, counters)
        self.ends: dict[Link, socket.socket] = {}
        self.heard: dict[Link, bytes] = {}

    def add(self, name: str) -> Link:
        """A client that listens to a name."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        link = self.links.add(ours.detach(), None)
        self.links.opened(link)
        self.channels.subscribe(link, [name])
        self.ends[link] = theirs
        return link

    def publish(self, channel: str) -> None:
        """The next message."""
        seq, now = self.ring.position + 1, time.time_ns() // 1_000_000
        self.ring.advance(seq)
        message = Message(seq, now, "price:update", channel, self.ring.prev(channel), b"1")
        self.ring.add(message, now)
        self.fanout.push(message)

    def positions(self, link: Link) -> list[dict[str, int]]:
        """Positions that a client has heard."""
        try:
            while data := self.ends[link].recv(65_536):
                self.heard[link] = self.heard.get(link, b"") + data
        except BlockingIOError:
            pass
        frames, data = [], self.heard.get(link, b"")
        while data:
            frames.append(json.loads(data[2 : 2 + data[1]]))
            data = data[2 + data[1] :]
        return [frame for frame in frames if frame["type"] == "position"]


@asynccontextmanager
async def _crowd(monkeypatch: pytest.MonkeyPatch, group: int) -> AsyncIterator[Crowd]:
    monkeypatch.setattr("wsnode.position.GROUP_LINKS", group)
    monkeypatch.setattr("wsnode.position.RIDES_WITHIN_SECONDS", 0.05)
    crowd = Crowd(asyncio.get_running_loop(), Settings())
    try:
        yield crowd
    finally:
        crowd.links.shut()
        for end in crowd.ends.values():
            end.close()


async def test_with_the_next_data_or_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _crowd(monkeypatch, group=3) as crowd:
        quiet = [crowd.add("Q.q") for _ in range(10)]
        busy = [crowd.add("A.b") for _ in range(5)]
        crowd.fanout.position()
        crowd.publish("A.b")
        await until(lambda: all(crowd.positions(link) for link in busy))
        assert not any(crowd.positions(link) for link in quiet)
        await until(lambda: all(crowd.positions(link) for link in quiet))
        assert all(len(crowd.positions(link)) == 1 for link in [*quiet, *busy])


async def test_data_that_is_faster_than_a_group_does_not_end_the_telling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _crowd(monkeypatch, group=3) as crowd:
        busy = {crowd.add("A.b") for _ in range(3)}
        quiet = [crowd.add("Q.q") for _ in range(4)]
        crowd.fanout.note_loss(0)
        crowd.fanout.position()
        assert crowd.fanout._position.later is not None
        crowd.fanout._position.later.cancel()  # as if its time had come, behind a message that waits
        monkeypatch.setattr(crowd.fanout._position, "some", lambda: set(busy))
        crowd.publish("A.b")
        crowd.fanout._position_alone()
        await until(lambda: all(crowd.positions(link) for link in busy))
        monkeypatch.undo()
        await until(lambda: all(crowd.positions(link) for link in quiet))
        assert not crowd.fanout._position.pending


async def test_a_loss_is_told_to_all_by_one_position_and_then_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _crowd(monkeypatch, group=2) as crowd:
        busy, quiet = crowd.add("A.b"), [crowd.add("Q.q") for _ in range(5)]
        for _ in range(3):
            crowd.publish("A.b")
        await until(lambda: not crowd.fanout.busy)
        crowd.fanout.note_loss(2)
        crowd.fanout.position()
        crowd.publish("A.b")
        await until(lambda: not crowd.fanout._position.pending)
        told = [crowd.positions(link)[-1] for link in [busy, *quiet]]
        assert [(position["seq"], position["prev"]) for position in told] == [(4, 2)] * 6
        assert crowd.fanout.untold(4) == 0


def _run(loop: VirtualLoop, until: float) -> None:
    while loop.time() < until:
        loop.turn()
        if loop.idle():
            loop.skip(until - loop.time())


def test_the_clock_keeps_its_intervals_whatever_a_call_takes() -> None:
    clock = VirtualClock(random.Random(1), 0.0)
    loop = VirtualLoop(clock)
    told: list[float] = []

    def tell() -> None:
        told.append(round(clock.now - 1000.0, 3))
        clock.now += 0.3

    positions = PositionClock(loop.as_loop(), 1.5, tell)
    positions.update(1.0)  # nothing runs yet
    positions.start()
    _run(loop, 1003.5)
    assert told == [1.0, 2.0, 3.0]
    positions.update(2.5)  # from the last one on
    _run(loop, 1006.0)
    assert told[3:] == [5.5]
    clock.now += 100.0  # the loop did not turn
    told.clear()
    _run(loop, 1109.0)
    assert len(told) == 2
    positions.stop()
    told.clear()
    _run(loop, 1120.0)
    assert told == []


@pytest.mark.parametrize("interval", [1.0, 1.25, 2.0, 5.0])
def test_every_client_gets_each_position_within_its_interval(
    monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    """Those for whom no data comes as well: waiting for some must not take longer than that."""
    monkeypatch.setattr("wsnode.position.GROUP_LINKS", 1)
    clock = VirtualClock(random.Random(2), 0.0)
    monkeypatch.setattr("wsnode.fanout.time", clock)
    loop = VirtualLoop(clock)
    crowd = Crowd(loop.as_loop(), Settings(position_interval=interval))
    quiet = [crowd.add("Q.q") for _ in range(100)]
    positions = PositionClock(loop.as_loop(), interval, crowd.fanout.position)
    positions.start()
    start = clock.now
    for count in range(1, 6):
        _run(loop, start + (count + 1) * interval - 0.001)
        assert {len(crowd.positions(link)) for link in quiet} == {count}
    crowd.links.shut()
    for end in crowd.ends.values():
        end.close()


async def test_data_goes_between_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _crowd(monkeypatch, group=1) as crowd:
        quiet, busy = [crowd.add("Q.q") for _ in range(20)], crowd.add("A.b")
        crowd.fanout.position()
        await until(lambda: any(crowd.positions(link) for link in quiet))
        crowd.publish("A.b")
        await until(lambda: bool(crowd.positions(busy)))
        assert not all(crowd.positions(link) for link in quiet)
        await until(lambda: all(crowd.positions(link) for link in quiet))
