"""A second node gets its share of the clients that are there, and one pod is replaced on request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_fleet import CHECKING, QUICK_DRAIN, SMALL, Knocker, pods, ready_fleet
from tests.support.checking import CHANNELS, Checking, broker_url, publisher
from tests.support.cluster import Client
from tests.support.operating import status_of, wait_condition, wsfleet
from wsnode.load import LoadClient
from wsnode.load_options import LoadOptions

CONNECTIONS = 1500
LIMIT = 825
"""A tenth above the mean of two nodes."""
SPEC: dict[str, Any] = {
    "drain": QUICK_DRAIN,
    "template": SMALL,
    "overrides": {"cpuRejectThreshold": 94, "cpuPauseThreshold": 99},
}


def nodes_of(shot: Any) -> list[int]:
    return sorted(int(node["open"]) for node in shot.nodes.values() if node["open"])


@pytest.fixture(scope="module", autouse=True)
def uneven(release: Client, module_namespace: str) -> Iterator[LoadClient]:
    """A fleet that was scaled to two nodes when all clients were on the first.

    The operator looks for half a minute whether steering is enough, so this begins before all tests.
    """
    release.apply(wsfleet("odin", replicas=1, **SPEC), namespace=module_namespace)
    wait_condition(release, "odin", module_namespace, "Ready", timeout_seconds=120)
    options = LoadOptions(
        f"ws://{release.service_address('odin', module_namespace)}/ws",
        connections=CONNECTIONS,
        rate=200,
        channels=CHANNELS,
        check=True,
        resume=True,
    )
    with publisher(broker_url(release), 2), LoadClient(options, process=True) as load:
        load.wait_for(lambda shot: shot.subscribed >= CONNECTIONS, 120, "the clients")
        release.kubectl("scale", "wsfleet", "odin", "--namespace", module_namespace, "--replicas=2")
        yield load


@pytest.mark.timeout(400)
def test_a_pod_is_replaced_on_request_and_a_fleet_of_one_serves_throughout(
    release: Client, namespace: str
) -> None:
    address = ready_fleet(release, namespace)
    (old,) = pods(release, namespace)
    where = ("--namespace", namespace)
    with (
        publisher(broker_url(release), 2),
        Checking(address, CHECKING) as checking,
        Knocker(address) as knocker,
    ):
        release.kubectl("annotate", "pod", old, "wsfleet.io/replace=2026-01-01T00:00:00Z", *where)

        def replaced() -> bool:
            present = pods(release, namespace)
            return (
                len(present) == 1
                and old not in present
                and status_of(release, "odin", namespace).get("phase") == "Running"
            )

        release.wait("another pod", replaced, 180)
        checking.nothing_lost()
        assert checking.closes == CHECKING, "each client once"
    assert knocker.failures == [], f"of {knocker.tries} tries"


@pytest.mark.timeout(400)
def test_a_second_node_gets_its_share_with_one_close_a_client_and_nothing_lost(
    release: Client, module_namespace: str, uneven: LoadClient
) -> None:
    even = uneven.wait_for(
        lambda shot: (
            shot.subscribed >= CONNECTIONS and len(nodes_of(shot)) == 2 and nodes_of(shot)[1] <= LIMIT
        ),
        180,
        "even nodes",
    )
    release.wait(
        "the rebalance to be over",
        lambda: status_of(release, "odin", module_namespace).get("rebalance") in (None, "Easing"),
        60,
    )
    last = uneven.snapshot()
    print(f"closes {even.closes}, connections a node {nodes_of(even)}, latency {last.latency_ms}")
    least = CONNECTIONS - LIMIT
    assert least <= even.closes["1012"] <= 1.1 * least
    assert (last.lost, last.doubled, last.reordered, last.unasked) == (0, 0, 0, 0)
    assert last.missed_while_away == 0
