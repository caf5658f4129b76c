"""What a cluster that was killed leaves behind, how to find it, and how to clear it.

Names alone tell what is ours: links, network namespaces, control groups, mounts and records outlive their
processes (SIGKILL runs no clean-up), and the state folder may be gone as well.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups, network, node
from tests.cluster.addresses import CGROUP
from tests.cluster.balancer import NAMES as BALANCER_PROCESSES
from tests.cluster.controlplane import NAMES as CONTROL_PLANE_PROCESSES
from tests.cluster.places import Places
from tests.cluster.processes import Processes
from tests.cluster.shell import run


@dataclass(frozen=True)
class Traces:
    """Everything on the machine that a cluster makes. Whether it is in use is not told here."""

    records: Sequence[str] = ()
    mounts: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    links: Sequence[str] = ()
    routes: Sequence[str] = ()
    cgroups: Sequence[str] = ()
    state: Sequence[str] = ()

    def lines(self) -> list[str]:
        """One line each, such as ``link vwsf-n1``; empty where a clean machine is."""
        kinds = (
            ("process record", self.records),
            ("mount", self.mounts),
            ("network namespace", self.namespaces),
            ("link", self.links),
            ("route", self.routes),
            ("control group", self.cgroups),
            ("state folder", self.state),
        )
        return [f"{kind} {name}" for kind, names in kinds for name in names]


def mounts_below(folder: Path, mounts: str) -> list[str]:
    """The mount points at or below ``folder`` in a text like /proc/self/mounts, the innermost first."""
    points = [line.split()[1].replace("\\040", " ") for line in mounts.splitlines() if line.strip()]
    ours = [point for point in points if point == str(folder) or point.startswith(f"{folder}/")]
    return sorted(ours, key=lambda point: (-point.count("/"), point))


def traces(places: Places) -> Traces:
    """What is there now."""
    return Traces(
        records=Processes(places.state).names(),
        mounts=mounts_below(places.state, Path("/proc/self/mounts").read_text()),
        namespaces=network.namespaces(),
        links=network.links(),
        routes=network.routes_left(),
        cgroups=cgroups.leftovers(),
        state=[str(places.state)] if places.state.exists() and places.ours() else [],
    )


def clear(places: Places) -> Traces:
    """End what is recorded and remove every trace; what withstood. Only recorded processes are ended.

    A folder that is not a cluster's stays as it is.
    """
    processes = Processes(places.state)
    for name in places.node_names():
        node.stop(places, name)
    for name in (*BALANCER_PROCESSES, *reversed(CONTROL_PLANE_PROCESSES)):
        processes.stop(name)
    for name in processes.names():
        processes.stop(name, signal.SIGKILL)
    for point in mounts_below(places.state, Path("/proc/self/mounts").read_text()):
        run("umount", "--lazy", point, check=False)
    network.remove_all()
    cgroups.remove(CGROUP)
    if places.ours() and not mounts_below(places.state, Path("/proc/self/mounts").read_text()):
        shutil.rmtree(places.state, ignore_errors=True)
    return traces(places)
