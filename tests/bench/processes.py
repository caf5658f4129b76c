"""Processes of the benchmark: pinned to a core, measured from /proc, ended by id."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")
_ANSWER_SECONDS = 90.0
_END_SECONDS = 5.0


class BenchError(Exception):
    """A run that cannot go on, in words for the user."""


@contextlib.contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """What is started inside inherits the cores, all threads of it from their first instruction."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    """The process and all that descend from it. Raises BenchError when it is gone."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error as error:
        raise BenchError(f"process {pid} ended") from error


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of the process. Raises BenchError when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise BenchError(f"process {pid} ended") from error
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """The process's resident set, without the kernel's socket memory. Raises BenchError."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError as error:
        raise BenchError(f"process {pid} ended") from error


def core_busy_seconds(core: int) -> float:
    """Time that the core spent on anything since boot."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            # user nice system idle iowait irq softirq steal
            times = [int(value) for value in values[:8]]
            return (sum(times) - times[3] - times[4]) / _TICKS
    return 0.0


class Child:
    """A process of ours with its output in a file; gone at the end of the `with` block."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        cores: Collection[int],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        commanded: bool = False,
    ) -> None:
        self._log = log
        pipe = subprocess.PIPE if commanded else None
        with pinned(cores), log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in argv],
                env={**os.environ, **(env or {})},
                stdin=pipe if commanded else subprocess.DEVNULL,
                stdout=pipe if commanded else output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """One command and its answer, as JSON lines. Raises BenchError."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(request, separators=(",", ":")).encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise BenchError(self.complaint()) from error
        ready, _, _ = select.select([stdout], [], [], _ANSWER_SECONDS)
        line = stdout.readline() if ready else b""
        if not line:
            raise BenchError(self.complaint() if ready else f"no answer to {request['verb']}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def wait_for_port(self, port: int, timeout_seconds: float = 30.0) -> None:
        """Until it takes connections there. Raises BenchError."""
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.05)
        raise BenchError(self.complaint())

    def complaint(self) -> str:
        """What is known of its end."""
        tail = " / ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])
        code = self.process.poll()
        state = f"ended with {code}" if code is not None else "does not answer"
        return f"{Path(str(self.process.args[0])).name} {state}: {tail or 'no output'}"  # type: ignore[index]

    def end(self) -> None:
        """Ends it, kindly at first."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def python_module(name: str) -> list[str]:
    """The command line of a module of this repository."""
    return [sys.executable, "-m", name]
