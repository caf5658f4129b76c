"""How a loop turn is shared: no part of the node keeps the others waiting."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket

import pytest

from tests.support.simcore import SimCore, Stream, virtual_time
from tests.support.simloop import VirtualClock, VirtualLoop
from tests.support.wsclient import text_frame
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.fanout import shard_sockets
from wsnode.link import PLAIN, Link
from wsnode.links import Links
from wsnode.ring import Window

CLIENTS, AT_ONCE = 40, 8


@pytest.mark.parametrize(
    ("clients", "pool", "paced", "size"),
    [
        (50, 192, False, 32),  # not 1: each slice costs as much as some deliveries
        (10_000, 192, False, 53),
        (10_000, 4, False, 64),
        (50, 192, True, 1),
        (0, 192, True, 1),
    ],
)
def test_a_broadcast_is_cut_neither_too_fine_nor_too_coarse(
    clients: int, pool: int, paced: bool, size: int
) -> None:
    assert shard_sockets(clients, pool, paced=paced) == size


def test_what_clients_send_takes_a_part_of_a_turn_and_all_get_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = VirtualClock(random.Random(1), 0.0)
    monkeypatch.setattr("wsnode.links.time", clock)
    loop = VirtualLoop(clock)
    links = Links(loop.as_loop(), Settings(), Counters())
    pairs = [socket.socketpair() for _ in range(CLIENTS)]
    heard: list[int] = []

    def slow(link: Link, data: bytes) -> None:
        heard.append(link.fd)
        clock.now += 0.001

    links.on_data = slow
    try:
        for ours, theirs in pairs:
            ours.setblocking(False)
            links.add(ours.detach(), None)
            theirs.send(b"x")
        for turn in range(1, CLIENTS // AT_ONCE + 1):
            loop.turn()
            assert len(heard) == turn * AT_ONCE
        assert len(set(heard)) == CLIENTS
    finally:
        links.shut()
        for _, theirs in pairs:
            theirs.close()


def test_a_step_of_a_replay_ends_when_its_time_is_up() -> None:
    """Whatever it is that takes so long."""
    with virtual_time(random.Random(1), 0.0) as loop:
        core = SimCore(loop, Settings(), Window(1e6, 10**6, 10**9))
        core.adopt(Stream("created"))
        for _ in range(100):
            core.stream.publish("A.x", 1, loop.clock.time_ns() // 10**6)
        core.read(100)
        loop.turn()
        theirs = core.connect(PLAIN)
        ask = {"channels": ["A.x"], "resume": {"epoch": core.ring.epoch, "seq": 0}}
        theirs.send(text_frame({"type": "subscribe", "data": ask}))
        loop.turn()
        loop.clock._tick_seconds = 0.001  # from now on each look at the clock takes 0.5 ms
        try:
            heard, replayed = [], 0
            while replayed < 100:
                loop.turn()
                with contextlib.suppress(BlockingIOError):
                    theirs.recv(65_536)
                heard.append(core.counters.messages_replayed - replayed)
                replayed += heard[-1]
                assert len(heard) < 1000
            assert max(heard) < 20, heard
        finally:
            theirs.close()
            core.close()


FLOODS = {
    "subscribe": {"type": "subscribe", "data": {"channels": ["A.x", "*.y"]}},
    "resume": {"type": "subscribe", "data": {"channels": ["A.x"], "resume": {"epoch": "?", "seq": 1}}},
    "last": {"type": "subscribe", "data": {"channels": ["*"], "last": True}},
    "replay": {"type": "replay", "data": {"since": 1}},
}


@pytest.mark.parametrize("what", FLOODS)
def test_what_one_client_asks_in_one_read_is_spread_over_turns(what: str) -> None:
    """A message counts the same however long it takes. Others wait for a share of it; all is answered."""
    with virtual_time(random.Random(1), 0.0) as loop:
        core = SimCore(loop, Settings(), Window(1e6, 10**6, 10**9))
        core.adopt(Stream("created"))
        core.stream.publish("A.x", 1, loop.clock.time_ns() // 10**6)
        core.read(1)
        loop.turn()
        greedy, other = core.connect(PLAIN), core.connect(PLAIN)
        flood = text_frame(json.loads(json.dumps(FLOODS[what]).replace("?", core.ring.epoch)))
        first = text_frame({"type": "subscribe", "data": {"channels": ["A.x"]}})
        heartbeat = text_frame({"type": "heartbeat"})
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        assert greedy.send(first + flood * 59) == len(first) + len(flood) * 59
        _heard(other)
        heard: list[str] = []
        handled: list[int] = []
        before = 0
        loop.clock._tick_seconds = 0.001  # from now on each look at the clock takes 0.5 ms
        try:
            while heard.count("pong") < 10:
                other.send(heartbeat)
                greedy.send(heartbeat)
                loop.turn()
                assert _heard(other) == ["pong"]
                heard += _heard(greedy)
                handled.append(core.counters.client_messages - before)
                before += handled[-1]
                assert len(handled) < 200
            assert max(handled) < 12, handled
            answered = [kind for kind in heard if kind in ("subscription_ack", "replay_complete", "error")]
            assert len(answered) == 60
            assert not {"subscription_ack", "error"}.intersection(heard[heard.index("pong") :])
        finally:
            greedy.close()
            other.close()
            core.close()


def _heard(theirs: socket.socket) -> list[str]:
    """The types of the messages that have come."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while more := theirs.recv(65_536):
            data += more
    return [kind.decode() for kind in re.findall(rb'"type":"([a-z:_]+)"', data)]
