"""Letting clients go: drain and shed, their pace, cancelling, and SIGTERM as a process sees it."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from tests.support.nats import NatsServer
from tests.support.node import NodeProcess, node_settings, running_node, until
from tests.support.wsclient import Closed, WsClient, request
from wsnode.view import InvalidArgumentError, NotNowError

_REASON = re.compile(r"reconnect;after=(\d+)")


async def _closed_at(client: WsClient) -> tuple[float, Closed]:
    closed = await client.closed()
    await client.close()
    return time.monotonic(), closed


async def test_a_drain_goes_on_accepting_then_refuses_and_closes_at_its_pace(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, drain_delay=0.5)
    async with running_node(settings) as node:
        clients = [await WsClient.open(node.port) for _ in range(20)]
        node.start_drain(20.0)
        assert (node.drain.state, node.drain.remaining, node.drain.rate_per_second) == ("delay", 20, 20.0)
        assert (node.ready, node.not_ready_reason) == (False, "draining")
        clients.append(await WsClient.open(node.port))  # endpoints take their time to forget a pod
        waiting = [asyncio.create_task(_closed_at(client)) for client in clients]
        await until(lambda: node.drain.state == "closing")
        refused = await WsClient.connect(node.port, request(node.port))
        assert (await refused.response())[0] == 503
        await refused.close()
        assert node.counters.connections_rejected == {"draining": 1}
        started = time.monotonic()
        ends = sorted([await task for task in waiting], key=lambda end: end[0])
        assert {closed.code for _, closed in ends} == {1012}
        delays = [int(match[1]) for _, c in ends if (match := _REASON.fullmatch(c.reason))]
        assert len(delays) == 21
        assert max(delays) <= 1000
        assert len(set(delays)) > 10  # each has its own
        assert ends[-1][0] - started > 0.8
        await until(lambda: node.drain.state == "drained")
        assert node.counters.connections_closed == {"drain": 21}
        assert not node.ready
        node.cancel_drain()
        assert node.ready
        await (await WsClient.open(node.port)).close()


async def test_a_cancelled_drain_closes_nobody_any_more(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, drain_delay=0)) as node:
        clients = [await WsClient.open(node.port) for _ in range(30)]
        node.start_drain(20.0)
        await until(lambda: node.connections <= 25)
        node.cancel_drain()
        left = node.connections
        assert left > 15
        await asyncio.sleep(0.3)
        assert node.connections == left
        assert node.drain.state == "none"
        for client in clients:
            await client.close()


async def test_the_rate_rises_when_the_end_is_near_and_who_is_deaf_is_cut(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, drain_delay=0, drain_timeout=2, close_timeout=1)
    async with running_node(settings) as node:
        deaf = [await WsClient.open(node.port) for _ in range(10)]
        node.start_drain(0.1)
        started = time.monotonic()
        await until(lambda: node.drain.state == "drained")
        assert 0.9 < time.monotonic() - started < 4
        frames = [await client.frame() for client in deaf]
        codes = {int.from_bytes(payload[:2], "big") for _, payload in frames}
        assert codes == {1012}
        # What could not be closed at the pace asked for comes back at that pace: spread wider.
        assert max(int(payload.rpartition(b"=")[2]) for _, payload in frames) > 1000
        for client in deaf:
            await client.close()


async def test_a_shed_goes_down_to_its_target_oldest_first_and_serves_on(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        old = [await WsClient.open(node.port) for _ in range(4)]
        await asyncio.sleep(2.1)  # the node's clock ticks in seconds
        young = [await WsClient.open(node.port, "A.b") for _ in range(3)]
        shed = node.shed("a", 3, 50.0)
        assert (shed.id, shed.target, shed.remaining, node.shed_left) == ("a", 3, 4, 4)
        for client in old:
            closed = await client.closed()
            assert closed.code == 1012
            assert _REASON.fullmatch(closed.reason)
            await client.close()
        await until(lambda: node.shed("a", 3, 50.0).remaining == 0)
        young.append(await WsClient.open(node.port, "A.b"))  # the same shed again does nothing
        node.shed("a", 3, 50.0)
        await asyncio.sleep(0.2)
        assert (node.connections, node.ready, node.shed_left) == (4, True, 0)
        await nats_server.publish(("A.b", b"1"))
        for client in young:
            assert (await client.message())["data"] == 1
            await client.close()
        assert node.counters.connections_closed["shed"] == 4


async def test_a_shed_whose_clients_come_straight_back_ends_all_the_same(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        stop = asyncio.Event()

        async def stay() -> None:
            while not stop.is_set():
                client = await WsClient.open(node.port)
                await client.closed()
                await client.close()

        staying = [asyncio.create_task(stay()) for _ in range(6)]
        await until(lambda: node.connections == 6)
        node.shed("a", 2, 50.0)
        await until(lambda: node.shed("a", 2, 50.0).remaining == 0, 5)
        await asyncio.sleep(0.3)
        assert node.counters.connections_closed["shed"] == 4
        stop.set()
        node.start_drain(100.0)
        await asyncio.gather(*staying)


async def test_what_can_not_be_asked_is_refused(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        for rate in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(InvalidArgumentError):
                node.start_drain(rate)
            with pytest.raises(InvalidArgumentError):
                node.shed("x", 1, rate)
        with pytest.raises(InvalidArgumentError):
            node.shed("x", -1, 1.0)
        node.start_drain(None)
        with pytest.raises(NotNowError):
            node.shed("x", 1, 1.0)


def _ready(output: str) -> tuple[int, int]:
    match = re.search(r'"port":\s*(\d+),\s*"admin_port":\s*(\d+)', output)
    assert match, output
    return int(match[1]), int(match[2])


def _started(process: NodeProcess) -> int:
    """Reads the log until the node says on which port it serves."""
    assert process.process.stdout is not None
    lines = ""
    for line in process.process.stdout:
        lines += line
        if "node started" in line:
            return _ready(line)[0]
    raise AssertionError(lines)


async def test_sigterm_drains_and_exits(nats_server: NatsServer) -> None:
    process = NodeProcess(node_settings(nats_server.url, drain_delay=0.3, drain_rate=50))
    try:
        port = await asyncio.to_thread(_started, process)
        client = await WsClient.open(port)
        process.terminate()
        closed = await client.closed()
        assert closed.code == 1012
        assert _REASON.fullmatch(closed.reason)
        await client.close()
        code, output = await asyncio.to_thread(process.ended)
        assert code == 0, output
        assert "Traceback" not in output
    finally:
        process.kill()


async def test_sigterm_is_heeded_while_the_broker_is_away() -> None:
    process = NodeProcess(node_settings("nats://127.0.0.1:1", drain_delay=0))
    try:
        port = await asyncio.to_thread(_started, process)
        client = await WsClient.connect(port, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response())[0] == 503
        await client.close()
        process.terminate()
        code, output = await asyncio.to_thread(process.ended, 10)
        assert code == 0, output
        assert "Traceback" not in output
    finally:
        process.kill()


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2, 0.5])
async def test_sigterm_is_heeded_from_the_first_instant(nats_server: NatsServer, seconds: float) -> None:
    process = NodeProcess(node_settings(nats_server.url, drain_delay=0))
    try:
        await asyncio.sleep(seconds)
        process.terminate()
        code, output = await asyncio.to_thread(process.ended, 10)
        # -15: before Python ran its first line; outside a container the kernel's default holds there.
        assert code in (0, -15), output
    finally:
        process.kill()


async def test_a_taken_port_ends_the_start_with_one_line(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        settings = node_settings(nats_server.url, addr=f"127.0.0.1:{node.port}")
        process = NodeProcess(settings)
        try:
            code, output = await asyncio.to_thread(process.ended)
            assert code == 1
            (line,) = [line for line in output.splitlines() if "cannot listen" in line]
            assert "WS_ADDR" in line
        finally:
            process.kill()
