"""`python -m wsnode ...` as a process of its own, with its output read line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A node of a test: one process, any port, a broker of its own on any port, no wait before a drain.
SERVE = {
    "WS_ADDR": "127.0.0.1:0",
    "WS_ADMIN_ADDR": "127.0.0.1:0",
    "NATS_URL": "nats://127.0.0.1:0",
    "WS_DRAIN_DELAY": "0",
    "WS_PROCESSES": "1",
}
START_SECONDS = 60.0


def clean_environ(**settings: str) -> dict[str, str]:
    """This environment without settings of a node, and with these."""
    ours = ("WS_", "JS_", "LOG_", "NATS_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | settings


def run(*arguments: str, stdin: bytes = b"", **settings: str) -> subprocess.CompletedProcess[bytes]:
    """A command that ends by itself."""
    command = [sys.executable, "-m", "wsnode", *arguments]
    return subprocess.run(
        command, input=stdin, env=clean_environ(**settings), capture_output=True, timeout=120, check=False
    )


class NodeProcess:
    """A running `wsnode serve`; its log goes to a file."""

    def __init__(self, directory: Path, *arguments: str, **settings: str) -> None:
        self.log_path = directory / f"node-{time.monotonic_ns()}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wsnode", "serve", *arguments],
                env=clean_environ(**{"TMPDIR": str(directory), **settings}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def logged(self, message: str, timeout_seconds: float = START_SECONDS) -> dict[str, Any]:
        """Waits for a JSON log line with this message and returns it."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for line in self.log.splitlines():
                entry = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
                if entry.get("message") == message:
                    found: dict[str, Any] = entry
                    return found
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.log}")
            time.sleep(0.05)
        raise AssertionError(f"not logged: {message}\n{self.log}")

    def stop(self) -> None:
        """Kills it if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def node(directory: Path, *arguments: str, **settings: str) -> Iterator[NodeProcess]:
    """A `wsnode serve` that is gone afterwards."""
    running = NodeProcess(directory, *arguments, **settings)
    try:
        yield running
    finally:
        running.stop()
