"""SIGTERM and SIGINT heeded before the node is there to heed them.

As PID 1 of a container a process has no default action for SIGTERM: the kernel drops it, and the
kubelet would wait out the whole grace period. So the command line installs this handler before it
imports anything large; the running node replaces it with its own (`loop.add_signal_handler`),
which drains. Until then nothing is served yet, and to leave at once is right.

Only `os` and `signal` are imported here, on purpose.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

_cleanups: list[Callable[[], None]] = []


def install() -> None:
    """From now on they end the process with code 0, after the cleanups. Main thread only."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)


def release() -> None:
    """Gives them their usual actions back: for commands that are no servers."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def add_cleanup(cleanup: Callable[[], None]) -> None:
    """Adds what must be undone when one comes during the start; it has to be quick and safe to repeat."""
    _cleanups.append(cleanup)


def _leave(number: int, frame: FrameType | None) -> None:
    # A second one must not run a cleanup inside a cleanup.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for cleanup in reversed(_cleanups):
        try:
            cleanup()
        except Exception as error:
            os.write(2, f"while stopping: {error}\n".encode())
    # Not SystemExit: an import that is under way could swallow it, and there is nothing to unwind.
    os._exit(0)
