"""A fleet's life on a real cluster: from `helm install` to nothing left behind."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Collection
from typing import Any

import pytest

from tests.support.cluster import Client, CommandError, new_namespace
from tests.support.operating import condition, owned, status_of, wait_condition, wsfleet
from tests.support.release import operator_away, operator_log
from tests.support.wsfleet_clients import clients, open_client, publish

QUICK_DRAIN = {"delaySeconds": 2, "timeoutSeconds": 20}
READY_SECONDS = 90
SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
"""The cluster under test is one small machine, and may hold the fleet of `make up` too."""


def ready_fleet(release: Client, namespace: str, **spec: Any) -> str:
    """A fleet `odin` with all its nodes ready; the address of its Service."""
    document = wsfleet("odin", drain=QUICK_DRAIN, template=SMALL, **spec)
    release.apply(document, namespace=namespace)
    wait_condition(release, "odin", namespace, "Ready", timeout_seconds=READY_SECONDS)
    return release.service_address("odin", namespace)


def pods(release: Client, namespace: str) -> dict[str, dict[str, Any]]:
    """The fleet's pods that are not on their way out, by name."""
    found = release.kubectl_json(
        "get", "pods", "--namespace", namespace, "--selector", "wsfleet.io/fleet=odin"
    )
    return {
        pod["metadata"]["name"]: pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]
    }


def change(release: Client, namespace: str, spec: dict[str, Any]) -> int:
    """Merge a change into the fleet's spec; its new generation."""
    patch = json.dumps({"spec": spec})
    answer = release.kubectl(
        *("patch", "wsfleet", "odin", "--namespace", namespace, "--type=merge", "-o", "json"),
        *("--patch", patch),
    )
    generation: int = json.loads(answer)["metadata"]["generation"]
    return generation


def wait_routed(address: str, nodes: Collection[str], seconds: float = 20) -> None:
    """Until new connections reach all these nodes: routes come a moment after readiness."""
    end, seen = time.monotonic() + seconds, set[str]()
    while not seen >= set(nodes):
        assert time.monotonic() < end, f"only {seen} of {nodes} get clients"
        client = open_client(address)
        seen.add(client.node)
        client.close()


def test_a_message_goes_from_nats_to_a_client_through_the_service(release: Client, namespace: str) -> None:
    address = ready_fleet(release, namespace)
    with clients(address, 1) as (client,):
        assert client.node in pods(release, namespace)
        client.subscribe("BTC.trade")
        publish(release, "BTC.trade", {"price": 42})
        message = client.next_of("price:update")
        assert message["channel"] == "BTC.trade"
        assert message["data"] == {"price": 42}
        told = release.wait(
            "the connection to be told",
            lambda: (found := status_of(release, "odin", namespace)).get("connections") == 1 and found,
            40,
        )
    assert condition(told, "FeedConnected")["status"] == "True"
    assert told["capacity"] == 10_000
    assert told["phase"] == "Running"
    assert told["nodeSettings"]["inForce"] == 1
    shown = release.kubectl("get", "wsfleet", "odin", "--namespace", namespace)
    assert "Running" in shown


