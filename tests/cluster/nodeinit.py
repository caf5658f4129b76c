"""PID 1 of a node: ``python -m tests.cluster.nodeinit STATE BINARIES NAME``, inside the node's namespaces.

It lays the node's own /run and /var over the machine's, starts containerd, kubelet and kube-proxy, and
collects what dies. Its own end is the end of the node.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.addresses import NodePlan
from tests.cluster.places import Places, default_cache
from tests.cluster.shell import ClusterError, run

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


def mounts(folder: Path) -> None:
    """Make this mount namespace the node's own."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    for value in (folder / "sys").iterdir():
        target = Path("/proc/sys", value.name.replace("-", "/"))
        if target.exists():
            run("mount", "--bind", value, target)
    run("mount", "--bind", folder / "run", "/run")
    run("mount", "--bind", folder / "var", "/var")
    run("mount", "--make-rshared", "/")  # shared among this node's own mounts: kubelets need propagation


class Children:
    """The node's daemons."""

    def __init__(self, logs: Path, node: str) -> None:
        self.logs = logs
        self.node = node
        self.pids: dict[int, str] = {}

    def start(self, name: str, argv: list[str]) -> None:
        with (self.logs / f"{self.node}-{name}.log").open("ab") as log:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        self.pids[child.pid] = name

    def reap_until(self, stopping: list[int]) -> None:
        """Collect the dead (the pods' orphans too) until a signal arrives."""
        while not stopping:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid, status = 0, 0
            if pid in self.pids:
                print(f"{time.ctime()} {self.pids.pop(pid)} ended with status {status}", flush=True)
            if not pid:
                time.sleep(0.2)


def containerd_answers() -> bool:
    argv = ["ctr", "-a", CONTAINERD_SOCKET, "version"]
    return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def main(state: str, binaries: str, name: str) -> None:
    places, node = Places(Path(state), default_cache()), NodePlan.named(name)
    folder = places.node(name)
    mounts(folder)
    socket.sethostname(name)
    children = Children(places.logs, name)
    children.start("containerd", ["containerd", "-c", f"{folder}/containerd.toml"])
    end = time.monotonic() + 25
    while not containerd_answers():
        if time.monotonic() > end:
            raise ClusterError(f"containerd does not answer; see {places.logs}/{name}-containerd.log")
        time.sleep(0.05)
    run("ctr", "-a", CONTAINERD_SOCKET, "-n", "k8s.io", "images", "import", f"{state}/pause.tar")
    kubelet = [
        f"{binaries}/kubelet",
        f"--config={folder}/kubelet.json",
        f"--kubeconfig={places.pki}/{name}.kubeconfig",
        f"--hostname-override={name}",
        f"--node-ip={node.address}",
        "--root-dir=/var/lib/kubelet",
        "--cert-dir=/var/lib/kubelet/pki",
        "--v=2",
    ]
    children.start("kubelet", kubelet)
    children.start("kube-proxy", [f"{binaries}/kube-proxy", f"--config={folder}/kube-proxy.json"])
    (folder / "children.json").write_text(json.dumps({name: pid for pid, name in children.pids.items()}))
    (folder / "ready").touch()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    children.reap_until(stopping)


if __name__ == "__main__":
    main(*sys.argv[1:])
