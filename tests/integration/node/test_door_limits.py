"""Each limit at the door of a running node: who is above it gets a 503, when to come back, and is counted."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.rawwire import RawWire
from tests.support.wsclient import WsClient, request
from wsnode.config import Settings
from wsnode.intake import ACCEPTED_A_TURN
from wsnode.node import Node
from wsnode.watch import SettingsChange


def _sources(count: int) -> list[str]:
    return [f"127.0.1.{number}" for number in range(1, count + 1)]


def _changed(node: Node, **changes: Any) -> SettingsChange:
    return SettingsChange(Settings(**node.settings.model_dump() | changes), "", None)


async def _knock(node: Node) -> str | None:
    """Why a newcomer is refused; None where it is let in."""
    client = await WsClient.connect(node.port, request(node.port))
    status, headers, body = await client.response()
    reason = None
    if status != 101:
        assert status == 503
        assert 1 <= int(headers["retry-after"]) <= 30
        await client.ended()
        reason = body.decode().removeprefix("no more clients now: ").strip()
    await client.close()
    await until(lambda: node._links.total == node.connections)
    return reason


async def test_cpu_refuses_above_its_threshold_until_5_points_lower(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, cpu_reject_threshold=75, cpu_pause_threshold=80)
    async with running_node(settings) as node:
        node._gauges.cpu.sample = lambda now: 0.0  # type: ignore[method-assign]
        seen = []
        for percent in (75.0, 75.1, 74.0, 70.1, 70.0, 74.0):
            node._gauges.cpu.percent = percent
            seen.append(await _knock(node))
        assert seen == [None, "cpu", "cpu", "cpu", None, None]
        assert node.counters.connections_rejected == {"cpu": 3}
        node._gauges.cpu.percent = 76.0
        assert await _knock(node) == "cpu"
        node.apply(_changed(node, cpu_reject_threshold=78))
        assert await _knock(node) is None


async def test_memory_refuses_at_the_real_figure(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, memory_limit=2**25)) as node:
        await until(lambda: node.memory_bytes > 0.9 * 2**25)
        assert await _knock(node) == "memory"
        assert not node.healthy
        node.apply(_changed(node, memory_limit=2**36))
        assert await _knock(node) is None
        used = node.memory_bytes
        node._gauges.memory.sample = lambda: used  # type: ignore[method-assign]
        seen = []
        for share in (0.89, 0.91, 0.86, 0.84):
            node._gauges.memory.bytes = int(share * 2**36)
            seen.append(await _knock(node))
        assert seen == [None, "memory", "memory", None]


async def test_units_of_concurrent_work_are_bounded(nats_server: NatsServer) -> None:
    """Settings that fit together never reach it; one change at a time can."""
    async with running_node(node_settings(nats_server.url)) as node:
        node._door._count_tasks = lambda: 7
        node._door.observe(time.monotonic())
        guests = [await WsClient.open(node.port) for _ in range(3)]
        most = 2 * 4 + node.settings.worker_pool_size + 7
        tight = node.settings.model_copy(update={"max_goroutines": most})
        node.apply(SettingsChange(tight, "", None))
        guests.append(await WsClient.open(node.port))
        assert await _knock(node) == "goroutines"
        await guests.pop().close()
        await until(lambda: node.connections == 3)
        assert await _knock(node) is None
        for guest in guests:
            await guest.close()


async def test_tasks_that_leak_are_units_of_concurrent_work(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_connections=100)) as node:
        least = 2 * 100 + node.settings.worker_pool_size + 20
        node.apply(_changed(node, max_goroutines=least))
        assert await _knock(node) is None
        leaking = [asyncio.create_task(asyncio.Event().wait()) for _ in range(220)]
        await until(lambda: not node.healthy)
        assert await _knock(node) == "goroutines"
        for task in leaking:
            task.cancel()
        await asyncio.gather(*leaking, return_exceptions=True)
        await until(lambda: node.healthy)
        assert await _knock(node) is None


async def test_the_last_descriptors_are_not_given_to_clients(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        node._door.descriptors = 66
        guest = await WsClient.open(node.port)
        assert await _knock(node) == "descriptors"
        await guest.close()
        await until(lambda: node.connections == 0)
        assert await _knock(node) is None


async def test_the_last_descriptors_are_taken_from_who_holds_the_most_without_asking(
    nats_server: NatsServer,
) -> None:
    async with running_node(node_settings(nats_server.url, handshake_timeout=300)) as node:
        node._door.descriptors = 74
        silent = await _silent(node, 10)  # 64 are left: no client is let in
        streams = await asyncio.open_connection("127.0.0.1", node.port, local_addr=("127.0.0.2", 0))
        client = WsClient(*streams)
        await client.send_bytes(request(node.port))
        assert (await client.response())[0] == 101
        assert node.counters.handshakes_failed == {"crowded_out": 2}
        await client.close()
        for left in silent:
            left.close()


async def test_a_loop_that_is_late_for_long_refuses(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.admission.LOOP_LAG_FOR_SECONDS", 1.2)
    async with running_node(node_settings(nats_server.url)) as node:

        async def be_late() -> None:
            while True:
                node._gauges.lag.note(0.6)
                await asyncio.sleep(0.05)

        late = asyncio.create_task(be_late())
        assert await _knock(node) is None
        await asyncio.sleep(2.5)
        assert await _knock(node) == "loop_lag"
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        await until(lambda: node.loop_lag_seconds < 0.5)
        assert await _knock(node) is None
        assert node.counters.connections_rejected == {"loop_lag": 1}


async def test_few_are_taken_and_answered_in_a_turn(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        door, links, loop = node._intake, node._links, asyncio.get_running_loop()
        assert door is not None
        loop.remove_reader(door._listener.fileno())
        loop.remove_reader(links._epoll.fileno())
        # Nothing turns but by hand: they wait in the kernel's line.
        clients = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(150)]
        for client in clients:
            client.sendall(request(node.port))
        taken = []
        for _ in range(3):
            before = links.total
            door._accept()
            taken.append(links.total - before)
        assert taken == [ACCEPTED_A_TURN] * 3
        # A turn answers for a millisecond, and eight at least.
        turns = 0
        while node.connections < 3 * ACCEPTED_A_TURN:
            before = node.connections
            links._turn()
            turns += 1
            assert node.connections > before
        assert turns <= 6
        loop.add_reader(links._epoll.fileno(), links._turn)
        door.start()
        for client in clients:
            client.close()
        await until(lambda: links.total == 0)


async def test_who_asks_for_nothing_takes_no_more_places_than_clients_would(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.intake._UNOPENED", 20)
    settings = node_settings(nats_server.url, max_connections=20, handshake_timeout=1)
    async with running_node(settings) as node:
        guest = await WsClient.open(node.port)
        silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(20)]
        await until(lambda: node._links.total == 21)
        with await asyncio.to_thread(RawWire, node.port) as refused:
            status, headers, _ = await asyncio.to_thread(refused.response)
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert node.counters.connections_rejected == {"handshakes": 1}
        assert node.counters.handshakes_failed == {}
        for client in silent:
            client.close()
        await until(lambda: node._links.total == 1)
        assert await _knock(node) is None
        await guest.close()


async def _silent(node: Node, count: int, source: str = "127.0.0.1") -> list[socket.socket]:
    """Connections that ask for nothing, taken in by the node."""
    before = node._links.total
    clients = [
        socket.create_connection(("127.0.0.1", node.port), source_address=(source, 0)) for _ in range(count)
    ]
    await until(lambda: node._links.total == before + count)
    return clients


async def test_one_address_does_not_keep_others_from_their_handshakes(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where places run out, the oldest of the address that has the most goes."""
    monkeypatch.setattr("wsnode.intake._UNOPENED", 20)
    settings = node_settings(nats_server.url, max_connections=20, handshake_timeout=300)
    async with running_node(settings) as node:
        greedy = await _silent(node, 17)
        others = [*await _silent(node, 2, "127.0.0.2"), *await _silent(node, 1, "127.0.0.3")]
        fresh = []
        for number, source in enumerate(_sources(3), 1):
            streams = await asyncio.open_connection("127.0.0.1", node.port, local_addr=(source, 0))
            client = WsClient(*streams)
            await client.send_bytes(request(node.port))
            status, _, _ = await client.response()
            assert status == 101
            fresh.append(client)
            # It is told why, and when to come back.
            cut = greedy[number - 1]
            cut.settimeout(20)
            answer = await asyncio.to_thread(cut.recv, 4096)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"no more clients now: handshakes" in answer
            assert b"Retry-After: " in answer
            greedy += await _silent(node, 1, "127.0.0.4")  # its place is free since the other is open
        assert node.counters.handshakes_failed == {"crowded_out": 3}
        assert node.counters.connections_rejected == {}
        for other in others:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(1)  # they wait as before
        for left in (*greedy, *others):
            left.close()
        for guest in fresh:
            await guest.close()
        await until(lambda: node._links.total == 0)
        assert node._intake is not None
        assert node._intake._newcomers.oldest_of_the_most() is None


