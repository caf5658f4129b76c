"""A second node gets its share of the clients that are there, and one pod is replaced on request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.test_fleet import QUICK_DRAIN, SMALL, Knocker, pods, ready_fleet
from tests.support.checking import CHANNELS, broker_url, publisher
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


@pytest.mark.timeout(400)
def test_a_second_node_gets_its_share_with_one_close_a_client_and_nothing_lost(
    release: Client, namespace: str
) -> None:
    release.apply(wsfleet("odin", replicas=1, **SPEC), namespace=namespace)
    wait_condition(release, "odin", namespace, "Ready", timeout_seconds=120)
    options = LoadOptions(
        f"ws://{release.service_address('odin', namespace)}/ws",
        connections=CONNECTIONS,
        rate=200,
        channels=CHANNELS,
        check=True,
        resume=True,
    )
    with publisher(broker_url(release), 2) as publishing, LoadClient(options, process=True) as load:
        load.wait_for(lambda shot: shot.subscribed >= CONNECTIONS, 120, "the clients")
        release.kubectl("scale", "wsfleet", "odin", "--namespace", namespace, "--replicas=2")
        even = load.wait_for(
            lambda shot: (
                shot.subscribed >= CONNECTIONS and len(nodes_of(shot)) == 2 and nodes_of(shot)[1] <= LIMIT
            ),
            180,
            "even nodes",
        )
        release.wait(
            "the rebalance to be over",
            lambda: status_of(release, "odin", namespace).get("rebalance") in (None, "Easing"),
            60,
        )
        assert publishing.poll() is None, "the publisher ended"
        last = load.stop()
    print(f"closes {even.closes}, connections a node {nodes_of(even)}, latency {last.latency_ms}")
    least = CONNECTIONS - LIMIT
    assert least <= even.closes["1012"] <= 1.1 * least
    assert (last.lost, last.doubled, last.reordered, last.unasked) == (0, 0, 0, 0)
    assert last.missed_while_away == 0


@pytest.mark.timeout(400)
def test_a_pod_is_replaced_on_request_and_a_fleet_of_one_serves_throughout(
    release: Client, namespace: str
) -> None:
    address = ready_fleet(release, namespace)
    (old,) = pods(release, namespace)
    where = ("--namespace", namespace)
    with Knocker(address) as knocker:
        release.kubectl("annotate", "pod", old, "wsfleet.io/replace=2026-01-01T00:00:00Z", *where)

        def replaced() -> bool:
            present = pods(release, namespace)
            return (
                len(present) == 1
                and old not in present
                and status_of(release, "odin", namespace).get("phase") == "Running"
            )

        release.wait("another pod", replaced, 180)
    assert knocker.failures == [], f"of {knocker.tries} tries"
