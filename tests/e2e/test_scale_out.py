"""A fleet of one grows because its clients came, and none of them loses a message meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from tests.cluster.release import SYSTEM_NAMESPACE
from tests.support.cluster import Client
from tests.support.operating import status_of, wait_condition, wsfleet
from tests.support.release import NATS_SERVICE
from wsnode.load import LoadClient
from wsnode.load_options import LoadOptions

CONNECTIONS = 8100
LATE_CONNECTIONS = 100
CONNECTIONS_PER_SECOND = 350
"""Slow enough for nodes, clients, broker and API server on two cores: opening must not look like overload."""
CHANNELS = ("BTC.trade", "ETH.trade")
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


@contextmanager
def publisher(cluster: Client, messages_per_second: int) -> Iterator[subprocess.Popen[bytes]]:
    """Sample prices on both channels until the block ends."""
    address = cluster.service_address(NATS_SERVICE, SYSTEM_NAMESPACE)
    argv = [sys.executable, "-m", "wsnode", "pub", "--url", f"nats://{address}:4222", "--quiet"]
    argv += ["--rate", str(messages_per_second), "--channels", str(len(CHANNELS))]
    with subprocess.Popen(argv) as process:
        try:
            yield process
        finally:
            process.terminate()


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
    with publisher(release, messages_per_second=2) as publishing, LoadClient(options, process=True) as load:
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
        assert publishing.poll() is None, "the publisher ended"
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


def growth(status: dict[str, Any]) -> dict[str, Any]:
    """The decision that took the fleet from one node to two."""
    return next(one for one in status["scaling"] if one["from"] == 1 and one["to"] == 2)
