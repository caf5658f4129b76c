"""Commands, waiting and talking to the user: what all other modules need."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STARTED = time.monotonic()


class ClusterError(Exception):
    """Something that the user must hear about, in words for the user."""


def say(message: str) -> None:
    """Print a line with the seconds since the start of the program."""
    print(f"[{time.monotonic() - STARTED:6.1f}s] {message}", flush=True)


def run(
    *argv: str | Path,
    check: bool = True,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command to its end; its output (both streams).

    Raises ClusterError with the command and its output when it fails and ``check`` is set.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **env} if env else None,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]}: no such command") from error
    if check and done.returncode:
        raise ClusterError(f"{' '.join(words)} failed ({done.returncode}):\n{done.stdout.strip()}")
    return done.stdout


def wait_until(what: str, predicate: Callable[[], object], timeout_seconds: float, hint: str = "") -> None:
    """Ask ``predicate`` ten times a second until it holds; an exception counts as "not yet".

    Raises ClusterError that names ``what`` and the last exception after ``timeout_seconds``.
    """
    end = time.monotonic() + timeout_seconds
    last: Exception | None = None
    while time.monotonic() < end:
        try:
            if predicate():
                return
        except Exception as error:  # not there yet, whatever the reason; the last one is told
            last = error
        time.sleep(0.1)
    raise ClusterError(f"{what}: not within {timeout_seconds:.0f} s{f' ({last})' if last else ''}{hint}")


@contextmanager
def timed(message: str) -> Iterator[None]:
    """Say how long the block took, when it ends well."""
    start = time.monotonic()
    yield
    say(f"{message} ({time.monotonic() - start:.1f} s)")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` as a lock; says so when another program has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another program that holds {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
