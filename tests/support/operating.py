"""An operator from the working tree as a process, and questions to ask of the fleets it runs."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster import Client, ClusterError

START_SECONDS = 30
STOP_SECONDS = 20
OPERATOR_LABEL = "app.kubernetes.io/name=wsfleet-operator"


@dataclass
class OperatorProcess:
    """A running `wsfleet operator`."""

    process: subprocess.Popen[bytes]
    log_file: Path
    metrics_port: int

    def log(self) -> str:
        return self.log_file.read_text()

    def metric(self, name: str) -> float:
        """The sum over all series of a metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, flags=re.MULTILINE)
        return sum(float(value) for value in found)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        self.process.kill()
        self.process.wait()


@contextmanager
def run_operator(
    cluster: Client, namespace: str, folder: Path, port: int, **variables: str
) -> Iterator[OperatorProcess]:
    """Run the operator for one namespace (empty: for those that the variables name).

    It watches when this returns, and is gone at the end.
    """
    log_file = folder / f"operator-{port}-{time.monotonic_ns()}.log"
    argv = [
        *(sys.executable, "-c", "from wsfleet.cli import main; main()", "operator"),
        *(("--namespace", namespace) if namespace else ()),
        *("--kubeconfig", str(cluster.kubeconfig)),
        *("--node-image", cluster.images["wsnode"]),
        *("--metrics-port", str(port), "--liveness", f"http://127.0.0.1:{port + 1}/healthz"),
    ]
    named = {f"WSFLEET_{name.upper()}": value for name, value in variables.items()}
    env = {**os.environ, "WSFLEET_LOG_FORMAT": "text", "PYTHONWARNINGS": "error", **named}
    with log_file.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=env)
    running = OperatorProcess(process, log_file, port)
    try:
        _wait_until_watching(running)
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        print(running.log()[-8000:])


def _wait_until_watching(running: OperatorProcess) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if running.process.poll() is not None:
            raise ClusterError(f"the operator ended:\n{running.log()}")
        if "looking after the fleets" in running.log():
            return
        time.sleep(0.1)
    raise ClusterError(f"the operator does not watch:\n{running.log()}")


@contextmanager
def no_other_operator(cluster: Client) -> Iterator[None]:
    """Operators installed in the cluster (by `make up`) stand still, and go on afterwards."""
    found = cluster.kubectl_json("get", "deployments", "--all-namespaces", "--selector", OPERATOR_LABEL)
    stopped = []
    for item in found["items"]:
        name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
        if item["spec"].get("replicas"):
            cluster.kubectl("scale", f"deployment/{name}", "--namespace", namespace, "--replicas=0")
            stopped.append((name, namespace, item["spec"]["replicas"]))
    pods = ("get", "pods", "--all-namespaces", "--selector", OPERATOR_LABEL, "-o", "name")
    cluster.wait("installed operators to stop", lambda: not cluster.kubectl(*pods).strip(), 60)
    yield
    for name, namespace, replicas in stopped:
        cluster.kubectl("scale", f"deployment/{name}", "--namespace", namespace, f"--replicas={replicas}")


def wsfleet(name: str, **spec: Any) -> dict[str, Any]:
    """A WsFleet to apply; it reads from the NATS of the quick start."""
    nats = {"url": "nats://wsfleet-nats.wsfleet-system:4222"}
    return {
        "apiVersion": "wsfleet.io/v1alpha1",
        "kind": "WsFleet",
        "metadata": {"name": name},
        "spec": {"nats": nats, **spec},
    }


def status_of(cluster: Client, name: str, namespace: str) -> dict[str, Any]:
    """The fleet's status, empty before the first."""
    fleet = cluster.kubectl_json("get", "wsfleet", name, "--namespace", namespace)
    found: dict[str, Any] = fleet.get("status") or {}
    return found


def condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    """One condition of a status, empty if it has none of the type."""
    return next((one for one in status.get("conditions", ()) if one["type"] == type_), {})


def wait_condition(
    cluster: Client, name: str, namespace: str, type_: str, value: str = "True", timeout_seconds: float = 60
) -> dict[str, Any]:
    """Wait for a condition of the present generation; the status that has it."""

    def holds() -> dict[str, Any]:
        fleet = cluster.kubectl_json("get", "wsfleet", name, "--namespace", namespace)
        status: dict[str, Any] = fleet.get("status") or {}
        found = condition(status, type_)
        current = found.get("observedGeneration") == fleet["metadata"]["generation"]
        return status if current and found.get("status") == value else {}

    return cluster.wait(f"{type_}={value} of {namespace}/{name}", holds, timeout_seconds)


def owned(cluster: Client, namespace: str) -> list[str]:
    """Everything in a namespace that a fleet owns, as kind/name."""
    kinds = "replicasets,pods,services,configmaps,secrets,poddisruptionbudgets,networkpolicies"
    label = "app.kubernetes.io/managed-by=wsfleet"
    found = cluster.kubectl_json("get", kinds, "--namespace", namespace, "--selector", label)
    return sorted(f"{item['kind']}/{item['metadata']['name']}" for item in found["items"])


def settled(cluster: Client, namespace: str, generation: int = 1) -> dict[str, Any]:
    """The status of the fleet `odin` once its operator has acted on a generation."""

    def seen() -> dict[str, Any]:
        status = status_of(cluster, "odin", namespace)
        return status if status.get("observedGeneration") == generation else {}

    return cluster.wait(f"generation {generation} to be observed", seen, 30)


def free_port() -> int:
    """A port that is free, as is the one above it, outside of the range that clients' sockets take from."""
    while True:
        port = random.randrange(20_000, 30_000, 2)
        try:
            for one in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", one))
        except OSError:
            continue
        return port
