"""What kopf is told, and what it makes of an operator that ails."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import aiohttp
import kopf
import pytest

from tests.support.operating import free_port
from wsfleet.app import Operator
from wsfleet.handlers import Backoffs, configure, start_once
from wsfleet.health import HealthServer
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

    fails = False
    started = stopped = 0

    async def start(self) -> None:
        self.started += 1
        if self.fails:
            raise OSError("the port is taken")

    async def stop(self) -> None:
        self.stopped += 1


def operator(folder: Path) -> Ailing:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        """{"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {"token": "x"}}]}"""
    )
    return Ailing(OperatorOptions(), Login(kubeconfig=str(kubeconfig)))


async def probe(port: int, path: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.json()


async def test_probes_say_what_ails() -> None:
    port, ailments, reasons = free_port(), [""], [""]
    server = HealthServer(f"http://127.0.0.1:{port}/healthz", lambda: ailments[0], lambda: reasons[0])
    await server.start()
    assert await probe(port, "/healthz") == (200, {"problem": None})
    ailments[0] = "no turn for minutes: pods in all namespaces"
    assert await probe(port, "/healthz") == (500, {"problem": ailments[0]})
    assert await probe(port, "/readyz") == (200, {"problem": None})
    reasons[0] = "lease wsfleet-operator could not be read lately"
    assert await probe(port, "/readyz") == (500, {"problem": reasons[0]})
    await server.stop()


async def test_a_start_that_fails_ends_the_process_and_is_cleared_up(tmp_path: Path) -> None:
    ailing = operator(tmp_path)
    ailing.fails = True
    with pytest.raises(kopf.PermanentError, match="the operator can't start: the port is taken"):
        await start_once(ailing)
    assert (ailing.started, ailing.stopped) == (1, 1)
