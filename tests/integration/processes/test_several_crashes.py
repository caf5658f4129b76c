"""A process that ends is replaced; its clients go on with the others, and miss nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

from tests.support.nats import NatsServer
from tests.support.node import node_settings
from tests.support.several import Several, is_gone, kill, several, state_of, until
from wsnode.client import Client, Connected, Missed
from wsnode.processes.child import Child
from wsnode.processes.supervisor import Supervisor

CLIENTS = 12
PER_SECOND = 50


@contextlib.asynccontextmanager
async def publishing(server: NatsServer) -> AsyncIterator[list[int]]:
    """Publishes for ever, and gathers the sequences."""
    seqs: list[int] = []

    async def step(client: NatsClient) -> None:
        ack = await client.jetstream().publish("odin.token.BTC.trade", b'{"n":%d}' % len(seqs))
        seqs.append(ack.seq)
        await asyncio.sleep(1 / PER_SECOND)

    async with server.busy(step):
        yield seqs


class Follower:
    """A client that notes what comes."""

    def __init__(self, port: int) -> None:
        self.seqs: list[int] = []
        self.events: list[Any] = []
        self.client = Client(
            f"ws://127.0.0.1:{port}/ws", ["BTC.trade"], retry=(0.05, 0.3), on_event=self.events.append
        )
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for message in self.client:
            self.seqs.append(message.seq)

    @property
    def connects(self) -> int:
        return sum(isinstance(event, Connected) for event in self.events)

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def _replaced(node: Several, before: list[int], restarts: int) -> None:
    await until(lambda: node.metrics()["ws_process_restarts_total"] == restarts)
    await until(lambda: len(node.workers()) == node.count and node.workers() != before)


async def test_clients_of_a_killed_process_resume_with_another(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url) as node, publishing(nats_server) as seqs:
        followers = [Follower(node.port) for _ in range(CLIENTS)]
        try:
            await until(lambda: node.status()["connections"]["current"] == CLIENTS)
            await until(lambda: all(follower.seqs for follower in followers))
            for restarts in (1, 2, 3):
                before = node.workers()
                kill(before[restarts % 2])
                await _replaced(node, before, restarts)
                await until(lambda: node.status()["connections"]["current"] == CLIENTS)
                assert node.ask("/readyz")[0] == 200
                # The replacement takes clients again once it has the stream's window.
                for newcomer in await node.shared(1):
                    await newcomer.close()
            upto = len(seqs)
            await until(lambda: len(seqs) > upto + 10)
            last = seqs[upto]
            await until(lambda: all(follower.seqs[-1] >= last for follower in followers))
        finally:
            for follower in followers:
                await follower.end()
        for follower in followers:
            assert not [event for event in follower.events if isinstance(event, Missed)]
            first = seqs.index(follower.seqs[0])
            assert follower.seqs == seqs[first : first + len(follower.seqs)]
        assert sum(follower.connects for follower in followers) > CLIENTS
        status = node.status()
        assert abs(status["messages"]["in"] - len(seqs)) <= 2 * PER_SECOND  # read by all, counted once


async def test_totals_never_fall_and_places_of_the_dead_are_free(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(
        tmp_path, nats_server.url, WS_MAX_CONNECTIONS="20", WS_MAX_CONNECTIONS_PER_ADDRESS="20"
    ) as node:
        clients = await node.shared(20, "A.b")
        assert await node.knock() == "connections"
        await nats_server.publish(*[("A.b", b"1")] * 30)
        for client in clients:
            await client.messages(30)
        await until(lambda: node.status()["messages"]["out"] == 600)
        before, shares = node.workers(), node.metrics()["ws_process_connections"]
        kill(before[0])
        await _replaced(node, before, 1)
        status = node.status()
        assert (status["messages"]["out"], status["messages"]["in"]) == (600, 30)
        assert status["connections"]["current"] == shares["2"]
        metrics = node.metrics()
        assert metrics["ws_connections_closed_total"] == {"crash": shares["1"]}
        assert (metrics["ws_connections_opened_total"], metrics["ws_messages_out_total"]) == (20, 600)
        for _ in range(int(shares["1"])):
            assert not isinstance(await node.knock(), str)
        assert await node.knock() in ("connections", "address")
        assert node.metrics()["ws_cpu_seconds_total"] > metrics["ws_cpu_seconds_total"] - 0.01


async def test_a_process_that_can_not_stay_is_tried_ever_more_slowly(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url) as node:
        began = asyncio.get_running_loop().time()
        for restarts in range(1, 4):
            workers = node.workers()
            kill(workers[0])
            await _replaced(node, workers, restarts)
        # At once, then after 0.5 and 1 seconds.
        assert asyncio.get_running_loop().time() - began > 1.5
        assert node.ask("/readyz")[0] == 200
        ended = [line for line in node.process.log.splitlines() if "a process ended" in line]
        assert len(ended) == 3
        assert all('"how": "SIGKILL"' in line for line in ended)
        # Nobody is left for others to wait for.
        assert not [pid for pid in node.workers() if state_of(pid) == "Z"]


async def test_without_the_parent_nobody_serves(tmp_path: Path, nats_server: NatsServer) -> None:
    async with several(tmp_path, nats_server.url, 3) as node:
        workers = node.workers()
        assert len(workers) == 3
        os.kill(workers[0], signal.SIGSTOP)
        kill(node.pid)
        await until(lambda: all(is_gone(pid) for pid in workers), 5)


async def test_signals_meant_for_the_parent_do_not_end_a_process(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with several(tmp_path, nats_server.url) as node:
        workers = node.workers()
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        await asyncio.sleep(0.5)
        assert node.workers() == workers
        # As a service manager does it: all at once. The parent leads.
        for pid in (*workers, node.pid):
            os.kill(pid, signal.SIGTERM)
        assert await asyncio.to_thread(node.process.process.wait, 20) == 0
        assert "a process ended" not in node.process.log
        assert all(is_gone(pid) for pid in workers)


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
async def test_a_node_none_of_whose_processes_can_start_gives_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    supervisor = Supervisor(node_settings("nats://127.0.0.1:1"), "", 2)
    try:
        supervisor.reserve_port()
        supervisor.start()
        await asyncio.wait_for(supervisor.failed.wait(), 20)
        assert not supervisor.up.is_set()
        assert {record.message for record in caplog.records} == {
            "a process ended" if program == "/bin/false" else "a process can't be started"
        }
    finally:
        await supervisor.stop()
        supervisor.close()


async def test_who_is_told_to_end_before_it_can_hear_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect, connecting, told = Child.connect, asyncio.Event(), asyncio.Event()

    async def late(child: Child) -> None:
        connecting.set()
        await told.wait()
        await connect(child)

    monkeypatch.setattr(Child, "connect", late)
    monkeypatch.setattr("wsnode.processes.supervisor._END_SECONDS", 15.0)
    supervisor = Supervisor(node_settings("nats://127.0.0.1:1"), "", 1)
    supervisor.reserve_port()
    supervisor.start()
    await connecting.wait()
    ending = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0)
    told.set()
    await ending
    supervisor.close()
    assert not [record for record in caplog.records if "killed" in record.message]
