"""Positions: with each client's next data, else in groups, to every one of them, and losses with them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.node import until
from wsnode import fanout
from wsnode.channels import Channels
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.link import Link
from wsnode.links import Links
from wsnode.message import Message
from wsnode.ring import Ring, Window


class Crowd:
    """Open clients of a fan-out, each with the other end of its socket."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        counters = Counters()
        self.links = Links(loop, Settings(), counters)
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
    monkeypatch.setattr(fanout, "POSITION_RIDES_WITHIN_SECONDS", 0.05)
    crowd = Crowd()
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


async def test_data_goes_between_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _crowd(monkeypatch, group=1) as crowd:
        quiet, busy = [crowd.add("Q.q") for _ in range(20)], crowd.add("A.b")
        crowd.fanout.position()
        await until(lambda: any(crowd.positions(link) for link in quiet))
        crowd.publish("A.b")
        await until(lambda: bool(crowd.positions(busy)))
        assert not all(crowd.positions(link) for link in quiet)
        await until(lambda: all(crowd.positions(link) for link in quiet))