async def test_handshakes_of_one_address_are_bounded_where_addresses_are(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, max_connections_per_address=18, handshake_timeout=300)
    async with running_node(settings) as node:
        silent = await _silent(node, 18)
        with await asyncio.to_thread(RawWire, node.port) as refused:
            status, _, body = await asyncio.to_thread(refused.response)
        assert (status, body) == (503, b"no more clients now: address\n")
        assert node.counters.connections_rejected == {"address": 1}
        other = await _silent(node, 1, "127.0.0.2")
        silent.pop().close()
        await until(lambda: node._links.total == 18)
        assert await _let_in(node) is None
        for client in (*silent, *other):
            client.close()


async def _let_in(node: Node) -> str | None:
    """Why a newcomer is refused; None where it is let in. Others may wait meanwhile."""
    client = await WsClient.connect(node.port, request(node.port))
    status, _, body = await client.response()
    await client.close()
    return None if status == 101 else body.decode()


async def test_who_is_refused_and_stays_is_cut(nats_server: NatsServer) -> None:
    """Its end of the connection is awaited, for WS_CLOSE_TIMEOUT and no longer."""
    async with running_node(node_settings(nats_server.url, max_connections=1, close_timeout=0.3)) as node:
        guest = await WsClient.open(node.port)
        refused = [await WsClient.connect(node.port, request(node.port)) for _ in range(3)]
        for client in refused:
            assert (await client.response())[0] == 503
        await until(lambda: node._links.total == 1, 5)
        for client in (guest, *refused):
            await client.close()


async def test_the_closing_handshake_has_its_time_and_no_more(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, close_timeout=0.3)) as node:
        silent = await WsClient.open(node.port)
        node._links.close(node._links.open_links()[0], 1012, "reconnect;after=1", "drain")
        assert (await silent.frame())[0] == 8  # and nothing is answered
        await until(lambda: node._links.total == 0, 5)
        assert node.counters.connections_closed == {"drain": 1}
        await silent.close()
