"""One bridge on the machine; a network namespace for each node and the balancer, each on its own cable."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.cluster import addresses
from tests.cluster.addresses import BALANCER_NETNS, BRIDGE, NodePlan
from tests.cluster.shell import run

UNREACHABLE_METRIC = "9999"


def bridge_up(state: Path) -> None:
    """The bridge, whose alias says whose it is, and the route that keeps the range on this machine."""
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "link", "set", BRIDGE, "alias", f"wsfleet {state}")
    run("ip", "addr", "add", f"{addresses.MACHINE}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("ip", "route", "replace", "unreachable", addresses.RANGE, "metric", UNREACHABLE_METRIC)


def bridge_owner() -> Path | None:
    """The state folder of the cluster whose bridge is there; None without a bridge or an alias."""
    try:
        words = Path(f"/sys/class/net/{BRIDGE}/ifalias").read_text().split()
    except OSError:
        return None
    return Path(words[1]) if len(words) == 2 and words[0] == "wsfleet" else None


def namespace_up(netns: str, link: str, address: str) -> None:
    """A namespace with one interface, cabled to the bridge."""
    if Path(f"/run/netns/{netns}").exists():
        return
    run("ip", "netns", "add", netns)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", netns)
    run("ip", "link", "set", link, "master", BRIDGE, "up")
    run("ip", "-n", netns, "addr", "add", f"{address}/24", "dev", "eth0")
    run("ip", "-n", netns, "link", "set", "lo", "up")
    run("ip", "-n", netns, "link", "set", "eth0", "up")
    run("ip", "-n", netns, "route", "add", "default", "via", addresses.MACHINE)
    run("nsenter", f"--net=/run/netns/{netns}", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")


def namespace_down(netns: str, link: str) -> None:
    """Take away a namespace and its cable, and with them the processes' way out; absent ones are no error."""
    if netns in namespaces():
        run("ip", "netns", "del", netns)
    if link in links():
        run("ip", "link", "del", link, check=False)  # it goes with the namespace, a moment later


def routes(nodes: Iterable[NodePlan]) -> None:
    """Everyone reaches a pod range through its node; the machine reaches Services through the balancer."""
    nodes = list(nodes)
    for node in nodes:
        run("ip", "route", "replace", node.pod_range, "via", node.address)
        for other in [peer.netns for peer in nodes if peer != node] + [BALANCER_NETNS]:
            run("ip", "-n", other, "route", "replace", node.pod_range, "via", node.address)
    run("ip", "route", "replace", addresses.SERVICE_RANGE, "via", addresses.BALANCER)


def cable(node: NodePlan, connected: bool) -> None:
    """Pull or plug the node's cable."""
    run("ip", "link", "set", node.link, "up" if connected else "down")


def links() -> list[str]:
    """The cluster's links on this machine."""
    names = [path.name for path in Path("/sys/class/net").iterdir()]
    return sorted(name for name in names if name == BRIDGE or name.startswith(addresses.LINK_PREFIX))


def namespaces() -> list[str]:
    """The cluster's network namespaces."""
    folder = Path("/run/netns")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(name for name in names if name.startswith(addresses.NETNS_PREFIX))


def routes_left() -> list[str]:
    """The one route of ours that does not vanish with the bridge."""
    shown = run("ip", "route", "show", "type", "unreachable", check=False)
    return [f"unreachable {addresses.RANGE}"] if addresses.RANGE in shown else []


def remove_all() -> None:
    """Take down every link, namespace and route of the cluster."""
    for netns in namespaces():
        run("ip", "netns", "del", netns, check=False)
    for link in links():
        run("ip", "link", "del", link, check=False)
    if routes_left():
        run("ip", "route", "del", "unreachable", addresses.RANGE, "metric", UNREACHABLE_METRIC, check=False)
