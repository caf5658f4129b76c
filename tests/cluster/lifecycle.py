"""Up and down: in which order the cluster starts, when a running one is good enough, and how it ends."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tests.cluster import (
    addresses,
    archive,
    balancer,
    build,
    controlplane,
    network,
    node,
    pki,
    preflight,
    ruin,
)
from tests.cluster.addresses import BALANCER_LINK, BALANCER_NETNS, NodePlan, node_plans
from tests.cluster.images import Built
from tests.cluster.places import Places, Record
from tests.cluster.processes import Processes, Stat, living
from tests.cluster.shell import ClusterError, locked, run, say, timed, wait_until

SERVICES = (*controlplane.NAMES, *balancer.NAMES)
READY_SECONDS = 90


def up(places: Places, nodes: int = 1, proxy_mode: str = "nftables") -> bool:
    """Have a healthy cluster of at least ``nodes`` nodes; whether it was started now.

    Raises ClusterError with all reasons at once where this machine cannot have one.
    """
    with locked(places.cache / "cluster.lock"):
        found = preflight.problems(preflight.gather(places))
        if found:
            raise ClusterError(
                "the cluster cannot be started:\n" + "\n".join(f"  - {line}" for line in found)
            )
        if _reuse(places, nodes):
            return False
        left = ruin.traces(places).lines()
        if left:
            say(f"clearing what an earlier cluster left behind: {len(left)} traces ({left[0]} …)")
            if rest := ruin.clear(places).lines():
                raise ClusterError("these would not go: " + ", ".join(rest))
        preflight.install_packages()
        record = Record(build.build(places.cache), proxy_mode)
        _start(places, record, node_plans(nodes))
        return True


def _start(places: Places, record: Record, nodes: list[NodePlan]) -> None:
    places.claim()
    for folder in (places.pids, places.logs):
        folder.mkdir(parents=True)
    record.write(places)
    with timed("certificates and network made"):
        pki.create(places)
        _pack_pause(places, record.binaries)
        network.bridge_up(places.state)
        for plan in nodes:
            network.namespace_up(plan.netns, plan.link, plan.address)
        network.namespace_up(BALANCER_NETNS, BALANCER_LINK, addresses.BALANCER)
        network.routes(nodes)
    with timed("control plane started"):
        controlplane.start(places, record.binaries)
    with timed(f"{len(nodes)} node(s) Ready, Services and DNS answer"):
        for plan in nodes:
            node.start(places, record, plan)
        first = nodes[0].name
        wait_until(
            f"the Node {first} is registered", lambda: controlplane.api(places, f"/api/v1/nodes/{first}"), 30
        )
        balancer.start(places, record)
        _wait_ready(places, nodes)


def _pack_pause(places: Places, binaries: Path) -> None:
    """The container that holds a pod's namespaces, as an image."""
    root = places.state / "pause"
    root.mkdir()
    shutil.copy(binaries / "pause", root / "pause")
    image = archive.make_image(
        [archive.pack(root, places.state / "pause-layer.tar")], archive.Runtime(entrypoint=("/pause",))
    )
    with (places.state / "pause.tar").open("wb") as output:
        archive.write_archive(output, image, [node.PAUSE_IMAGE])


def _wait_ready(places: Places, nodes: Iterable[NodePlan], timeout_seconds: float = READY_SECONDS) -> None:
    hint = f"; the logs are in {places.logs}"
    nodes = list(nodes)
    for plan in nodes:
        wait_until(f"{plan.name} is Ready", partial(is_ready, places, plan.name), timeout_seconds, hint)
    for address in [addresses.BALANCER, *(plan.address for plan in nodes)]:
        health = partial(controlplane.get, address, balancer.PROXY_HEALTH_PORT, "/healthz")
        wait_until(f"kube-proxy at {address} is healthy", health, 60, hint)
    answers = partial(controlplane.get, addresses.DNS, balancer.DNS_READY_PORT, "/ready")
    wait_until("CoreDNS is ready", answers, 30, hint)
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    wait_until("the default service account is there", lambda: controlplane.api(places, account), 30, hint)


