"""A node: its namespaces, its configuration, and what can happen to it (stop, power cut, cut cable, hang)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.cluster import balancer, cgroups, network
from tests.cluster.addresses import DNS, NodePlan
from tests.cluster.places import REPOSITORY, Places, Record
from tests.cluster.processes import Processes
from tests.cluster.shell import ClusterError, run, wait_until

PAUSE_IMAGE = "wsfleet.local/pause:1"
NODE_SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""Machine-wide values that a kubelet insists on: in a node, files over them keep the machine's own."""
CONTAINERD = """\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"""
FAULTS = ("start", "stop", "kill", "cut", "mend", "freeze", "thaw", "join", "leave")


def process_name(name: str) -> str:
    return f"node-{name}"


def containerd_socket(places: Places, name: str) -> Path:
    """The node's containerd, as seen from the machine."""
    return places.node(name) / "run/containerd/containerd.sock"


def init_pid(places: Places, name: str) -> int | None:
    """The node's PID 1 as the machine counts it: the child of the recorded `unshare`."""
    parent = Processes(places.state).alive(process_name(name))
    if parent is None:
        return None
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0]) if children else None


def kubelet_configuration(places: Places, node: NodePlan) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{places.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        # There is no registry to fetch an image again from, so none is ever collected.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 15,
        "syncFrequency": "10s",
        "volumePluginDir": "/var/lib/kubelet/plugins-exec",
        "shutdownGracePeriod": "0s",
        "registryPullQPS": 0,
        "maxPods": 110,
    }


def pod_network(node: NodePlan) -> dict[str, object]:
    """The CNI configuration: one bridge a node, addresses from its range, no masquerading."""
    ranges = [[{"subnet": node.pod_range}]]
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "wsfleet", "plugins": [bridge, portmap]}


def start(places: Places, record: Record, node: NodePlan) -> None:
    """Write the node's configuration and start it; returns when its containerd answers."""
    folder = places.node(node.name)
    shutil.rmtree(folder / "run", ignore_errors=True)
    for below in ("run/netns", "var/lib", "var/log", "var/tmp", "sys", "cni"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    if not (folder / "var/run").is_symlink():
        (folder / "var/run").symlink_to("/run")
    (folder / "ready").unlink(missing_ok=True)
    cgroups.create(node.cgroup)
    for name, value in NODE_SYSCTLS.items():
        (folder / "sys" / name.replace("/", "-")).write_text(f"{value}\n")
    (folder / "containerd.toml").write_text(CONTAINERD.format(pause=PAUSE_IMAGE, cni=folder / "cni"))
    (folder / "cni/10-wsfleet.conflist").write_text(json.dumps(pod_network(node)))
    (folder / "kubelet.json").write_text(json.dumps(kubelet_configuration(places, node), indent=1))
    proxy = folder / "kube-proxy.json"
    balancer.write_proxy_configuration(proxy, places, record.proxy_mode, node.name, node.address)
    # When the namespace's PID 1 ends, the kernel ends all its processes and drops all its mounts.
    unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL"]
    init = [
        sys.executable,
        "-m",
        "tests.cluster.nodeinit",
        str(places.state),
        str(record.binaries),
        node.name,
    ]
    env = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    Processes(places.state).spawn(process_name(node.name), unshare + init, netns=node.netns, env=env)
    hint = f"; see {places.logs}/{process_name(node.name)}.log"
    wait_until(f"containerd of {node.name} answers", (folder / "ready").exists, 30, hint)


def stop(places: Places, name: str, sig: signal.Signals = signal.SIGTERM) -> None:
    """End the node by its PID 1: orderly, or (SIGKILL) as a power cut would."""
    processes = Processes(places.state)
    if pid := init_pid(places, name):
        os.kill(pid, sig)
    end = time.monotonic() + 15
    while processes.alive(process_name(name)) and time.monotonic() < end:
        time.sleep(0.03)
    processes.stop(process_name(name), signal.SIGKILL)


def join(places: Places, record: Record, node: NodePlan) -> None:
    """Add a node to a running cluster."""
    network.namespace_up(node.netns, node.link, node.address)
    places.node(node.name).mkdir(exist_ok=True)
    network.routes(NodePlan.named(name) for name in places.node_names())
    start(places, record, node)


def leave(places: Places, record: Record, node: NodePlan) -> None:
    """Take a node out of the cluster, with everything that is its own."""
    if node.number == 1:
        raise ClusterError("n1 cannot leave: the balancer speaks in its name")
    stop(places, node.name)
    cgroups.remove(node.cgroup)
    network.namespace_down(node.netns, node.link)
    kubectl = (record.binaries / "kubectl", "--kubeconfig", places.kubeconfig)
    run(*kubectl, "delete", "node", node.name, "--ignore-not-found")
    shutil.rmtree(places.node(node.name))


def signal_kubelet(places: Places, name: str, sig: str) -> None:
    """Send ``-STOP`` or ``-CONT`` to the node's kubelet; its pods go on."""
    init = init_pid(places, name)
    if init is None:
        raise ClusterError(f"{name} is not running")
    kubelet = json.loads((places.node(name) / "children.json").read_text())["kubelet"]
    run("nsenter", "-t", str(init), "-p", "-m", "kill", sig, str(kubelet))


def inflict(places: Places, record: Record, act: str, name: str) -> None:
    """Do one of FAULTS to the node ``name``."""
    plan = NodePlan.named(name)
    if act == "join":
        join(places, record, plan)
    elif name not in places.node_names():
        raise ClusterError(f"there is no node {name}; there are {', '.join(places.node_names()) or 'none'}")
    elif act == "leave":
        leave(places, record, plan)
    elif act == "start":
        start(places, record, plan)
    elif act in ("stop", "kill"):
        stop(places, name, signal.SIGKILL if act == "kill" else signal.SIGTERM)
        cgroups.remove(plan.cgroup)
    elif act in ("cut", "mend"):
        network.cable(plan, connected=act == "mend")
    elif act in ("freeze", "thaw"):
        signal_kubelet(places, name, "-STOP" if act == "freeze" else "-CONT")
    else:
        raise ClusterError(f"{act}: allowed are {', '.join(FAULTS)}")
