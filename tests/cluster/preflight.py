"""What must hold before anything is started, told all at once: facts are gathered here, and judged purely."""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import addresses, build, network
from tests.cluster.addresses import API_PORT, ETCD_PEER_PORT, ETCD_PORT
from tests.cluster.places import Places
from tests.cluster.processes import Processes, living
from tests.cluster.shell import run, say, timed

GIB = 1 << 30
BUILD_BYTES = 8 * GIB
"""Go's module and build caches while Kubernetes is compiled (measured: 7 GB), and the programs."""
RUN_BYTES = 2 * GIB
"""Images, etcd and logs of a cluster whose programs are built."""
DYING_SECONDS = 5.0
CONTROLLER_MANAGER_PORT, SCHEDULER_PORT = 10257, 10259
"""Where these two serve their health, by default."""
PORTS = (API_PORT, ETCD_PORT, ETCD_PEER_PORT, CONTROLLER_MANAGER_PORT, SCHEDULER_PORT)
TOOLS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "openssl": "openssl",
    "ip": "iproute2",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nsenter": "util-linux",
    "mount": "mount",
}
"""A command (or file), and the Debian package that has it."""


@dataclass(frozen=True)
class Facts:
    """This machine, as far as it matters."""

    root: bool = True
    system: str = "debian 12"
    architecture: str = "x86_64"
    ports: Mapping[int, str] = field(default_factory=dict)
    """Taken ports and who has them; those of the cluster's own processes do not count."""
    free_bytes: Mapping[str, int] = field(default_factory=dict)
    """A folder, and what is free in its file system."""
    needed_bytes: Mapping[str, int] = field(default_factory=dict)
    foreign_ranges: Sequence[str] = ()
    """Addresses and routes of others within the cluster's range."""
    other_cluster: str | None = None
    """The state folder of another cluster of ours that runs."""
    unknown_bridge: bool = False
    missing_packages: Sequence[str] = ()
    apt: bool = True
    places_problem: str | None = None


def problems(facts: Facts, builds_images: bool = True) -> list[str]:
    """Each reason why the cluster cannot be started, in one line that says what to do."""
    found = []
    if not facts.root:
        found.append(
            "the local cluster needs root (for namespaces and mounts): run as root, or use CLUSTER=current"
        )
    if builds_images:
        found += images_problems(facts.system, facts.architecture)
    if facts.places_problem:
        found.append(facts.places_problem)
    found += [f"port {port} is taken by {who}: end it first" for port, who in sorted(facts.ports.items())]
    for folder, needed in facts.needed_bytes.items():
        free = facts.free_bytes.get(folder, 0)
        if free < needed:
            found.append(
                f"{folder}: {free / GIB:.1f} GB free on its disk, and about {needed / GIB:.0f} GB are needed"
            )
    found += [
        f"{foreign} lies in {addresses.RANGE}, which the cluster uses" for foreign in facts.foreign_ranges
    ]
    if facts.other_cluster:
        found.append(
            f"another cluster runs in {facts.other_cluster}: end it with "
            f"`python -m tests.cluster down --state {facts.other_cluster}`"
        )
    if facts.unknown_bridge:
        found.append(f"a link {addresses.BRIDGE} is there that is not this project's: rename or remove it")
    if facts.missing_packages and not facts.apt:
        found.append(f"missing, and there is no apt-get to install them: {' '.join(facts.missing_packages)}")
    return found


def images_problems(system: str, architecture: str) -> list[str]:
    """Why no images can be built on such a machine."""
    if (system, architecture) == ("debian 12", "x86_64"):
        return []
    return [
        "images are built from Debian 12 packages for amd64, "
        f"and this machine is {system} on {architecture}: use the Dockerfile with a container engine"
    ]


def own_system() -> tuple[str, str]:
    """This machine's distribution with its version, and its architecture."""
    return _system(), platform.machine()


