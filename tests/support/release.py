"""The chart of this tree installed in the cluster under test, once a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.release import RELEASE, SYSTEM_NAMESPACE, install_chart
from tests.support.cluster import Client

OPERATOR = "deployment/wsfleet-operator"
NATS_SERVICE = "wsfleet-nats"
_WHERE = ("--namespace", SYSTEM_NAMESPACE)


@contextmanager
def installed_chart(cluster: Client) -> Iterator[None]:
    """The release as `make up` names it: brought to this tree where it is there, else gone at the end."""
    was_there = RELEASE in cluster.helm("list", *_WHERE, "--short").split()
    install_chart(cluster)
    # An image by the same name may have new content: what runs must be this tree's.
    cluster.kubectl("rollout", "restart", OPERATOR, *_WHERE)
    cluster.kubectl("rollout", "status", OPERATOR, *_WHERE, "--timeout=120s")
    try:
        yield
    finally:
        if not was_there:
            cluster.helm("uninstall", RELEASE, *_WHERE, "--wait")
            cluster.kubectl("delete", "namespace", SYSTEM_NAMESPACE, "--timeout=60s")
            cluster.kubectl("delete", "crd", "wsfleets.wsfleet.io", "--timeout=60s")


@contextmanager
def operator_away(cluster: Client) -> Iterator[None]:
    """No operator runs meanwhile."""
    cluster.kubectl("scale", OPERATOR, *_WHERE, "--replicas=0")
    pods = ("get", "pods", *_WHERE, "--selector", "app.kubernetes.io/name=wsfleet-operator", "-o", "name")
    try:
        cluster.wait("the operator to be gone", lambda: not cluster.kubectl(*pods).strip(), 60)
        yield
    finally:
        cluster.kubectl("scale", OPERATOR, *_WHERE, "--replicas=2")
        cluster.kubectl("rollout", "status", OPERATOR, *_WHERE, "--timeout=60s")


def operator_log(cluster: Client) -> str:
    """What the operators have said since they last started."""
    selector = ("--selector", "app.kubernetes.io/name=wsfleet-operator", "--tail=-1")
    return cluster.kubectl("logs", *selector, *_WHERE)  # of all: only one of them acts
