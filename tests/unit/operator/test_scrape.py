"""Figures of nodes: read leniently, in bounded time, from real servers on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.scrape import DirectTransport, NodeAdmin, ScrapeError, Target, parse_status

STATUS = {
    "node": "odin-1",
    "version": "0.1.0",
    "uptime_seconds": 12.5,
    "ready": True,
    "connections": {"current": 812, "max": 10000},
    "cpu": {"percent": 12.5, "limit_cores": 1.8},
    "memory": {"bytes": 1000, "limit_bytes": 2000},
    "rejections": {"cpu": 3, "connections": 0},
    "feed": {"connected": True, "paused": False, "seeded": True, "position": 5, "lag": 0, "epoch": "e"},
    "drain": {"state": "closing", "remaining": 7, "rate_per_second": 100.0, "seconds_left": 3},
    "settings": {"hash": "abc", "error": None, "values": {"WS_MAX_CONNECTIONS": "10000"}},
    "costs": {"cpu_seconds_total": 1.5, "deliveries_total": 10, "messages_in_total": 3},
}


class Node:
    """A node's admin port that answers, refuses or hangs."""

    def __init__(self) -> None:
        self.answer: Any = STATUS
        self.status = 200
        self.hangs = False
        self.heard: list[tuple[str, str, dict[str, str], Any]] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.heard.append((request.method, request.path, dict(request.headers), body))
        if self.hangs:
            await asyncio.sleep(30)
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(status=self.status, text=text)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", node.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    node.port = runner.addresses[0][1]
    yield node
    await runner.cleanup()


@pytest.fixture
async def admin(node: Node) -> AsyncIterator[NodeAdmin]:
    admin = NodeAdmin(DirectTransport(node.port), timeout=0.3, round_seconds=0.6, term=lambda: 4)
    yield admin
    await admin.close()


def target(uid: str = "u1", address: str = "127.0.0.1") -> Target:
    return Target(uid, "games", f"pod-{uid}", address)


async def test_a_round_brings_the_figures_of_each_node(admin: NodeAdmin) -> None:
    found = await admin.scrape([target("u1"), target("u2")])
    assert sorted(found) == ["u1", "u2"]
    figures = found["u1"]
    assert (figures.connections, figures.max_connections, figures.cpu_percent) == (812, 10000, 12.5)
    assert figures.rejections == {"cpu": 3, "connections": 0}
    assert figures.draining
    assert figures.drain_remaining == 7
    assert figures.drain_rate == 100.0
    assert figures.settings_hash == "abc"
    assert figures.feed_connected is True


async def test_hanging_nodes_cost_their_fleet_a_bounded_time(node: Node) -> None:
    node.hangs = True
    admin = NodeAdmin(DirectTransport(node.port), timeout=5, round_seconds=0.3)
    began = time.monotonic()
    found = await admin.scrape([target(str(number)) for number in range(300)])
    assert found == {}
    assert time.monotonic() - began < 3
    await admin.close()


@pytest.mark.parametrize("answer", ["not JSON", "[1, 2", "x" * 300_000, "[" * 100_000])
async def test_a_node_that_answers_nonsense_is_missing(node: Node, admin: NodeAdmin, answer: str) -> None:
    node.answer = answer
    assert await admin.scrape([target()]) == {}


async def test_a_node_that_is_not_there_is_missing(node: Node, admin: NodeAdmin) -> None:
    found = await admin.scrape([target("here"), target("gone", "127.0.0.2")])
    assert list(found) in (["here"], ["here", "gone"])  # a server on 0.0.0.0 would answer there too


async def test_a_drain_carries_token_term_and_rate(node: Node, admin: NodeAdmin) -> None:
    await admin.drain(target(), "secret", rate=120.0)
    await admin.cancel_drain(target(), "secret")
    (put, path, headers, body), (delete, _, _, nothing) = node.heard
    assert (put, path, body) == ("PUT", "/drain", {"rate": 120.0})
    assert headers["X-Wsfleet-Token"] == "secret"
    assert headers["X-Wsfleet-Term"] == "4"
    assert (delete, nothing) == ("DELETE", None)


async def test_a_refusal_says_why(node: Node, admin: NodeAdmin) -> None:
    node.status, node.answer = 409, {"error": "term 4 is lower than 5"}
    with pytest.raises(ScrapeError, match=r"HTTP 409.*term 4 is lower"):
        await admin.drain(target(), "secret")


