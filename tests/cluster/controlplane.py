"""etcd, the API server, the controller manager and the scheduler, in the machine's own namespaces."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from pathlib import Path

from tests.cluster.addresses import API_PORT, ETCD_PEER_PORT, ETCD_PORT, MACHINE, SERVICE_RANGE
from tests.cluster.places import Places
from tests.cluster.processes import Processes
from tests.cluster.shell import run, wait_until

ETCD_URL = f"http://127.0.0.1:{ETCD_PORT}"
ETCD_PEER_URL = f"http://127.0.0.1:{ETCD_PEER_PORT}"
NAMES = ("etcd", "apiserver", "controller-manager", "scheduler")
ANSWER_SECONDS = 3.0
FAST_FAILOVER_SECONDS = 10
"""How long pods stay bound to a node that is gone; the usual 300 s would make fault tests slow."""


class NotOkError(OSError):
    """An HTTP answer other than 200."""


def get(host: str, port: int, path: str) -> str:
    """The body of a plain HTTP answer; raises OSError without one, or with another status than 200."""
    return _get(http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS), path, {})


def api(places: Places, path: str) -> str:
    """Ask the API server as the administrator; raises OSError as ``get`` does."""
    token = json.loads(places.kubeconfig.read_text())["users"][0]["user"]["token"]
    trust = ssl.create_default_context(cafile=str(places.pki / "ca.crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", API_PORT, timeout=ANSWER_SECONDS, context=trust)
    return _get(connection, path, {"Authorization": f"Bearer {token}"})


def _get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> str:
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            if answer.status != http.HTTPStatus.OK:
                raise NotOkError(f"{path}: status {answer.status}")
            return answer.read().decode()


def start(places: Places, binaries: Path) -> None:
    """Start all four, each when what it needs answers."""
    processes = Processes(places.state)
    hint = f"; its log is in {places.logs}"
    (places.state / "etcd").mkdir(mode=0o700)
    processes.spawn("etcd", [str(binaries / "etcd"), *etcd_flags(places)])
    wait_until("etcd is healthy", lambda: "true" in get("127.0.0.1", ETCD_PORT, "/health"), 20, hint)
    processes.spawn("apiserver", [str(binaries / "kube-apiserver"), *apiserver_flags(places)])
    wait_until("the API server is ready", lambda: api(places, "/readyz") == "ok", 60, hint)
    processes.spawn(
        "controller-manager", [str(binaries / "kube-controller-manager"), *controller_flags(places)]
    )
    processes.spawn("scheduler", [str(binaries / "kube-scheduler"), *scheduler_flags(places)])
    kubectl = (binaries / "kubectl", "--kubeconfig", places.kubeconfig)
    run(
        *kubectl,
        "apply",
        "-f",
        "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": grants()}),
    )


def etcd_flags(places: Places) -> list[str]:
    return [
        "--name=wsfleet",
        f"--data-dir={places.state}/etcd",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={ETCD_PEER_URL}",
        f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
        f"--initial-cluster=wsfleet={ETCD_PEER_URL}",
        "--unsafe-no-fsync",  # the data need not outlive the machine
        "--log-level=warn",
    ]


def apiserver_flags(places: Places) -> list[str]:
    pki = places.pki
    return [
        f"--etcd-servers={ETCD_URL}",
        f"--secure-port={API_PORT}",
        "--bind-address=0.0.0.0",
        f"--advertise-address={MACHINE}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        f"--token-auth-file={pki}/tokens.csv",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--requestheader-client-ca-file={pki}/front-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front.crt",
        f"--proxy-client-key-file={pki}/front.key",
        "--enable-aggregator-routing=true",
        f"--default-not-ready-toleration-seconds={FAST_FAILOVER_SECONDS}",
        f"--default-unreachable-toleration-seconds={FAST_FAILOVER_SECONDS}",
    ]


def controller_flags(places: Places) -> list[str]:
    pki = places.pki
    return [
        f"--kubeconfig={pki}/controller-manager.kubeconfig",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--kube-api-qps=200",  # the default of 20 a second makes the removal of 1,000 pods take 50 s
        "--kube-api-burst=400",
        f"--flex-volume-plugin-dir={places.state}/flex",  # else it makes a folder under /usr/libexec
        "--horizontal-pod-autoscaler-sync-period=5s",  # 15 s is a long time in a test
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=16s",
    ]


def scheduler_flags(places: Places) -> list[str]:
    return [
        f"--kubeconfig={places.pki}/scheduler.kubeconfig",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]


def grants() -> list[dict[str, object]]:
    """What a cluster's bootstrapper grants: kube-proxy reads Services, CoreDNS reads what it answers from."""
    group = "rbac.authorization.k8s.io"

    def binding(role: str, user: str) -> dict[str, object]:
        return {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"wsfleet-local-{user.rsplit(':', 1)[1]}"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
        }

    read = ["list", "watch"]
    coredns: dict[str, object] = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "wsfleet-local-coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": read},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
        ],
    }
    bindings = [
        binding("system:node-proxier", "system:kube-proxy"),
        binding("wsfleet-local-coredns", "wsfleet:coredns"),
    ]
    return [coredns, *bindings]
