"""`python -m tests.bench.tls`: memory and CPU under TLS, beside plain and beside the `websockets` library.

The server has the first core, clients, broker and publisher the second. Apart from `tests.bench`: its
clients speak no TLS; here the node's own load client is used, and CPU is the server process's alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import Child, cpu_seconds, free_port, pinned, resident_bytes
from tests.support.nats import NatsServer
from tests.support.tls import Files, make_files
from wsnode.load import LoadClient
from wsnode.load_options import LoadOptions

TARGET_KB = 30.0
_PEER = Path(__file__).parent / "peers" / "websockets_server.py"
_PAYLOAD = b'{"text":"' + b"x" * 300 + b'"}'
_START_SECONDS = 60.0
_WARM_UP = 200
"""Connections before the first look at memory: what a process needs once is not theirs."""


@dataclass(frozen=True)
class _Server:
    title: str
    scheme: str
    own: bool


_SERVERS = (
    _Server("wsnode, plain", "ws", own=True),
    _Server("wsnode, TLS", "wss", own=True),
    _Server("websockets, TLS", "wss", own=False),
)


def main() -> int:
    """Prints a line a server."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tls", description=__doc__)
    parser.add_argument("-c", "--connections", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=4.0, help="messages a second to each")
    parser.add_argument("--seconds", type=float, default=8.0, help="window")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    server_cores, others = cores[:1], cores[-1:]
    print(f"{'':<18}{'idle KB each':>14}{'loaded KB':>11}{'us a delivery':>15}{'ms a handshake':>16}")
    with tempfile.TemporaryDirectory() as name, pinned(others):
        directory = Path(name)
        nats = NatsServer(directory).start()
        try:
            files = make_files(directory)
            for server in _SERVERS:
                with _running(server, files, nats, directory, server_cores) as (pid, url):
                    _measure(server, pid, url, nats, options)
        finally:
            nats.kill()
    print(f"target under TLS: at most {TARGET_KB:g} KB a connection idle")
    return 0


@contextlib.contextmanager
def _running(
    server: _Server, files: Files, nats: NatsServer, directory: Path, cores: list[int]
) -> Iterator[tuple[int, str]]:
    port = free_port()
    env = {
        "WS_ADDR": f"127.0.0.1:{port}",
        "WS_ADMIN_ADDR": "127.0.0.1:0",
        "NATS_URL": nats.url,
        "WS_PROCESSES": "1",
        "WS_CPU_LIMIT": "100",
        "WS_POSITION_INTERVAL": "300",
        "LOG_LEVEL": "error",
    }
    if server.scheme == "wss":
        env |= {"WS_TLS_CERT_FILE": str(files.cert), "WS_TLS_KEY_FILE": str(files.key)}
    own = [sys.executable, "-m", "wsnode", "serve"]
    peer = [sys.executable, str(_PEER), str(port), str(nats.port), str(files.cert), str(files.key)]
    child = Child(own if server.own else peer, cores, directory / "server.log", env=env)
    try:
        _wait_for(port)
        yield child.pid, f"{server.scheme}://127.0.0.1:{port}/ws"
    finally:
        child.process.kill()
        child.process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _measure(server: _Server, pid: int, url: str, nats: NatsServer, options: argparse.Namespace) -> None:
    wanted = options.connections
    load = LoadClient(
        LoadOptions(
            url, _WARM_UP, 2000, insecure=server.scheme == "wss", silence=0, open_timeout=30, retry_longest=1
        )
    )
    load.start()
    try:
        load.wait_for(lambda shot: shot.subscribed == _WARM_UP, 60)
        time.sleep(1)
        before, spent = resident_bytes(pid), cpu_seconds(pid)
        load.ramp(wanted)
        load.wait_for(lambda shot: shot.subscribed == wanted, 120)
        connecting = cpu_seconds(pid) - spent
        time.sleep(2)
        idle = (resident_bytes(pid) - before) / 1024 / (wanted - _WARM_UP)
        asyncio.run(_publish(nats, options.rate, 2.0))
        spent, had = cpu_seconds(pid), load.snapshot().deliveries
        asyncio.run(_publish(nats, options.rate, options.seconds))
        time.sleep(0.5)
        deliveries = load.snapshot().deliveries - had
        cost = 1e6 * (cpu_seconds(pid) - spent) / deliveries
        loaded = (resident_bytes(pid) - before) / 1024 / (wanted - _WARM_UP)
        handshake = 1e3 * connecting / (wanted - _WARM_UP)
        print(f"{server.title:<18}{idle:>14.2f}{loaded:>11.2f}{cost:>15.2f}{handshake:>16.3f}", flush=True)
    finally:
        load.stop()


async def _publish(nats: NatsServer, rate: float, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await nats.publish(("BTC.trade", _PAYLOAD))
        await asyncio.sleep(1 / rate)


if __name__ == "__main__":
    sys.exit(main())