def is_ready(places: Places, name: str) -> bool:
    """Whether the API server calls the node Ready."""
    conditions = json.loads(controlplane.api(places, f"/api/v1/nodes/{name}"))["status"]["conditions"]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def healthy(places: Places) -> bool:
    """Whether all processes run and all nodes are Ready."""
    processes = Processes(places.state)
    expected = [*SERVICES, *(node.process_name(name) for name in places.node_names())]
    if not places.node_names() or not all(map(processes.alive, expected)):
        return False
    try:
        return all(is_ready(places, name) for name in places.node_names())
    except OSError:
        return False


def _reuse(places: Places, nodes: int) -> bool:
    """Take over a running cluster: start stopped nodes, plug cables, add what is missing to ``nodes``."""
    record, processes = Record.read(places), Processes(places.state)
    dead = [name for name in SERVICES if not processes.alive(name)]
    if record is None or len(dead) == len(SERVICES):
        return False
    if dead:
        say(f"the cluster in {places.state} is broken ({', '.join(dead)} ended)")
        return False
    if record.binaries != build.folder(places.cache):
        raise ClusterError(
            f"the running cluster was built from other pins ({record.binaries}): take it down first"
        )
    try:
        for name in places.node_names():
            plan = NodePlan.named(name)
            network.cable(plan, connected=True)
            if not processes.alive(node.process_name(name)):
                say(f"starting {name} again")
                node.start(places, record, plan)
            else:
                node.signal_kubelet(places, name, "-CONT")
        for plan in node_plans(nodes):
            if plan.name not in places.node_names():
                node.join(places, record, plan)
        _wait_ready(places, map(NodePlan.named, places.node_names()), 40)
    except ClusterError as error:
        say(f"the running cluster is not healthy: {error}")
        return False
    say(f"a healthy cluster of {len(places.node_names())} node(s) runs already")
    return True


def load(places: Places, built: Iterable[Built], names: Iterable[str] | None = None) -> None:
    """Bring images into the nodes: what a node has is not sent again, and of a new image only new layers."""
    for name in names or places.node_names():
        ctr = ["ctr", "-a", str(node.containerd_socket(places, name)), "-n", "k8s.io"]
        for one in built:
            start = time.monotonic()
            listed = [line.split() for line in run(*ctr, "images", "ls").splitlines()[1:]]
            present = {fields[0]: fields[2] for fields in listed}
            digest = one.image.manifest.digest
            if present.get(one.tag) == digest and present.get(one.pinned) == digest:
                continue
            has = set(run(*ctr, "content", "ls", "-q").split())
            _import(ctr, one, has)
            say(f"loaded {one.pinned} into {name} ({time.monotonic() - start:.1f} s)")


def _import(ctr: list[str], built: Built, has: set[str]) -> None:
    argv = [*ctr, "images", "import", "-"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT) as importer,
    ):
        assert importer.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it gave up, and its answer says why
            archive.write_archive(importer.stdin, built.image, [built.tag, built.pinned], leave_out=has)
            importer.stdin.close()
        if importer.wait():
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
            raise ClusterError(f"loading {built.pinned} failed:\n{words}")


def down(places: Places) -> list[str]:
    """End and remove everything; what was left over (nothing, if all is well).

    Raises ClusterError where that would harm what is not this cluster's.
    """
    if not places.ours():
        raise ClusterError(f"the state folder {places.state} is not a cluster's: nothing was done")
    if other := preflight.other_cluster(places):
        raise ClusterError(f"the cluster that runs has its state in {other}: nothing was done (--state)")
    with locked(places.cache / "cluster.lock"), timed("down"):
        return ruin.clear(places).lines()


def status(places: Places) -> list[str]:
    """A line for each recorded process: name, pid or "dead", resident memory."""
    processes = Processes(places.state)
    lines = []
    for name in processes.names():
        pid = processes.alive(name)
        pids = processes.members(name)
        if pid and name.startswith("node-"):
            pids = _in_namespace_of(node.init_pid(places, name.removeprefix("node-")))
        memory = sum(map(_resident_bytes, pids))
        lines.append(f"{name:20} {pid or 'dead':>8} {memory >> 20:6} MiB")
    return lines


def _in_namespace_of(pid: int | None) -> list[int]:
    def namespace(pid: int) -> str | None:
        try:
            return str(Path(f"/proc/{pid}/ns/pid").readlink())
        except OSError:
            return None

    wanted = namespace(pid) if pid else None
    return [other for other in living() if wanted and namespace(other) == wanted]


def _resident_bytes(pid: int) -> int:
    if Stat.of(pid) is None:
        return 0
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))
