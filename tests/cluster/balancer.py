"""kube-proxy and CoreDNS in a namespace of their own, so that no node's death takes Services along."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tests.cluster import addresses
from tests.cluster.addresses import BALANCER, BALANCER_NETNS, DNS
from tests.cluster.pki import CONTEXT
from tests.cluster.places import Places, Record
from tests.cluster.processes import Processes

NAMES = ("coredns", "balancer-proxy")
PROXY_HEALTH_PORT = 10256
DNS_READY_PORT = 8181


def write_proxy_configuration(path: Path, places: Places, mode: str, host: str, address: str) -> None:
    """The configuration of a kube-proxy that acts for node ``host`` and tells its health at ``address``."""
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "hostnameOverride": host,
        "clusterCIDR": addresses.POD_RANGE,
        "clientConnection": {"kubeconfig": f"{places.pki}/proxy.kubeconfig"},
        # Zero leaves the limits and timeouts of the kernel alone, which are the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "bindAddress": "0.0.0.0",
        "nodePortAddresses": [addresses.NODE_RANGE],
        "healthzBindAddress": f"{address}:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    path.write_text(json.dumps(configuration, indent=1))


def corefile(places: Places) -> str:
    """CoreDNS answers for the cluster's own names only: nothing leaves the machine."""
    return "\n".join(
        (
            ".:53 {",
            f"  bind {DNS}",
            "  errors",
            f"  ready {DNS}:{DNS_READY_PORT}",
            "  kubernetes cluster.local in-addr.arpa {",
            f"    kubeconfig {places.pki}/coredns.kubeconfig {CONTEXT}",
            "    pods insecure",
            "    ttl 5",
            "  }",
            "  cache 5",
            "}",
            "",
        )
    )


def start(places: Places, record: Record) -> None:
    """Start both; the Node ``n1`` must exist."""
    processes = Processes(places.state)
    configuration = places.state / "balancer-proxy.json"
    # It speaks as n1: under a name that is no Node's, kube-proxy waits 30 s before its first rule.
    write_proxy_configuration(configuration, places, record.proxy_mode, "n1", BALANCER)
    proxy = shlex.join([str(record.binaries / "kube-proxy"), f"--config={configuration}"])
    # The loop is for `kubectl delete node n1`, at which kube-proxy leaves.
    processes.spawn(
        "balancer-proxy", ["sh", "-c", f"while :; do {proxy}; sleep 1; done"], netns=BALANCER_NETNS
    )
    (places.state / "Corefile").write_text(corefile(places))
    coredns = [str(record.binaries / "coredns"), "-conf", str(places.state / "Corefile")]
    processes.spawn("coredns", coredns, netns=BALANCER_NETNS)
