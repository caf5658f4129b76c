"""Drain and shed over all processes: as many as were asked for, at the pace asked for, the oldest first."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path

from tests.support.nats import NatsServer
from tests.support.several import Several, kill, several, until
from tests.support.wsclient import CLOSE, Closed, WsClient

_REASON = re.compile(r"reconnect;after=(\d+)")


async def _end_of(client: WsClient) -> tuple[float, Closed]:
    closed = await client.closed()
    return time.monotonic(), closed


async def _code_of(client: WsClient) -> int:
    """What the close frame says; a node that ends at once leaves the rest of the connection to the kernel."""
    while (frame := await client.frame())[0] != CLOSE:
        pass
    return int.from_bytes(frame[1][:2], "big")


async def test_a_drain_lets_all_go_at_its_pace_and_can_be_cancelled(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url, WS_DRAIN_DELAY="1s") as node:
        clients = await node.shared(39)
        clients.append(await node.open())
        count = len(clients)
        code, answer = node.ask("/drain", "PUT", {"rate": 20})
        assert code == 200
        assert (answer["drain"]["state"], answer["drain"]["remaining"]) == ("delay", count)
        assert node.ask("/readyz") == (503, {"ready": False, "reason": "draining"})
        waiting = [asyncio.create_task(_end_of(client)) for client in clients]
        await until(lambda: node.status()["drain"]["state"] == "closing")
        assert await node.knock() == "draining"
        assert 15 < node.status()["drain"]["rate_per_second"] < 25
        ends = sorted([await task for task in waiting], key=lambda end: end[0])
        assert {closed.code for _, closed in ends} == {1012}
        assert all(_REASON.fullmatch(closed.reason) for _, closed in ends)
        # 40 at 20 a second, shared by two: neither at once nor one process behind the other.
        assert count / 20 - 1 < ends[-1][0] - ends[0][0] < count / 20 + 3
        await until(lambda: node.status()["drain"]["state"] == "drained")
        assert node.metrics()["ws_connections_closed_total"] == {"drain": count}
        assert await node.knock() == "draining"
        assert node.ask("/drain", "DELETE") == (
            200,
            {"drain": {"state": "none", "remaining": 0, "rate_per_second": 0.0, "seconds_left": 0.0}},
        )
        assert node.ask("/readyz")[0] == 200
        await node.shared(4)
        assert node.ask("/drain", "PUT", {"rate": 1000})[1]["drain"]["state"] == "delay"
        await until(lambda: node.status()["drain"]["state"] == "drained")


async def test_a_shed_takes_the_longest_connected_of_all_processes(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url, 3) as node:
        old = await node.shared(20)
        await asyncio.sleep(2.1)  # a node's clock ticks in seconds
        young = [await node.open("A.b") for _ in range(10)]
        assert node.status()["shed"] == {"remaining": 0}
        asked = {"id": "one", "target": 10, "rate": 50}
        _, answer = node.ask("/shed", "PUT", asked)
        assert answer["shed"] == {"id": "one", "target": 10, "remaining": len(old), "rate_per_second": 50.0}
        for client in old:
            closed = await client.closed()
            assert closed.code == 1012
            assert _REASON.fullmatch(closed.reason)
        await until(lambda: node.status()["shed"]["remaining"] == 0)
        await until(lambda: node.ask("/shed", "PUT", asked)[1]["shed"]["remaining"] == 0)
        more = await node.open("A.b")  # the same shed again does nothing
        node.ask("/shed", "PUT", asked)
        await asyncio.sleep(0.5)
        assert node.status()["connections"]["current"] == 11
        assert node.ask("/readyz")[0] == 200
        await nats_server.publish(("A.b", b"1"))
        for client in (*young, more):
            assert (await client.message())["channel"] == "A.b"
        node.ask("/shed", "PUT", {"id": "two", "target": 4, "rate": 100})
        await until(lambda: node.status()["connections"]["current"] == 4)
        await asyncio.sleep(0.3)
        assert node.status()["connections"]["current"] == 4
        assert node.metrics()["ws_connections_closed_total"] == {"shed": len(old) + 7}
        node.ask("/shed", "PUT", {"id": "slow", "target": 1, "rate": 0.1})
        assert node.status()["shed"] == {"remaining": 3}
        assert node.ask("/drain", "PUT", {"rate": 0.1})[0] == 200
        assert node.ask("/shed", "PUT", {"id": "three", "target": 1, "rate": 1})[0] == 409


async def test_a_process_that_ends_during_a_drain_comes_back_only_when_it_is_cancelled(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url) as node:
        await node.shared(10)
        node.ask("/drain", "PUT", {"rate": 0.01})
        left, right = node.workers()
        kill(left)
        await until(lambda: node.workers() == [right])
        await asyncio.sleep(1.0)
        assert node.workers() == [right]
        assert node.metrics()["ws_process_connections"]["1"] == 0
        assert node.status()["drain"]["state"] == "closing"
        node.ask("/drain", "DELETE")
        await until(lambda: len(node.workers()) == 2)
        assert node.ask("/readyz")[0] == 200
        await node.shared(1)
        assert node.metrics()["ws_process_restarts_total"] == 1


async def _stopped(node: Several) -> int:
    return await asyncio.to_thread(node.process.process.wait, 30)


async def test_sigterm_drains_all_and_the_port_stays_open_until_the_last_is_gone(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url, 4, WS_DRAIN_RATE="10") as node:
        clients = await node.shared(20)
        waiting = [asyncio.create_task(_end_of(client)) for client in clients]
        node.process.process.terminate()
        await until(lambda: node.status()["drain"]["state"] == "closing")
        assert node.ask("/drain", "DELETE")[0] == 409
        refused = 0
        while not all(task.done() for task in waiting):
            assert await node.knock() == "draining"  # by each of them, to the end
            refused += 1
        assert {(await task)[1].code for task in waiting} == {1012}
        assert refused > 20
        assert await _stopped(node) == 0
        assert "killed" not in node.process.log


async def test_a_second_signal_ends_the_node_at_once(tmp_path: Path, nats_server: NatsServer) -> None:
    async with several(tmp_path, nats_server.url, WS_DRAIN_RATE="0.01") as node:
        clients = await node.shared(6)
        waiting = [asyncio.create_task(_code_of(client)) for client in clients]
        node.process.process.terminate()
        await until(lambda: node.status()["drain"]["state"] == "closing")
        node.process.process.terminate()
        assert {await task for task in waiting} <= {1001, 1012}
        assert await _stopped(node) == 0


async def test_a_process_that_hangs_does_not_keep_the_node(tmp_path: Path, nats_server: NatsServer) -> None:
    async with several(tmp_path, nats_server.url) as node:
        os.kill(node.workers()[0], signal.SIGSTOP)
        node.process.process.terminate()
        await until(lambda: not node.status()["ready"])
        node.process.process.terminate()
        assert await _stopped(node) == 0
        assert "does not end and is killed" in node.process.log
