"""`kubectl wsfleet` on a real cluster: kubectl finds the plugin, the operator does what it asks."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.checking import Checking, broker_url, publisher
from tests.support.cluster import Client, CommandError
from tests.support.operating import status_of, wait_condition, wsfleet

CLIENTS = 40
SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
QUICK = {"drain": {"delaySeconds": 1, "timeoutSeconds": 20}, "template": SMALL}
READY_SECONDS = 90


@pytest.fixture(autouse=True)
def plugin_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after the line that `make up` prints."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{Path(sys.executable).parent}")


@dataclass
class Fleet:
    """The module's one fleet `odin`, with clients that count each message."""

    release: Client
    namespace: str
    checking: Checking

    def plugin(self, *arguments: str, seconds: float = 60) -> str:
        """What `kubectl wsfleet …` prints."""
        where = ("--namespace", self.namespace)
        return self.release.kubectl("wsfleet", *arguments, *where, timeout_seconds=seconds)

    def seen(self) -> dict[str, Any]:
        """The fleet as the plugin tells programs."""
        found: dict[str, Any] = json.loads(self.plugin("status", "odin", "-o", "json"))
        return found

    def ready(self, nodes: int) -> dict[str, Any]:
        """The same once it has so many nodes, all ready and counted; else empty."""
        found = self.seen()
        at_rest = found["nodes"] == {"ready": nodes, "present": nodes, "desired": nodes}
        return found if at_rest and found["phase"] == "Running" else {}

    def ask_for(self, nodes: int) -> None:
        self.release.kubectl("scale", "wsf/odin", "--namespace", self.namespace, f"--replicas={nodes}")

    def of_size(self, nodes: int) -> dict[str, Any]:
        """Scale it, if it is not so large already, and wait."""
        self.ask_for(nodes)
        return self.release.wait(f"{nodes} nodes", lambda: self.ready(nodes), READY_SECONDS)


@pytest.fixture(scope="module")
def fleet(release: Client, module_namespace: str) -> Iterator[Fleet]:
    """Tests bring it to the size that they need; run in their order they find it so."""
    release.apply(wsfleet("odin", replicas=1, **QUICK), namespace=module_namespace)
    wait_condition(release, "odin", module_namespace, "Ready", timeout_seconds=READY_SECONDS)
    address = release.service_address("odin", module_namespace)
    with publisher(broker_url(release), 2), Checking(address, CLIENTS) as checking:
        yield Fleet(release, module_namespace, checking)


def test_a_wrong_name_ends_with_its_own_exit_code(fleet: Fleet) -> None:
    with pytest.raises(CommandError) as refused:
        fleet.plugin("status", "odni")
    assert f"no fleet odni in namespace {fleet.namespace}; did you mean odin?" in refused.value.stderr
    assert refused.value.code == 3


def test_kubectl_completes_by_the_plugin(fleet: Fleet) -> None:
    offered = fleet.release.kubectl("__complete", "wsfleet", "status", "--namespace", fleet.namespace, "od")
    assert offered.splitlines()[0] == "odin"


def test_pause_holds_the_size_and_resume_lets_it_go(fleet: Fleet) -> None:
    fleet.of_size(1)
    assert "scaling is paused" in fleet.plugin("pause", "odin")
    fleet.ask_for(2)
    held = fleet.release.wait(
        "the operator to hold it", lambda: (one := fleet.seen())["phase"] == "Paused" and one, 40
    )
    assert held["paused"]["scaling"] is True
    assert held["nodes"]["desired"] == 1
    assert "scaling is paused by the annotation wsfleet.io/paused" in held["holds"]
    fleet.plugin("resume", "odin")
    found = fleet.release.wait("two nodes", lambda: fleet.ready(2), READY_SECONDS)
    assert found["paused"]["scaling"] is False


def test_explain_and_plan_say_why_a_fleet_has_its_size(fleet: Fleet) -> None:
    fleet.of_size(2)
    told = fleet.plugin("explain", "odin")
    assert "grew from 1 to 2 nodes, as spec.replicas says: spec.replicas is 2" in told
    plan = json.loads(fleet.plugin("plan", "odin", "-o", "json"))["plan"]
    in_force = status_of(fleet.release, "odin", fleet.namespace)["nodeSettings"]["values"]
    assert str(plan["settings"]["maxConnections"]) == in_force["WS_MAX_CONNECTIONS"]


@pytest.mark.timeout(400)
def test_rebalance_spreads_clients_over_a_new_node(fleet: Fleet) -> None:
    fleet.of_size(2)
    closes = fleet.checking.closes
    told = fleet.plugin("rebalance", "odin", "--wait", "--timeout", "240", seconds=260)
    lines = told.splitlines()
    assert lines[0] == "odin: a rebalance is asked for"
    most = int(re.findall(r"fullest node (\d+), mean \d+ connections", lines[-1])[0])
    assert CLIENTS / 2 <= most <= CLIENTS / 2 * 1.1
    fleet.checking.nothing_lost()
    assert fleet.checking.closes - closes <= CLIENTS / 2 * 1.1


def test_status_and_top_show_the_nodes_own_figures(fleet: Fleet) -> None:
    fleet.of_size(2)

    def with_all() -> dict[str, Any]:
        found = fleet.seen()
        return found if sum(pod["connections"] or 0 for pod in found["pods"]) == CLIENTS else {}

    told = fleet.release.wait("all connections", with_all, 40)
    assert [pod["silence"] for pod in told["pods"]] == [None, None]
    assert {pod["state"] for pod in told["pods"]} <= {"serving", "steered away"}
    assert told["nodes"] == {"ready": 2, "present": 2, "desired": 2}
    assert all(pod["machine"] for pod in told["pods"])
    lines = fleet.plugin("status", "odin").splitlines()
    assert lines[0] == f"odin  namespace {fleet.namespace}  {told['phase']}"
    assert "nodes          2 of 2 ready" in lines
    top = fleet.plugin("top", "odin", "--once").splitlines()
    assert f"2/2 nodes  {CLIENTS}/20,000 connections" in top[0]
    assert {line.split()[0] for line in top[3:5]} == {pod["pod"] for pod in told["pods"]}
    assert "odin" in fleet.plugin("status")


@pytest.mark.timeout(400)
def test_drain_replaces_a_node_and_waits_for_it(fleet: Fleet) -> None:
    before = fleet.of_size(2)
    old = before["pods"][0]["pod"]
    closes, there = fleet.checking.closes, fleet.checking.on(old)
    told = fleet.plugin("drain", "odin", old, "--wait", "--timeout", "240", seconds=260)
    lines = told.splitlines()
    assert lines[0] == f"{old}: its replacement is asked for"
    assert lines[-1] == f"{old} is gone; 2 nodes ready"
    ready = [pod["pod"] for pod in fleet.seen()["pods"] if pod["ready"]]
    assert len(ready) == 2
    assert old not in ready
    with pytest.raises(CommandError) as refused:
        fleet.release.kubectl("wsfleet", "drain", "odin", old, "--namespace", "kube-system")
    assert refused.value.code == 3
    fleet.checking.nothing_lost()
    assert fleet.checking.closes - closes == there, "each client of that node once, and nobody else"