def test_missing_strange_and_negative_figures_are_none() -> None:
    figures = parse_status(
        {
            "connections": {"current": -1, "max": "many"},
            "cpu": {"percent": float("nan")},
            "memory": None,
            "rejections": {"cpu": -3, "memory": 2, "x": None, "y": True},
            "feed": [],
            "drain": {"state": 7},
            "uptime_seconds": 10**400,
        },
        1.0,
    )
    assert figures.connections is figures.max_connections is figures.cpu_percent is None
    assert figures.memory_bytes is figures.uptime_seconds is None
    assert figures.rejections == {"memory": 2}
    assert figures.feed_connected is None
    assert not figures.draining


def test_figures_that_no_status_could_hold_are_none() -> None:
    figures = parse_status({"connections": {"current": 1e300, "max": 2**60}, "cpu": {"percent": 1e308}}, 1.0)
    assert figures.connections is figures.max_connections is figures.cpu_percent is None


async def test_a_figure_that_is_no_number_costs_the_others_nothing(node: Node, admin: NodeAdmin) -> None:
    node.answer = '{"cpu": {"percent": NaN}, "connections": {"current": 7}, "version": "\\ud800"}'
    figures = (await admin.scrape([target()]))["u1"]
    assert (figures.cpu_percent, figures.connections) == (None, 7)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["connections", "current", "max", "cpu", "percent", "feed", "drain", "state"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_any_json_gives_figures_that_are_finite_or_none(answer: Any) -> None:
    figures = parse_status(answer, 1.0)
    for value in (figures.connections, figures.max_connections, figures.cpu_percent):
        assert value is None or value >= 0


async def test_a_shed_carries_its_id_target_rate_token_and_term(node: Node, admin: NodeAdmin) -> None:
    await admin.shed(target(), "secret", shed_id="rebalance-1-7", down_to=4400, rate=12.5)
    method, path, headers, body = node.heard[-1]
    assert (method, path) == ("PUT", "/shed")
    assert body == {"id": "rebalance-1-7", "target": 4400, "rate": 12.5}
    assert (headers["X-Wsfleet-Token"], headers["X-Wsfleet-Term"]) == ("secret", "4")


class Halves:
    """A transport on which some pods never answer, and the others do at once."""

    def __init__(self, dead: set[str]) -> None:
        self.dead = dead

    async def request(self, method: str, target: Target, path: str, **_: Any) -> Any:
        if target.uid in self.dead:
            await asyncio.sleep(0.05)
            raise ScrapeError("no answer within 0.05 s")
        return STATUS

    async def close(self) -> None:
        """Has nothing open."""


async def test_dead_machines_do_not_take_the_time_of_the_living() -> None:
    targets = [target(str(number)) for number in range(600)]
    dead = {one.uid for one in targets[::3]}
    transport = Halves(dead)
    admin = NodeAdmin(transport, timeout=0.05, round_seconds=0.1, concurrency=32)
    await admin.scrape(targets)
    for _ in range(8):  # each round finds more of the dead, which no longer stand in the way of others
        answered = set(await admin.scrape(targets))
    assert answered == {one.uid for one in targets} - dead
    transport.dead = set()
    for _ in range(8):
        answered = set(await admin.scrape(targets))
    assert answered == {one.uid for one in targets}


class Watched(Halves):
    """Notes who was asked."""

    def __init__(self, dead: set[str]) -> None:
        super().__init__(dead)
        self.asked: set[str] = set()

    async def request(self, method: str, target: Target, path: str, **_: Any) -> Any:
        self.asked.add(target.uid)
        return await super().request(method, target, path)


async def test_the_dead_do_not_hide_who_came_back_behind_them() -> None:
    targets = [target(str(number)) for number in range(40)]
    everyone = {one.uid for one in targets}
    transport = Watched(set(everyone))
    admin = NodeAdmin(transport, timeout=0.05, round_seconds=0.1, concurrency=8)

    async def rounds_until_all_were_asked() -> int:
        transport.asked.clear()
        for number in range(1, 101):
            await admin.scrape(targets)
            if transport.asked == everyone:
                return number
        return 0

    assert await rounds_until_all_were_asked()
    await admin.scrape(targets)
    transport.dead -= {one.uid for one in targets[20:]}
    # All are asked by one slot now; each of the twenty that are dead takes half of a round.
    assert await rounds_until_all_were_asked()
