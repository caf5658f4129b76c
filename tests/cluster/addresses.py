"""Who has which address, name and port in the local cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass

RANGE = "198.18.0.0/15"
"""Everything below lies in this range; a route says "unreachable" to whatever of it is not used."""
NODE_RANGE = "198.18.0.0/24"
POD_RANGE = "198.18.64.0/18"
SERVICE_RANGE = "198.19.0.0/16"

MACHINE = "198.18.0.1"
"""The bridge: how nodes and pods see the machine, and so the API server."""
BALANCER = "198.18.0.2"
"""A namespace with kube-proxy and CoreDNS: the machine's way to Services, whichever node dies."""
DNS = BALANCER
API_SERVICE = "198.19.0.1"

API_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380

BRIDGE = "wsf0"
NETNS_PREFIX = "wsf-"
LINK_PREFIX = "vwsf-"
BALANCER_NETNS = f"{NETNS_PREFIX}lb"
BALANCER_LINK = f"{LINK_PREFIX}lb"
CGROUP = "wsfleet"
MAX_NODES = 9


@dataclass(frozen=True)
class NodePlan:
    """Name and addresses of node ``number`` (1 to 9)."""

    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= MAX_NODES:
            raise ValueError(f"node number {self.number}: allowed are 1 to {MAX_NODES}")

    @classmethod
    def named(cls, name: str) -> NodePlan:
        """The plan of the node called ``n1`` to ``n9``."""
        if len(name) != 2 or name[0] != "n" or not name[1].isdigit():
            raise ValueError(f"node {name!r}: nodes are called n1 to n{MAX_NODES}")
        return cls(int(name[1]))

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def address(self) -> str:
        return f"198.18.0.{10 + self.number}"

    @property
    def pod_range(self) -> str:
        return f"198.18.{64 + self.number}.0/24"

    @property
    def netns(self) -> str:
        return f"{NETNS_PREFIX}{self.name}"

    @property
    def link(self) -> str:
        """The machine's end of the node's cable (Linux allows 15 characters)."""
        return f"{LINK_PREFIX}{self.name}"

    @property
    def cgroup(self) -> str:
        return f"{CGROUP}/{self.name}"


def node_plans(count: int) -> list[NodePlan]:
    """The first ``count`` nodes."""
    return [NodePlan(number) for number in range(1, count + 1)]
