"""The cluster's control groups: kubelets keep their pods below /wsfleet/<node>.

Both layouts are known: one hierarchy a controller (version 1), and the unified one (version 2).
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tests.cluster.addresses import CGROUP

ROOT = Path("/sys/fs/cgroup")
V1_HIERARCHIES = (
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "systemd",
    "hugetlb",
)


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The mounted hierarchies: the root itself under version 2."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return [root / name for name in (*V1_HIERARCHIES, "unified") if (root / name).is_dir()]


def create(path: str) -> None:
    """Make the group ``path`` (such as ``wsfleet/n1``) in every hierarchy of version 1."""
    for base in hierarchies():
        if base.name == "unified":
            continue
        folder = base
        for part in path.split("/"):
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            if base.name == "cpuset":  # a new cpuset is empty and takes no process until it is filled
                for key in ("cpuset.cpus", "cpuset.mems"):
                    (folder / key).write_text((parent / key).read_text().strip())


def leftovers() -> list[str]:
    """The cluster's groups that exist."""
    return [str(base / CGROUP) for base in hierarchies() if (base / CGROUP).is_dir()]


def remove(path: str, timeout_seconds: float = 10) -> None:
    """Remove the group and all below it; it is busy until its last process is gone, so try for a while."""
    end = time.monotonic() + timeout_seconds
    for top in (base / path for base in hierarchies()):
        while top.is_dir() and time.monotonic() < end:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if top.is_dir():
                time.sleep(0.1)
