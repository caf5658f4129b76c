"""The machine that figures were measured on, and the versions of what was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path


def machine() -> dict[str, str]:
    """CPU, cores, memory, kernel, Python; the load of others when the run began."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "uvloop": version("uvloop"),
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def named(facts: Mapping[str, str]) -> str:
    """One line for people."""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory']}, {facts['kernel']}, "
        f"{facts['python']}, uvloop {facts['uvloop']}"
    )


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
