"""The feed over each way to a broker: messages that follow each other closely come, all and in order.

They are read together after a pause of some milliseconds (`natsclient.GATHER_SECONDS`), in which the
connection is not read. Whatever the connection is, reading goes on after that.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import nats
import pytest

from tests.support.feeds import data
from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.tls import make_files
from tests.support.wsclient import WsClient

Way = Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[tuple[NatsServer, str]]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _plain(directory: Path, patched: pytest.MonkeyPatch) -> Iterator[tuple[NatsServer, str]]:
    server = NatsServer(directory).start()
    try:
        yield server, server.url
    finally:
        server.kill()


@contextmanager
def _tls(directory: Path, patched: pytest.MonkeyPatch) -> Iterator[tuple[NatsServer, str]]:
    files = make_files(directory)
    patched.setenv("SSL_CERT_FILE", str(files.cert))
    server = NatsServer(directory, "--tls", "--tlscert", str(files.cert), "--tlskey", str(files.key)).start()
    try:
        yield server, server.url.replace("nats://", "tls://")
    finally:
        server.kill()


@contextmanager
def _websocket(directory: Path, patched: pytest.MonkeyPatch) -> Iterator[tuple[NatsServer, str]]:
    port = _free_port()
    path = directory / "server.conf"
    path.write_text(f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}\n')
    server = NatsServer(directory, "-c", str(path)).start()
    try:
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        server.kill()


@pytest.mark.filterwarnings("default")  # of the library, over a WebSocket
@pytest.mark.parametrize("way", [_plain, _tls, _websocket], ids=lambda way: way.__name__)
async def test_messages_that_follow_closely_come_over_every_transport(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[..., AbstractContextManager[tuple[NatsServer, str]]],
) -> None:
    with way(tmp_path, monkeypatch) as (_, url):
        async with running_node(node_settings(url)) as node:
            client = await WsClient.open(node.port, "A.b")
            async with await nats.connect(url) as broker:
                for number in range(200):
                    await broker.publish("odin.token.A.b", b"%d" % number)
                    await broker.flush()
                    await asyncio.sleep(0.001 * (number % 12))
            got = await client.messages(200)
            assert [message["data"] for message in got] == list(range(200))
            assert [message["prev"] for message in got] == list(range(200))
            assert node.counters.feed_reconnects == node.counters.feed_gaps == 0
            await client.close()


async def test_a_broker_that_dies_while_the_node_pauses_is_noticed(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        for _ in range(5):
            await nats_server.publish(*(("A.b", b"1") for _ in range(3)))
            nats_server.kill()
            await until(lambda: not node.feed.connected)
            nats_server.start()
            await until(lambda: node.feed.connected)
        await nats_server.publish(("A.b", b"2"))
        got = [message["data"] for message in await data(client, 16)]
        assert got == [1] * 15 + [2]
        await client.close()
