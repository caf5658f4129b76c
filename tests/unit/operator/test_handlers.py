"""What kopf is told, and what it makes of an operator that ails."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path

import aiohttp
import kopf
import pytest

from tests.support.operating import free_port
from wsfleet.app import Operator
from wsfleet.handlers import Backoffs, build_registry, configure, start_once
from wsfleet.kube.login import Login
from wsfleet.options import OperatorOptions


def test_kopf_never_gives_a_request_up() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert isinstance(settings.networking.error_backoffs, Backoffs)
    pauses = list(islice(settings.networking.error_backoffs, 1000))
    assert pauses[:3] == [1, 2, 4]
    assert all(1 <= one <= 40 for one in pauses)


class Ailing(Operator):
    """An operator without a cluster."""

    ailment = ""
    started = stopped = 0

    async def start(self) -> None:
        self.started += 1
        if self.ailment == "start":
            raise OSError("the port is taken")

    async def stop(self) -> None:
        self.stopped += 1

    def ails(self) -> str:
        return self.ailment


def operator(folder: Path) -> Ailing:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        """{"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {"token": "x"}}]}"""
    )
    return Ailing(OperatorOptions(), Login(kubeconfig=str(kubeconfig)))


async def test_liveness_fails_while_something_hangs(tmp_path: Path) -> None:
    ailing, port, stop, ready = operator(tmp_path), free_port(), asyncio.Event(), asyncio.Event()
    ailing.ailment = "no turn for minutes: pods in all namespaces"
    task = asyncio.create_task(
        kopf.operator(
            registry=build_registry(ailing),
            clusterwide=True,
            standalone=True,
            liveness_endpoint=f"http://127.0.0.1:{port}/healthz",
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    await asyncio.wait_for(ready.wait(), 10)
    async with aiohttp.ClientSession() as session:
        for _ in range(50):
            try:
                async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                    assert answer.status == 500
                    break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
    stop.set()
    await asyncio.wait_for(task, 10)
    assert ailing.stopped == 1


async def test_a_start_that_fails_ends_the_process_and_is_cleared_up(tmp_path: Path) -> None:
    ailing = operator(tmp_path)
    ailing.ailment = "start"
    with pytest.raises(kopf.PermanentError, match="the operator can't start: the port is taken"):
        await start_once(ailing)
    assert (ailing.started, ailing.stopped) == (1, 1)
