"""A cluster of three real nats-servers with JetStream, each of which may be killed, stopped or restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import nats
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from tests.support.nats import START_SECONDS, STREAM, SUBJECTS, server_binary

SERVERS = 3


def _free_ports(count: int) -> list[int]:
    """Ports that are free now: routes have to be known before anything runs."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class NatsCluster:
    """Three servers that know each other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ports = _free_ports(SERVERS)
        self._routes = _free_ports(SERVERS)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Where all of them listen."""
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def start(self) -> Self:
        """Starts all; `ready` waits until they have elected who leads."""
        for index in range(SERVERS):
            self.start_one(index)
        return self

    def start_one(self, index: int) -> None:
        """Starts one server, on its own files."""
        directory = self._directory / f"s{index}"
        directory.mkdir(exist_ok=True)
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes)
        config = directory / "server.conf"
        config.write_text(
            f'server_name: s{index}\nhost: "127.0.0.1"\nport: {self.ports[index]}\n'
            f'jetstream {{ store_dir: "{directory / "store"}" }}\n'
            f'lame_duck_duration: "30s"\nlame_duck_grace_period: "200ms"\n'  # the shortest it allows
            f'cluster {{ name: c, listen: "127.0.0.1:{self._routes[index]}", routes: [{routes}] }}\n'
        )
        with (directory / "log").open("ab") as log:
            self._processes[index] = subprocess.Popen(
                [server_binary(), "-c", str(config)], stdout=log, stderr=log
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.ports[index]), timeout=1).close()
                return
            time.sleep(0.02)
        raise AssertionError((directory / "log").read_text()[-2000:])

    def kill_one(self, index: int) -> None:
        """Ends one without warning."""
        self._processes[index].kill()
        self._processes.pop(index).wait(20)

    async def stop_one(self, index: int, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends one in order. SIGUSR2 is its lame-duck mode: it sends its clients away bit by bit first."""
        self._processes[index].send_signal(number)
        await asyncio.to_thread(self._processes.pop(index).wait, 45)

    def stop(self) -> None:
        """Ends all."""
        for index in list(self._processes):
            self.kill_one(index)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connection for the test's own use, to whichever answers."""
        client = await nats.connect(
            self.url.split(","), connect_timeout=2, max_reconnect_attempts=-1, reconnect_time_wait=0.1
        )
        try:
            yield client
        finally:
            await client.close()

    async def ready(self) -> None:
        """Waits until a stream of three copies can be made, and makes it."""
        wanted = StreamConfig(
            name=STREAM,
            subjects=[SUBJECTS],
            num_replicas=SERVERS,
            storage=StorageType.FILE,
            max_age=300.0,
            max_msgs=100_000,
            max_bytes=52_428_800,
            duplicate_window=60.0,
        )
        end = time.monotonic() + 60
        async with self.client() as client:
            while True:
                try:
                    await client.jetstream(timeout=2).add_stream(wanted)
                    return
                except Exception as error:  # no leader yet is said in many ways
                    if time.monotonic() > end:
                        raise AssertionError("no stream of three copies") from error
                    await asyncio.sleep(0.2)

    async def leader(self) -> int:
        """Which server leads the stream."""
        async with self.client() as client:
            answer = await client.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=5)
            return int(json.loads(answer.data)["cluster"]["leader"].removeprefix("s"))

    async def step_down(self, what: str) -> None:
        """Another leads: `STREAM.LEADER.STEPDOWN.<stream>` or `META.LEADER.STEPDOWN`."""
        async with self.client() as client:
            with contextlib.suppress(Exception):  # the answer may be lost with the leader
                await client.request(f"$JS.API.{what}", b"", timeout=3)
