"""A machine is emptied with `kubectl drain`: each node's replacement serves before the node goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster import choice, lifecycle, node
from tests.cluster.places import Record
from tests.e2e.test_fleet import QUICK_DRAIN, SMALL
from tests.support.checking import Checking, broker_url, publisher
from tests.support.cluster import Client, SessionCluster
from tests.support.operating import status_of, wait_condition, wsfleet
from tests.support.pod_watch import PodWatch

CLIENTS = 60
SECOND = "n2"
DRAIN_SECONDS = 180


@pytest.fixture
def two_machines(session_cluster: SessionCluster, release: Client) -> Iterator[Client]:
    """The cluster with a second machine, which is gone afterwards if it was not there before."""
    places = release.places
    record = None if places is None else Record.read(places)
    if places is None or record is None:
        if len(release.kubectl("get", "nodes", "-o", "name").split()) < 2:
            pytest.skip("the cluster has one machine only")
        yield release
        return
    joins = SECOND not in places.node_names()
    if joins:
        node.inflict(places, record, "join", SECOND)
        release.wait(f"{SECOND} is Ready", lambda: lifecycle.is_ready(places, SECOND), 60)
        choice.local_client(places)  # loads the images there
    try:
        yield release
    finally:
        if joins:
            pods = ("get", "pods", "--all-namespaces", "--field-selector", f"spec.nodeName={SECOND}")
            release.wait(f"{SECOND} to be empty", lambda: not release.kubectl(*pods, "-o", "name"), 60)
            node.inflict(places, record, "leave", SECOND)


def machines(cluster: Client, namespace: str) -> dict[str, str]:
    """The machine of each pod of the namespace's fleets that is not on its way out."""
    found = cluster.kubectl_json("get", "pods", "--namespace", namespace, "--selector", "wsfleet.io/fleet")
    return {
        pod["metadata"]["name"]: pod["spec"].get("nodeName", "")
        for pod in found["items"]
        if "deletionTimestamp" not in pod["metadata"]
    }


@pytest.mark.timeout(400)
def test_replacements_are_ready_first_also_for_a_fleet_of_one(two_machines: Client, namespace: str) -> None:
    cluster = two_machines
    sizes = {"odin": 1, "thor": 2}
    for name, nodes in sizes.items():
        document = wsfleet(name, replicas=nodes, drain=QUICK_DRAIN, template=SMALL)
        cluster.apply(document, namespace=namespace)
    for name in sizes:
        wait_condition(cluster, name, namespace, "Ready", timeout_seconds=120)
    before = machines(cluster, namespace)
    (alone,) = (pod for pod in before if pod.startswith("odin-"))
    machine = before[alone]
    leaving = {pod for pod, where in before.items() if where == machine}
    with ExitStack() as stack:
        stack.callback(cluster.kubectl, "uncordon", machine)
        stack.enter_context(publisher(broker_url(cluster), 2))
        crowds, watches = {}, {}
        for name, nodes in sizes.items():
            address = cluster.service_address(name, namespace)
            crowds[name] = stack.enter_context(Checking(address, CLIENTS))
            watch = PodWatch(cluster, namespace, f"wsfleet.io/fleet={name}", nodes)
            watches[name] = stack.enter_context(watch)
        there = {pod: crowds[pod.partition("-")[0]].on(pod) for pod in leaving}
        # The fleets' pods alone: NATS and the operator are not what is tried here.
        cluster.kubectl(
            *("drain", machine, "--ignore-daemonsets", "--delete-emptydir-data"),
            *("--pod-selector=wsfleet.io/fleet in (odin,thor)", f"--timeout={DRAIN_SECONDS}s"),
            timeout_seconds=DRAIN_SECONDS + 20,
        )
        for name, nodes in sizes.items():

            def at_rest(name: str = name, nodes: int = nodes) -> bool:
                status = status_of(cluster, name, namespace)
                counts = (status.get("replicas"), status.get("readyReplicas"))
                return counts == (nodes, nodes) and status.get("phase") == "Running"

            cluster.wait(f"{name} at rest", at_rest, 90)
        for name, crowd in crowds.items():
            crowd.nothing_lost()
            least = sum(clients for pod, clients in there.items() if pod.startswith(f"{name}-"))
            # Who comes to a node that has to go too is closed once more.
            assert least <= crowd.closes <= 2 * least, (name, crowd.closes, there)
    after = machines(cluster, namespace)
    assert machine not in after.values()
    assert len(after) == sum(sizes.values())
    for name, nodes in sizes.items():
        assert watches[name].fewest_ready() == nodes, f"{name} had fewer ready nodes than it should"
