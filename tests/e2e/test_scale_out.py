"""Fleets of one grow because clients came, were turned away, or cost CPU; none loses a message meanwhile."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest

from tests.support.checking import CHANNELS, Checking, broker_url, publisher
from tests.support.cluster import Client
from tests.support.operating import status_of, wait_condition, wsfleet
from wsnode.load import LoadClient
from wsnode.load_options import LoadOptions

SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
CONNECTIONS = 8100
LATE_CONNECTIONS = 100
CONNECTIONS_PER_SECOND = 350
"""Slow enough for nodes, clients, broker and API server on two cores: opening must not look like overload."""
SPEC: dict[str, Any] = {
    "instance": {"type": "e2-small"},
    "drain": {"delaySeconds": 2, "timeoutSeconds": 20},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 3, "rejections": {"perMinute": 100_000}},
    # Waiting for a CPU counts as load, and here the clients and the whole cluster take turns with the node on
    # two cores: that must not turn clients away or pause the feed, since the count of connections is tried.
    # Nobody is to be closed here at all; `test_rebalance.py` tries that.
    "rebalance": {"enabled": False},
    "overrides": {"cpuRejectThreshold": 94, "cpuPauseThreshold": 99},
}


BUSY_CLIENTS = 150
BUSY_MESSAGES_PER_SECOND = 400.0
"""Together a fifth of a CPU on a node, more or less: above the thresholds of the fleets that grow by it."""
UNMOVED = {"cpuRejectThreshold": 94, "cpuPauseThreshold": 99}
"""See SPEC."""
NEVER: dict[str, Any] = {
    "connections": {"targetPercent": 100},
    "rejections": {"perMinute": 1_000_000},
    "cpu": {"targetPercent": 95},
    "growth": {"enabled": False},
}
"""Each trigger so high that it does not fire."""


def busy_fleet(overrides: dict[str, Any], **triggers: Any) -> dict[str, Any]:
    """A fleet of small machines, with one of the triggers set low."""
    return wsfleet(
        "odin",
        instance={"cpu": "1", "memory": "1Gi"},
        template=SMALL,
        drain=SPEC["drain"],
        rebalance={"enabled": False},
        autoscaling={"minReplicas": 1, "maxReplicas": 2, **NEVER, **triggers},
        overrides={"maxConnections": 2000, **overrides},
    )


@pytest.fixture(scope="module", autouse=True)
def by_cpu(release: Client, module_namespace: str) -> str:
    """A fleet that grows by CPU: its node has to be a minute old to count, so it is made before all tests."""
    release.apply(busy_fleet(UNMOVED), namespace=module_namespace)
    return module_namespace


def epoch(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()


def ready_since(cluster: Client, namespace: str) -> list[float]:
    """When each ready pod of the fleet became so, oldest first (whole seconds)."""
    found = cluster.kubectl_json(
        "get", "pods", "--namespace", namespace, "--selector", "wsfleet.io/fleet=odin"
    )
    return sorted(
        epoch(condition["lastTransitionTime"])
        for pod in found["items"]
        for condition in pod["status"].get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    )


@pytest.mark.timeout(500)
def test_8100_connections_take_a_fleet_from_one_node_to_two_and_nobody_loses_a_message(
    release: Client, namespace: str
) -> None:
    release.apply(wsfleet("odin", **SPEC), namespace=namespace)
    before = wait_condition(release, "odin", namespace, "Ready", timeout_seconds=120)
    assert before["nodeSettings"]["values"]["WS_MAX_CONNECTIONS"] == "10000"
    assert before["desiredReplicas"] == 1
    options = LoadOptions(
        f"ws://{release.service_address('odin', namespace)}/ws",
        connections=CONNECTIONS,
        rate=CONNECTIONS_PER_SECOND,
        channels=CHANNELS,
        check=True,
        marks=(8001,),
    )
    with publisher(broker_url(release), 2), LoadClient(options, process=True) as load:
        opened = load.wait_for(lambda shot: shot.subscribed >= CONNECTIONS, 180, "8,100 connections")
        crossed = opened.marks["8001"]
        release.wait(
            "two ready nodes", lambda: status_of(release, "odin", namespace).get("readyReplicas") == 2, 60
        )
        status = status_of(release, "odin", namespace)
        second_ready = ready_since(release, namespace)[1]
        load.ramp(CONNECTIONS + LATE_CONNECTIONS, 50)
        settled = load.wait_for(
            lambda shot: shot.subscribed >= CONNECTIONS + LATE_CONNECTIONS, 60, "the late ones"
        )
        time.sleep(3)  # messages to both nodes
        last = load.stop()
    decision = growth(status)
    print(
        f"after the 8,001st connection: decision {epoch(decision['time']) - crossed:.1f} s, "
        f"second node Ready {second_ready - crossed:.1f} s. "
        f"{last.deliveries:,} deliveries, refused {opened.failed_opens}, "
        f"latency {last.latency_ms}, load client {last.cpu_seconds:.1f} s CPU, {last.memory_bytes >> 20} MiB"
    )
    assert decision["trigger"] == "Connections"
    assert (decision["from"], decision["to"]) == (1, 2)
    assert status["desiredReplicas"] == 2
    assert (last.lost, last.doubled, last.reordered, last.unasked) == (0, 0, 0, 0)
    assert last.closes == {}
    assert last.missed_while_away == 0
    # What stops coming is no loss that a client could see. In 3 s at 2 a second all hear more than once.
    assert last.deliveries - settled.deliveries >= 2 * (CONNECTIONS + LATE_CONNECTIONS)
    assert len([name for name, node in last.nodes.items() if node["open"]]) == 2, "the new node got nobody"


def second_node(release: Client, namespace: str) -> tuple[dict[str, Any], float]:
    """The decision for it, and how long after that it was Ready."""
    release.wait(
        "two ready nodes", lambda: status_of(release, "odin", namespace).get("readyReplicas") == 2, 90
    )
    decision = growth(status_of(release, "odin", namespace))
    return decision, ready_since(release, namespace)[1] - epoch(decision["time"])


@pytest.mark.timeout(400)
def test_clients_that_are_turned_away_again_and_again_bring_a_node(release: Client, namespace: str) -> None:
    # Any load at all is too much for new clients here; those that are there stay.
    thresholds = {"cpuRejectThreshold": 8, "cpuPauseThreshold": 99}
    rejections = {"perMinute": 5, "sustainedSeconds": 5}
    release.apply(busy_fleet(thresholds, rejections=rejections), namespace=namespace)
    wait_condition(release, "odin", namespace, "Ready", timeout_seconds=120)
    url = broker_url(release)
    with Checking(release.service_address("odin", namespace), BUSY_CLIENTS, rate=25) as checking:
        with publisher(url, BUSY_MESSAGES_PER_SECOND):
            refused = checking.wait_for(lambda shot: shot.messages > 500, 60, "the load")
            assert not refused.closes
            checking.ramp(BUSY_CLIENTS + 40, 4)
            decision, took = second_node(release, namespace)
            turned_away = sum(checking.snapshot().failed_opens.values())
        last = checking.nothing_lost()
    print(
        f"{turned_away} turned away; second node Ready {took:.1f} s after the decision: {decision['reasons']}"
    )
    assert decision["trigger"] == "Rejections"
    assert turned_away > 0
    assert last.closes == {}


@pytest.mark.timeout(400)
def test_cpu_that_stays_high_brings_a_node(release: Client, by_cpu: str) -> None:
    wait_condition(release, "odin", by_cpu, "Ready", timeout_seconds=120)
    url = broker_url(release)
    with (
        Checking(release.service_address("odin", by_cpu), BUSY_CLIENTS) as checking,
        publisher(url, BUSY_MESSAGES_PER_SECOND),
    ):
        cpu = {"targetPercent": 10, "sustainedSeconds": 10}
        patch = json.dumps({"spec": {"autoscaling": {"cpu": cpu}}})
        where = ("--namespace", by_cpu, "--type=merge")
        release.kubectl("patch", "wsfleet", "odin", *where, "--patch", patch)
        decision, took = second_node(release, by_cpu)
        last = checking.nothing_lost()
    print(f"second node Ready {took:.1f} s after the decision: {decision['reasons']}")
    assert decision["trigger"] == "Cpu"
    assert last.closes == {}


def growth(status: dict[str, Any]) -> dict[str, Any]:
    """The decision that took the fleet from one node to two."""
    return next(one for one in status["scaling"] if one["from"] == 1 and one["to"] == 2)
