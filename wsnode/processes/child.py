"""A worker as the parent has it: a process, a line to it, and what it said last."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsnode.processes.line import Line
from wsnode.processes.messages import Accepting, Report

_LOOK_AGAIN_SECONDS = 0.01


class Child:
    """One worker, from its start to its end. It has to be made inside the running loop.

    Args:
        heard: called with what it says, but for what is kept here.
        ended: called once it is gone and its number is free again, with how it ended and what it used.

    Attributes:
        row: its place, from 1 on.
        pid: its number.
        line: to it.
        accepting: it takes clients.
        report: what it said last of itself.
        started: when, by the monotonic clock.
        beats, silent: what it last showed of its loop's turning, and for how many looks it has not changed.
    """

    def __init__(
        self,
        row: int,
        table_fd: int,
        heard: Callable[[Child, Any], None],
        ended: Callable[[Child, str, float], None],
    ) -> None:
        """Starts the process.

        Raises:
            OSError: it can't be started.
        """
        self.row = row
        self.line = Line(self._heard, self._hung_up)
        self.accepting = False
        self.report: Report | None = None
        self.started = time.monotonic()
        self.beats = self.silent = 0
        self._on_heard, self._on_ended = heard, ended
        self._loop = asyncio.get_running_loop()
        self._end, theirs = socket.socketpair()
        with theirs:
            arguments = [str(number) for number in (os.getpid(), row, theirs.fileno(), table_fd)]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *_module_option(), "wsnode.processes.worker", *arguments],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), table_fd),
                    # Out of the terminal's group: Ctrl-C is for the parent, which lets clients go first.
                    start_new_session=True,
                )
            except OSError:
                self._end.close()
                raise
        self.pid = self._process.pid

    async def connect(self) -> None:
        """Opens the line; what is said before that is lost."""
        await self.line.open(self._end)

    def kill(self) -> None:
        """Ends it at once."""
        if self._process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def _heard(self, said: Any) -> None:
        if isinstance(said, Report):
            self.report = said
        elif isinstance(said, Accepting):
            self.accepting = True
        self._on_heard(self, said)

    def _hung_up(self) -> None:
        """The kernel closes a process's descriptors a moment before its number can be waited for.

        (uvloop keeps SIGCHLD for itself, and pidfd_open(2) is not there everywhere.)
        """
        self._reap()

    def _reap(self) -> None:
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            self._loop.call_later(_LOOK_AGAIN_SECONDS, self._reap)
            return
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._on_ended(self, _how(self._process.returncode), _cpu_seconds(usage))


def _module_option() -> list[str]:
    """How Python is told to run a module, found as this process found it.

    `-m` would look into the working directory first: right where this process did so too, else a trap.
    """
    here = {"", str(Path.cwd())}
    return ["-m"] if here & set(sys.path) else ["-P", "-m"]


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _cpu_seconds(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime
