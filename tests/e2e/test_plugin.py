"""`kubectl wsfleet` on a real cluster: kubectl finds the plugin, the operator does what it asks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Client, CommandError
from tests.support.operating import status_of, wait_condition, wsfleet
from tests.support.wsfleet_clients import clients

SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
QUICK = {"drain": {"delaySeconds": 1, "timeoutSeconds": 20}, "template": SMALL}
READY_SECONDS = 90


@pytest.fixture(autouse=True)
def plugin_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after the line that `make up` prints."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{Path(sys.executable).parent}")


def plugin(release: Client, namespace: str, *arguments: str, seconds: float = 60) -> str:
    """What `kubectl wsfleet …` prints."""
    return release.kubectl("wsfleet", *arguments, "--namespace", namespace, timeout_seconds=seconds)


def seen(release: Client, namespace: str) -> dict[str, Any]:
    """The fleet as the plugin tells programs."""
    found: dict[str, Any] = json.loads(plugin(release, namespace, "status", "odin", "-o", "json"))
    return found


def with_connections(release: Client, namespace: str, number: int) -> dict[str, Any]:
    """The same once its nodes tell of so many connections, else empty."""
    found = seen(release, namespace)
    return found if sum(pod["connections"] or 0 for pod in found["pods"]) == number else {}


def ready_fleet(release: Client, namespace: str, **spec: Any) -> str:
    """A fleet `odin` with all its nodes ready; the address of its Service."""
    release.apply(wsfleet("odin", **QUICK, **spec), namespace=namespace)
    wait_condition(release, "odin", namespace, "Ready", timeout_seconds=READY_SECONDS)
    return release.service_address("odin", namespace)


@contextmanager
def returning_clients(address: str, number: int) -> Iterator[None]:
    """Clients that come back when they are closed."""
    argv = [sys.executable, "-m", "wsnode", "load", f"ws://{address}/ws", "--connections", str(number)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def test_status_and_top_show_the_nodes_own_figures(release: Client, namespace: str) -> None:
    address = ready_fleet(release, namespace, replicas=2)
    with clients(address, 6):
        told = release.wait("all connections", lambda: with_connections(release, namespace, 6), 40)
        assert [pod["silence"] for pod in told["pods"]] == [None, None]
        assert {pod["state"] for pod in told["pods"]} == {"serving"}
        assert told["nodes"] == {"ready": 2, "present": 2, "desired": 2}
        assert all(pod["machine"] for pod in told["pods"])
        lines = plugin(release, namespace, "status", "odin").splitlines()
        assert lines[0] == f"odin  namespace {namespace}  {told['phase']}"
        assert "nodes          2 of 2 ready" in lines
        top = plugin(release, namespace, "top", "odin", "--once").splitlines()
        assert "2/2 nodes  6/20,000 connections" in top[0]
        assert {line.split()[0] for line in top[3:5]} == {pod["pod"] for pod in told["pods"]}
    assert "odin" in plugin(release, namespace, "status")


def test_a_wrong_name_ends_with_its_own_exit_code(release: Client, namespace: str) -> None:
    ready_fleet(release, namespace)
    with pytest.raises(CommandError) as refused:
        plugin(release, namespace, "status", "odni")
    assert f"no fleet odni in namespace {namespace}; did you mean odin?" in refused.value.stderr
    assert refused.value.code == 3


def test_explain_and_plan_say_why_a_fleet_has_its_size(release: Client, namespace: str) -> None:
    ready_fleet(release, namespace)
    release.kubectl("scale", "wsf/odin", "--namespace", namespace, "--replicas=2")
    release.wait("two nodes", lambda: seen(release, namespace)["nodes"]["ready"] == 2, READY_SECONDS)
    told = plugin(release, namespace, "explain", "odin")
    assert "grew from 1 to 2 nodes, as spec.replicas says: spec.replicas is 2" in told
    plan = json.loads(plugin(release, namespace, "plan", "odin", "-o", "json"))["plan"]
    in_force = status_of(release, "odin", namespace)["nodeSettings"]["values"]
    assert str(plan["settings"]["maxConnections"]) == in_force["WS_MAX_CONNECTIONS"]


def test_pause_holds_the_size_and_resume_lets_it_go(release: Client, namespace: str) -> None:
    ready_fleet(release, namespace, replicas=1)
    assert "scaling is paused" in plugin(release, namespace, "pause", "odin")
    release.kubectl("scale", "wsf/odin", "--namespace", namespace, "--replicas=2")
    held = release.wait(
        "the operator to hold it", lambda: (one := seen(release, namespace))["phase"] == "Paused" and one, 40
    )
    assert held["paused"]["scaling"] is True
    assert held["nodes"]["desired"] == 1
    assert "scaling is paused by the annotation wsfleet.io/paused" in held["holds"]
    plugin(release, namespace, "resume", "odin")
    release.wait("two nodes", lambda: seen(release, namespace)["nodes"]["ready"] == 2, READY_SECONDS)
    assert seen(release, namespace)["paused"]["scaling"] is False


@pytest.mark.timeout(400)
def test_drain_replaces_a_node_and_waits_for_it(release: Client, namespace: str) -> None:
    ready_fleet(release, namespace, replicas=1)
    (old,) = seen(release, namespace)["pods"]
    told = plugin(release, namespace, "drain", "odin", old["pod"], "--wait", "--timeout", "240", seconds=260)
    lines = told.splitlines()
    assert lines[0] == f"{old['pod']}: its replacement is asked for"
    assert lines[-1] == f"{old['pod']} is gone; 1 node ready"
    (new,) = [pod for pod in seen(release, namespace)["pods"] if pod["ready"]]
    assert new["pod"] != old["pod"]
    with pytest.raises(CommandError) as refused:
        plugin(release, "kube-system", "drain", "odin", old["pod"])
    assert refused.value.code == 3


@pytest.mark.timeout(400)
def test_rebalance_spreads_clients_over_a_new_node(release: Client, namespace: str) -> None:
    address = ready_fleet(release, namespace, replicas=1)
    with returning_clients(address, 40):
        release.wait("all clients", lambda: with_connections(release, namespace, 40), 60)
        release.kubectl("scale", "wsf/odin", "--namespace", namespace, "--replicas=2")
        release.wait("two nodes", lambda: seen(release, namespace)["nodes"]["ready"] == 2, READY_SECONDS)
        told = plugin(release, namespace, "rebalance", "odin", "--wait", "--timeout", "240", seconds=260)
        lines = told.splitlines()
        assert lines[0] == "odin: a rebalance is asked for"
        most = int(re.findall(r"fullest node (\d+), mean \d+ connections", lines[-1])[0])
        assert 20 <= most <= 22


def test_kubectl_completes_by_the_plugin(release: Client, namespace: str) -> None:
    ready_fleet(release, namespace)
    offered = release.kubectl("__complete", "wsfleet", "status", "--namespace", namespace, "od")
    assert offered.splitlines()[0] == "odin"
