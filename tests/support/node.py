"""A node for tests: in the test's own loop, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from wsnode.config import Settings
from wsnode.node import Node

WAIT_SECONDS = 20.0


def node_settings(nats_url: str, **changes: Any) -> Settings:
    """Settings of a node on free ports of loopback."""
    values: dict[str, Any] = {
        "nats_url": nats_url,
        "addr": "127.0.0.1:0",
        "admin_addr": "127.0.0.1:0",
        "node_name": "node-a",
        "drain_delay": 0.2,
        # Tests share a small machine with each other; what is under test there is not the CPU limit.
        "cpu_reject_threshold": 94,
        "cpu_pause_threshold": 99,
        "cpu_limit": 100,
        "memory_limit": 2**36,
    }
    return Settings(**values | changes)


async def until(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Waits for a condition, and fails with its source when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds} s: line {condition.__code__.co_firstlineno}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_node(settings: Settings, *, ready: bool = True) -> AsyncIterator[Node]:
    """A node in this loop, seeded unless told otherwise."""
    node = Node(settings)
    node.open()
    node.feed_reader.start()
    try:
        if ready:
            await until(lambda: node.ready)
        yield node
    finally:
        async with asyncio.timeout(WAIT_SECONDS):
            await node.feed_reader.stop()
        node.close_port()
        node.close()


class NodeProcess:
    """`wsnode serve` as a process of its own."""

    def __init__(self, settings: Settings, **environ: str) -> None:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}
        one = {"WS_CPU_LIMIT": "100", "WS_PROCESSES": "1", "LOG_FORMAT": "json"}
        variables |= settings.to_env() | one | environ
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wsnode", "serve"],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self, seconds: float = WAIT_SECONDS) -> tuple[int, str]:
        """Waits for the end; exit code and all that was printed."""
        output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, output

    def kill(self) -> None:
        """Makes sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
