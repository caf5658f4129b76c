"""CPU and memory of all processes in one figure, and a process whose loop does not turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats import NatsServer
from tests.support.node import node_settings
from tests.support.several import Several, several, until
from wsnode.admin import AdminServer
from wsnode.gauges import process_cpu_seconds
from wsnode.processes import supervisor as supervising
from wsnode.processes.supervisor import Supervisor
from wsnode.processes.whole import WholeNode


def _looks(node: Several) -> tuple[float, dict[int, float], dict[int, float]]:
    """Now, CPU seconds and seconds that the main thread ran or wanted to run, by process."""
    used, busy = {}, {}
    for pid in (node.pid, *node.workers()):
        used[pid] = process_cpu_seconds(pid) or 0.0
        run, wait, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
        busy[pid] = (int(run) + int(wait)) / 1e9
    return time.monotonic(), used, busy


async def _figure_and_truth(node: Several, limit: float) -> tuple[float, float, float, float]:
    """The node's CPU %; then as the test reckons: the larger share, that of the limit, the busiest loop's."""
    then, used_then, busy_then = _looks(node)
    await asyncio.sleep(6)
    now, used, busy = _looks(node)
    percent = node.status()["cpu"]["percent"]
    wall = now - then
    of_limit = 100 * sum(used[pid] - used_then[pid] for pid in used) / wall / limit
    busiest = 100 * max(busy[pid] - busy_then[pid] for pid in busy) / wall
    return percent, max(of_limit, busiest), of_limit, busiest


def _flood(server: NatsServer, per_second: int) -> contextlib.AbstractAsyncContextManager[None]:
    async def step(client: Client) -> None:
        for _ in range(per_second // 20):
            await client.publish("odin.token.A.b", b'{"price":1}')
        await client.flush()
        await asyncio.sleep(0.05)

    return server.busy(step)


async def test_two_busy_processes_read_as_the_greater_of_both_shares(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("WS_CPU_LIMIT=100\n")
    async with several(tmp_path, nats_server.url, WS_SETTINGS_FILE=str(file)) as node:
        async with _flood(nats_server, 4000):
            await until(lambda: node.status()["messages"]["in"] > 1000)
            # A limit that is far away: what counts is the loop that can do no more than a core's work.
            percent, truth, of_limit, busiest = await _figure_and_truth(node, 100)
            assert busiest > of_limit + 5
            assert percent == pytest.approx(truth, rel=0.35)
            # Two processes together against a limit that is near.
            file.write_text("WS_CPU_LIMIT=0.2\n")
            await until(lambda: node.status()["cpu"]["limit_cores"] == 0.2)
            percent, truth, of_limit, busiest = await _figure_and_truth(node, 0.2)
            assert of_limit > busiest + 5
            assert percent == pytest.approx(truth, rel=0.35)
        shown = node.metrics()
        assert min(shown["ws_process_loop_percent"].values()) > 0
        assert shown["ws_cpu_seconds_total"] == pytest.approx(sum(_looks(node)[1].values()), abs=1.0)
        # Three processes with what they share counted once, or the control group's figure.
        assert 60 * 2**20 < node.status()["memory"]["bytes"] < 2**34


def _livez(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def test_a_process_whose_loop_does_not_turn_is_told_and_then_replaced(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(supervising, "_KILL_LOOKS", 30)
    settings = node_settings(nats_server.url, admin_addr="127.0.0.1:0")
    supervisor = Supervisor(settings, "", 2)
    node = WholeNode(supervisor)
    admin = AdminServer(node)
    await admin.start()
    try:
        supervisor.reserve_port()
        node.start()
        supervisor.start()
        await until(lambda: node.ready)
        await asyncio.sleep(2)
        assert (node.stuck_processes, await asyncio.to_thread(_livez, admin.port)) == ([], 200)
        stuck = supervisor.children[2].pid
        os.kill(stuck, signal.SIGSTOP)
        await until(lambda: node.stuck_processes == [2])
        assert await asyncio.to_thread(_livez, admin.port) == 503
        assert node.processes[2].loop_lag_seconds > 5
        assert node.ready
        await until(lambda: node.process_restarts == 1)
        await until(lambda: len(supervisor.children) == 2 and node.stuck_processes == [])
        assert supervisor.children[2].pid != stuck
        assert await asyncio.to_thread(_livez, admin.port) == 200
    finally:
        await supervisor.stop()
        node.stop()
        await admin.stop()
        supervisor.close()