def gather(places: Places) -> Facts:
    """Look at this machine; changes nothing."""
    building = bool(build.missing(places.cache))
    needed = {str(places.cache): BUILD_BYTES if building else RUN_BYTES}
    if _device(places.state) != _device(places.cache):
        needed[str(places.state)] = RUN_BYTES
    other = other_cluster(places)
    return Facts(
        root=os.geteuid() == 0,
        system=_system(),
        architecture=platform.machine(),
        ports=taken_ports(places),
        free_bytes={folder: shutil.disk_usage(_existing(Path(folder))).free for folder in needed},
        needed_bytes=needed,
        foreign_ranges=[] if network.links() else foreign_ranges(),
        other_cluster=str(other) if other else None,
        unknown_bridge=network.bridge_owner() is None and addresses.BRIDGE in network.links(),
        missing_packages=missing_packages(),
        apt=shutil.which("apt-get") is not None,
        places_problem=places.problem(),
    )


def other_cluster(places: Places) -> Path | None:
    """The state folder of another cluster of ours that runs."""
    owner = network.bridge_owner()
    return owner if owner and owner != places.state and _runs(owner) else None


def missing_packages() -> list[str]:
    """The Debian packages whose tools are not here."""
    absent = [
        package for tool, package in TOOLS.items() if not shutil.which(tool) and not Path(tool).is_absolute()
    ]
    absent += [
        package for tool, package in TOOLS.items() if Path(tool).is_absolute() and not Path(tool).exists()
    ]
    return sorted(set(absent))


def install_packages() -> None:
    """Install what is missing with apt-get."""
    missing = missing_packages()
    if missing:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        with timed("installed"):
            say(f"apt-get install {' '.join(missing)}")
            run("apt-get", "update", "-qq", env=quiet)
            run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=quiet)


def foreign_ranges() -> list[str]:
    """Addresses and routes within the cluster's range, on a machine without a cluster."""
    if not shutil.which("ip"):
        return []
    found = []
    for link in json.loads(run("ip", "-j", "-4", "addr", "show")):
        for address in link.get("addr_info", []):
            if _within(f"{address['local']}/{address['prefixlen']}"):
                found.append(f"the address {address['local']} of {link['ifname']}")
    for route in json.loads(run("ip", "-j", "-4", "route", "show")):
        if _within(route["dst"]) and route.get("type") != "unreachable":
            found.append(f"the route to {route['dst']} by {route.get('dev', 'a gateway')}")
    return found


def _within(text: str) -> bool:
    try:
        return ipaddress.IPv4Network(text, strict=False).subnet_of(ipaddress.IPv4Network(addresses.RANGE))
    except ValueError:  # "default"
        return False


def taken_ports(places: Places) -> dict[int, str]:
    """Which of the cluster's ports a program that is no cluster of ours listens on, and its name."""
    end = time.monotonic() + DYING_SECONDS
    while taken := [port for port in PORTS if not _free(port)]:
        # A process that was just killed holds its ports for a moment, and shows no descriptors any more.
        if os.geteuid() or all(map(_holder, taken)) or time.monotonic() > end:
            break
        time.sleep(0.1)
    known = [Processes(state) for state in {places.state, network.bridge_owner() or places.state}]
    own = {pid for processes in known for name in processes.names() for pid in processes.members(name)}
    holders = {port: _holder(port) for port in taken}
    return {port: _describe(pid) for port, pid in holders.items() if pid not in own}


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _holder(port: int) -> int | None:
    """The pid of the listener on ``port`` (proc_pid_net(5): state 0A is LISTEN, field 10 the inode)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rsplit(":", 1)[1], 16) == port and fields[3] == "0A":
                inodes.add(f"socket:[{fields[9]}]")
    for pid in living():
        try:
            descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                if str(descriptor.readlink()) in inodes:
                    return pid
            except OSError:
                continue
    return None


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another program"
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"


def _system() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system().lower()
    return f"{release.get('ID', '?')} {release.get('VERSION_ID', '?')}"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _device(path: Path) -> int:
    return _existing(path).stat().st_dev


def _runs(state: Path) -> bool:
    processes = Processes(state)
    return any(processes.alive(name) for name in processes.names())