@pytest.mark.parametrize(
    ("name", "spec", "path"),
    [
        ("odin", {"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, "spec.autoscaling.minReplicas"),
        ("odin", {"overrides": {"maxConnection": 5}}, "spec.overrides.maxConnection"),
        ("odin", {"overrides": {"maxConnections": 0}}, "spec.overrides.maxConnections"),
        ("o" * 48, {}, "metadata.name"),
    ],
)
def test_a_bad_fleet_is_refused_by_kubectl_apply_with_the_fields_path(
    release: Client, namespace: str, name: str, spec: dict[str, Any], path: str
) -> None:
    document = json.dumps(wsfleet(name, **spec))
    with pytest.raises(CommandError) as refused:
        release.kubectl("apply", "--namespace", namespace, "--filename", "-", input=document)
    assert path in refused.value.stderr


def test_a_deleted_fleet_leaves_nothing_behind(release: Client, namespace: str) -> None:
    ready_fleet(release, namespace)
    release.kubectl("delete", "wsfleet", "odin", "--namespace", namespace, "--timeout=30s")
    release.wait("nothing to be left", lambda: owned(release, namespace) == [], 60)


def test_fleet_and_namespace_go_also_without_an_operator(release: Client) -> None:
    name = new_namespace(release)
    ready_fleet(release, name)
    with operator_away(release):
        release.kubectl("delete", "wsfleet", "odin", "--namespace", name, "--timeout=30s")
        release.wait("nothing to be left", lambda: owned(release, name) == [], 60)
        release.kubectl("delete", "namespace", name, "--timeout=60s")


def test_a_namespace_with_a_running_fleet_goes_without_an_operator(release: Client) -> None:
    name = new_namespace(release)
    # Of a small node: the namespace controller looks again after half of its grace period.
    ready_fleet(release, name, overrides={"maxConnections": 100})
    with operator_away(release):
        release.kubectl("delete", "namespace", name, "--timeout=120s")


def test_a_changed_live_setting_reaches_all_nodes_and_closes_no_connection(
    release: Client, namespace: str
) -> None:
    address = ready_fleet(release, namespace, replicas=2)
    before = pods(release, namespace)
    with clients(address, 6) as connected:
        generation = change(release, namespace, {"overrides": {"maxConnections": 9000}})
        began = time.monotonic()

        def in_force() -> bool:
            status = status_of(release, "odin", namespace)
            settings = status.get("nodeSettings", {})
            changed = settings.get("values", {}).get("WS_MAX_CONNECTIONS") == "9000"
            return status.get("observedGeneration") == generation and changed and settings["inForce"] == 2

        release.wait("the setting to be in force on both nodes", in_force, 60)
        print(f"in force on all nodes after {time.monotonic() - began:.1f} s")
        assert all(client.alive() for client in connected)
    assert pods(release, namespace).keys() == before.keys()
    release.wait("the capacity", lambda: status_of(release, "odin", namespace)["capacity"] == 18_000, 40)


@pytest.mark.timeout(400)
def test_kubectl_scale_brings_a_node_up_and_down_by_draining_it(release: Client, namespace: str) -> None:
    address = ready_fleet(release, namespace)
    scale = ("scale", "wsfleet", "odin", "--namespace", namespace)
    release.kubectl(*scale, "--replicas=2")
    release.wait(
        "two ready nodes",
        lambda: status_of(release, "odin", namespace).get("readyReplicas") == 2,
        READY_SECONDS,
    )
    wait_routed(address, pods(release, namespace).keys())
    with clients(address, 12) as connected:
        assert {client.node for client in connected} == pods(release, namespace).keys()
        release.kubectl(*scale, "--replicas=1")
        release.wait("one node", lambda: len(pods(release, namespace)) == 1, 120)
        (left,) = pods(release, namespace)
        moved = [client for client in connected if client.node != left]
        assert moved, "the node that is left had all clients"
        for client in moved:
            code, reason = client.wait_closed(5)
            assert code == 1012
            assert reason.startswith("reconnect;after=")
        assert all(client.alive() for client in connected if client.node == left)
        again = open_client(address)
        assert again.node == left
        again.close()
    release.wait(
        "the fleet at rest",
        lambda: status_of(release, "odin", namespace).get("phase") == "Running",
        40,
    )


@pytest.mark.timeout(400)
def test_tokens_are_exchanged_while_the_fleet_runs(release: Client, namespace: str) -> None:
    ready_fleet(release, namespace, replicas=2)
    where = ("--namespace", namespace)
    secret = release.kubectl_json("get", "secret", "odin-admin", *where)
    old = base64.b64decode(secret["data"]["tokens"]).decode()

    def write(tokens: str) -> None:
        data = {"data": {"tokens": base64.b64encode(tokens.encode()).decode()}}
        release.kubectl("patch", "secret", "odin-admin", *where, "--type=merge", "--patch", json.dumps(data))

    def down_to(nodes: int) -> None:
        release.kubectl("scale", "wsfleet", "odin", *where, f"--replicas={nodes}")
        release.wait(f"{nodes} nodes", lambda: len(pods(release, namespace)) == nodes, 150)
        log = operator_log(release)
        assert f"{namespace}/odin: PUT /drain" in log

    write(f"a-new-token-of-the-user\n{old}")
    before = pods(release, namespace)
    down_to(1)  # with either token: both are valid
    stays = set(pods(release, namespace))
    assert stays < set(before)
    write("a-new-token-of-the-user\n")
    release.kubectl("scale", "wsfleet", "odin", *where, "--replicas=2")
    release.wait("two nodes", lambda: len(pods(release, namespace)) == 2, 60)
    wait_condition(release, "odin", namespace, "Ready", timeout_seconds=READY_SECONDS)
    assert stays < set(pods(release, namespace)), "nothing was restarted for it"
    down_to(1)


@pytest.mark.timeout(400)
def test_a_stream_that_is_there_is_not_changed_and_the_fleet_says_how_to(
    release: Client, namespace: str
) -> None:
    ready_fleet(release, namespace)
    change(release, namespace, {"nats": {"stream": {"maxAge": "45s"}}})
    status = wait_condition(release, "odin", namespace, "StreamDiffers", timeout_seconds=180)
    message = condition(status, "StreamDiffers")["message"]
    assert "maxAge is 30 s, not 45 s" in message
    assert message.endswith(" -- wsnode stream apply")
    assert condition(status, "FeedConnected")["status"] == "True"


def test_a_fleet_for_which_no_machine_is_large_enough_says_which_number_to_change(
    release: Client, namespace: str
) -> None:
    large = wsfleet("odin", instance={"cpu": "1000", "memory": "900Gi"})
    release.apply(large, namespace=namespace)
    found = condition(wait_condition(release, "odin", namespace, "Degraded"), "Degraded")
    assert found["reason"] == "NoMachineFits"
    assert "lower spec.template.resources.requests" in found["message"]


class Knocker:
    """Opens a connection again and again, as clients do that come new, and notes who did not get in."""

    def __init__(self, address: str) -> None:
        self.served: set[str] = set()
        self.failures: list[str] = []
        self.tries = 0
        self._address = address
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Knocker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(0.2):
            self.tries += 1
            try:
                client = open_client(self._address, 5.0)
                self.served.add(client.node)
                client.close()
            except Exception as exc:  # whatever kept a client out counts
                self.failures.append(f"{type(exc).__name__}: {exc}")


@pytest.mark.timeout(400)
def test_a_rollout_by_a_changed_fixed_setting_keeps_a_fleet_of_one_serving(
    release: Client, namespace: str
) -> None:
    address = ready_fleet(release, namespace)
    (old,) = pods(release, namespace)
    with clients(address, 3) as connected, Knocker(address) as knocker:
        generation = change(release, namespace, {"overrides": {"logFormat": "text"}})

        def rolled_out() -> bool:
            status = status_of(release, "odin", namespace)
            present = pods(release, namespace)
            return (
                status.get("observedGeneration") == generation
                and status.get("phase") == "Running"
                and len(present) == 1
                and old not in present
            )

        release.wait("the rollout", rolled_out, 180)
        for client in connected:
            code, reason = client.wait_closed(5)
            assert (code, reason[:16]) == (1012, "reconnect;after=")
    (new,) = pods(release, namespace)
    assert knocker.served == {old, new}
    assert knocker.failures == [], f"of {knocker.tries} tries"
    status = status_of(release, "odin", namespace)
    assert status["provenShape"] == status["shape"]


def test_the_chart_gives_the_operator_all_rights_that_it_uses(release: Client) -> None:
    log = operator_log(release)
    assert "forbidden" not in log.lower()
    assert "Traceback" not in log
