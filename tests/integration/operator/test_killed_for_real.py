"""An operator killed while real nodes start, drain and go: their clients count every message."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.addresses import MACHINE
from tests.support.checking import Checking, publisher
from tests.support.cluster import Client
from tests.support.nats import NatsServer
from tests.support.operating import (
    OperatorProcess,
    free_port,
    run_operator,
    status_of,
    wait_condition,
    wsfleet,
)
from tests.support.pod_watch import is_ready
from wsfleet.resources import names

pytestmark = pytest.mark.cluster

CLIENTS = 120
BUDGET = 30.0
"""Closes a second: a drain takes some seconds."""
HELD_BACK_SECONDS = 0.5
SPEC: dict[str, Any] = {
    "template": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}},
    "drain": {"delaySeconds": 1, "timeoutSeconds": 30},
    "reconnects": {"perSecond": BUDGET},
    # The machine is shared with the cluster and the clients; CPU is not what is tried here.
    "overrides": {"cpuRejectThreshold": 94, "cpuPauseThreshold": 99},
}


class Operators:
    """One after the other: each begins when the one before is dead."""

    def __init__(self, lab: Client, namespace: str, folder: Path, chance: random.Random) -> None:
        self._lab, self._namespace, self._folder, self._chance = lab, namespace, folder, chance
        self._stack = ExitStack()
        self._acting = self._next()

    def _next(self) -> OperatorProcess:
        run = run_operator(self._lab, self._namespace, self._folder, free_port(), tick_seconds="1")
        return self._stack.enter_context(run)

    def killed_at(self, what: str, reached: Callable[[], object]) -> None:
        """Wait for a state, kill the operator a moment later, and let the next one go on."""
        self._lab.wait(what, reached, 60)
        time.sleep(self._chance.uniform(0, HELD_BACK_SECONDS))
        self._acting.kill()
        print(f"killed: {what}")
        self._acting = self._next()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def broker(lab: Client, tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server on this machine, that pods reach."""
    if lab.places is None:
        pytest.skip("pods of another cluster may not reach this machine")
    server = NatsServer(tmp_path, "-a", "0.0.0.0").start()
    yield server
    server.stop()


@pytest.mark.timeout(400)
def test_clients_lose_nothing_whenever_it_dies(
    lab: Client, namespace: str, broker: NatsServer, tmp_path: Path
) -> None:
    seed = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    print(f"KILL_SEED={seed}")

    def change(spec: dict[str, Any]) -> None:
        patch = ("--type=merge", "--patch", json.dumps({"spec": spec}))
        lab.kubectl("patch", "wsfleet", "odin", "--namespace", namespace, *patch)

    def pods() -> dict[str, dict[str, Any]]:
        where = ("--namespace", namespace, "--selector", "wsfleet.io/fleet=odin")
        found = lab.kubectl_json("get", "pods", *where)["items"]
        return {one["metadata"]["name"]: one for one in found}

    def chosen() -> list[str]:
        return [
            name
            for name, pod in pods().items()
            if names.VICTIM_ANNOTATION in pod["metadata"].get("annotations", {})
        ]

    def at_rest(nodes: int) -> bool:
        fleet = lab.kubectl_json("get", "wsfleet", "odin", "--namespace", namespace)
        status = fleet["status"]
        present = pods()
        return (
            status.get("observedGeneration") == fleet["metadata"]["generation"]
            and status.get("phase") == "Running"
            and status.get("desiredReplicas") == nodes
            and len(present) == nodes
            and all(map(is_ready, present.values()))
        )

    with ExitStack() as stack:
        operators = Operators(lab, namespace, tmp_path, random.Random(seed))
        stack.callback(operators.close)
        nats = {"url": f"nats://{MACHINE}:{broker.port}"}
        lab.apply(wsfleet("odin", replicas=1, nats=nats, **SPEC), namespace=namespace)
        wait_condition(lab, "odin", namespace, "Ready", timeout_seconds=120)
        lab.wait("one node", lambda: at_rest(1), 60)
        stack.enter_context(publisher(broker.url, 2))
        address = lab.service_address("odin", namespace)
        checking = stack.enter_context(Checking(address, CLIENTS))
        (first,) = pods()

        change({"replicas": 2})
        operators.killed_at("another node starts", lambda: len(pods()) == 2)
        lab.wait("two nodes", lambda: at_rest(2), 90)
        assert checking.closes == 0

        change({"overrides": {"logFormat": "text"}})
        operators.killed_at("a new node starts", lambda: len(pods()) == 3)
        operators.killed_at("an old one is being emptied", lambda: chosen() and checking.closes > 0)
        lab.wait("new nodes only", lambda: first not in pods() and at_rest(2), 150)
        rolled = checking.closes
        # All were on the first node; at worst they came to the other old one, which went too.
        assert CLIENTS <= rolled <= 2 * CLIENTS
        checking.nothing_lost()

        spread = {name: checking.on(name) for name in pods()}
        change({"replicas": 1})
        victim = lab.wait("one to be chosen", chosen, 60)[0]
        there = spread[victim]
        operators.killed_at("it is being emptied", lambda: not there or checking.closes > rolled)
        lab.wait("one node", lambda: at_rest(1), 120)
        assert victim not in pods()
        checking.nothing_lost()
        assert checking.closes - rolled <= there, "each client of that node once"
        checking.paced(BUDGET)
        print(f"{checking.closes} closes; {status_of(lab, 'odin', namespace)['phase']}")
