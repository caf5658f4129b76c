"""The commands' clients over TLS: load, tail, and the client library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.tls import Files, make_files, trusting
from wsnode.client import Client
from wsnode.load import LoadClient
from wsnode.load_figures import Snapshot
from wsnode.load_options import LoadError, LoadOptions


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def _loading(options: LoadOptions) -> Any:
    load = LoadClient(options)
    await asyncio.to_thread(load.start)
    try:
        yield load
    finally:
        await asyncio.to_thread(load.stop)


async def _reached(load: LoadClient, condition: Callable[[Snapshot], bool]) -> Snapshot:
    return await asyncio.to_thread(load.wait_for, condition, 30)


@pytest.mark.parametrize("trust", ["ca", "insecure"])
async def test_a_hundred_load_clients_miss_nothing(nats_server: NatsServer, files: Files, trust: str) -> None:
    async with running_node(node_settings(nats_server.url, **files.settings)) as node:
        trusted: dict[str, Any] = {"ca": str(files.cert)} if trust == "ca" else {"insecure": True}
        url = f"wss://127.0.0.1:{node.port}/ws"
        options = LoadOptions(url, 100, 1000, ("A.b", "C.d"), 2, check=True, **trusted)
        async with _loading(options) as load:
            await _reached(load, lambda shot: shot.subscribed == 100)
            for number in range(100):
                await nats_server.publish(("A.b" if number % 2 else "C.d", b'{"n":%d}' % number))
            shot = await _reached(load, lambda shot: shot.deliveries == 100 * 100)
            assert (shot.broken, shot.messages) == (0, 100)
        await until(lambda: node._links.total == 0)


async def test_load_tells_of_a_certificate_that_is_not_trusted(
    nats_server: NatsServer, files: Files, tmp_path: Path
) -> None:
    other = make_files(tmp_path, "other")
    async with running_node(node_settings(nats_server.url, **files.settings)) as node:
        url = f"wss://127.0.0.1:{node.port}/ws"
        async with _loading(LoadOptions(url, 2, retry_longest=0.1, ca=str(other.cert))) as load:
            shot = await _reached(load, lambda shot: bool(shot.failed_opens))
            assert list(shot.failed_opens) == ["tls: self-signed certificate"]
        await until(lambda: node.counters.handshakes_failed["tls"] > 0)


def test_what_is_to_be_trusted_is_checked_before_anything_is_opened(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for values, message in (
        ({"ca": "/none"}, "ca '/none': no such file"),
        ({"ca": str(tmp_path / "empty")}, "holds no certificate in PEM form"),
        ({"ca": "/none", "insecure": True}, "ca and insecure: name one, not both"),
    ):
        with pytest.raises(LoadError, match=message):
            LoadOptions("wss://localhost/ws", **values)


async def test_the_library_speaks_wss_and_resumes(nats_server: NatsServer, files: Files) -> None:
    async with running_node(node_settings(nats_server.url, **files.settings)) as node:
        client = Client(f"wss://localhost:{node.port}/ws", ["A.b"], tls=trusting(files), retry=(0.05, 0.1))
        messages = aiter(client)
        first = asyncio.ensure_future(anext(messages))
        await until(lambda: len(node._channels))
        await nats_server.publish(("A.b", b"1"))
        assert (await first).data == 1
        client.hop()
        await nats_server.publish(("A.b", b"2"))
        assert (await anext(messages)).data == 2
        await messages.aclose()


async def test_tail_takes_ca_and_refuses_without(nats_server: NatsServer, files: Files) -> None:
    async with running_node(node_settings(nats_server.url, **files.settings)) as node:
        url = f"wss://localhost:{node.port}/ws"

        async def tail(*options: str) -> asyncio.subprocess.Process:
            command = [sys.executable, "-m", "wsnode", "tail", "-n1", "-o", "json", *options, url, "A.b"]
            pipe = asyncio.subprocess.PIPE
            return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)

        good = await tail("--ca", str(files.cert))
        await until(lambda: len(node._channels))
        await nats_server.publish(("A.b", b'"seen"'))
        output, _ = await asyncio.wait_for(good.communicate(), 30)
        assert json.loads(output)["data"] == "seen"
        bad = await tail("--no-reconnect")
        _, told = await asyncio.wait_for(bad.communicate(), 30)
        assert b"certificate verify failed" in told
        assert bad.returncode == 1
