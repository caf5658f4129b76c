"""What an operator does to a fleet's objects, against a real API server. No node has to run for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.operator.conftest import SharedOperator
from tests.support.cluster import Client
from tests.support.operating import (
    OperatorProcess,
    condition,
    free_port,
    owned,
    run_operator,
    settled,
    status_of,
    wait_condition,
    wsfleet,
)

pytestmark = pytest.mark.cluster

Start = Callable[..., OperatorProcess]

OBJECTS = [
    "ConfigMap/odin-settings",
    "NetworkPolicy/odin",
    "PodDisruptionBudget/odin",
    "Secret/odin-admin",
    "Service/odin",
]


REST_SECONDS = 8.0


@dataclass
class Idle:
    """A fleet that nobody touches, and what its operator had done when it came to rest."""

    operator: OperatorProcess
    at_rest: threading.Timer
    since: float = 0.0
    writes: float = 0.0
    looks: float = 0.0

    def note(self) -> None:
        self.since = time.monotonic()
        self.writes = self.operator.metric("wsfleet_api_writes")
        self.looks = self.operator.metric("wsfleet_reconcile_seconds_count")


@pytest.fixture(scope="module", autouse=True)
def idle(lab: Client, module_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idle]:
    """Begins before all tests, so that the minutes it is watched for are theirs."""
    folder = tmp_path_factory.mktemp("idle")
    with run_operator(lab, module_namespace, folder, free_port(), tick_seconds="1") as operator:
        lab.apply(wsfleet("odin", replicas=0), namespace=module_namespace)
        settled(lab, module_namespace)
        watched = Idle(operator, threading.Timer(REST_SECONDS, lambda: watched.note()))
        watched.at_rest.start()
        yield watched
        watched.at_rest.join()


@pytest.fixture(scope="module", autouse=True)
def without_credentials(lab: Client, shared: SharedOperator) -> tuple[str, dict[str, Any]]:
    """A fleet whose credentials came late: its namespace, and its status before they did."""
    namespace = shared.take()
    nats = {"url": "nats://nats:4222", "credentialsSecret": {"name": "nats-login"}}
    lab.apply(wsfleet("odin", replicas=0, nats=nats), namespace=namespace)
    status = wait_condition(lab, "odin", namespace, "Degraded")
    made = ("create", "secret", "generic", "nats-login", "--from-literal=nats.creds=x")
    lab.kubectl(*made, "--namespace", namespace)
    return namespace, status


def test_a_fleet_becomes_objects_that_it_owns_and_no_finalizers(lab: Client, served: str) -> None:
    lab.apply(wsfleet("odin", replicas=0), namespace=served)
    status = settled(lab, served)
    assert [name for name in owned(lab, served) if not name.startswith("ReplicaSet/")] == OBJECTS
    assert status["desiredReplicas"] == 0
    assert status["selector"] == "wsfleet.io/fleet=odin"
    fleet = lab.kubectl_json("get", "wsfleet", "odin", "--namespace", served)
    assert "finalizers" not in fleet["metadata"]
    assert "kopf" not in str(fleet["metadata"])
    for kind in ("service/odin", "configmap/odin-settings", "secret/odin-admin", "pdb/odin"):
        metadata = lab.kubectl_json("get", kind, "--namespace", served)["metadata"]
        assert metadata["ownerReferences"][0]["uid"] == fleet["metadata"]["uid"]
        assert "finalizers" not in metadata


def test_foreign_changes_are_put_back_and_foreign_fields_stay(lab: Client, served: str) -> None:
    lab.apply(wsfleet("odin", replicas=0), namespace=served)
    settled(lab, served)
    where = ("--namespace", served)
    change = '{"metadata":{"labels":{"team":"games"}},"spec":{"selector":{"wsfleet.io/serving":"no"}}}'
    lab.kubectl("patch", "service", "odin", *where, "--type=merge", "--patch", change)
    lab.kubectl("delete", "configmap", "odin-settings", *where)
    lab.kubectl("patch", "pdb", "odin", *where, "--type=merge", "--patch", '{"spec":{"maxUnavailable":1}}')

    def put_back() -> bool:
        service = lab.kubectl_json("get", "service", "odin", *where)
        budget = lab.kubectl_json("get", "pdb", "odin", *where)
        settings = lab.kubectl_json("get", "configmap", "odin-settings", *where)
        return (
            service["spec"]["selector"]["wsfleet.io/serving"] == "true"
            and service["metadata"]["labels"]["team"] == "games"
            and budget["spec"]["maxUnavailable"] == 0
            and "WS_MAX_CONNECTIONS=10000" in settings["data"]["settings.env"]
        )

    assert lab.wait("the changes to be put back", put_back, 20)


def writes_in(operator: OperatorProcess, seconds: float) -> float:
    """How many writes to the API server the operator makes in that time."""
    before = operator.metric("wsfleet_api_writes")
    time.sleep(seconds)
    return operator.metric("wsfleet_api_writes") - before


def test_a_new_fleet_that_no_plan_can_be_made_of_is_not_ready(lab: Client, served: str) -> None:
    lab.apply(wsfleet("odin", instance={"cpu": "100m", "memory": "128Mi"}), namespace=served)
    status = wait_condition(lab, "odin", served, "Degraded")
    ready = condition(status, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "SizingFailed")
    assert "instance.reserved.cpu" in ready["message"]


def test_a_spec_that_no_plan_can_be_made_of_is_told_and_touches_no_pod(
    lab: Client, namespace: str, start: Start
) -> None:
    operator = start()
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    settled(lab, namespace)
    pods = ("get", "pods", "--namespace", namespace, "-o", "name")
    before = lab.wait("the pod", lambda: lab.kubectl(*pods))
    tiny = {"cpu": "100m", "memory": "128Mi"}
    lab.apply(wsfleet("odin", replicas=1, instance=tiny), namespace=namespace)
    status = wait_condition(lab, "odin", namespace, "Degraded")
    assert condition(status, "Degraded")["reason"] == "SizingFailed"
    assert "instance.reserved.cpu" in condition(status, "Degraded")["message"]
    assert condition(status, "Stalled")["status"] == "True"
    assert status["phase"] == "Degraded"
    events = lab.wait(
        "the event", lambda: lab.kubectl("events", "--namespace", namespace, "--for=wsfleet/odin")
    )
    assert "SizingFailed" in events
    # What the pod still does on its way to Ready is told too; a hot loop would never pause.
    quiet = (writes_in(operator, 6.0) <= 1 for _ in range(5))
    assert any(quiet), "nothing is retried in a hot loop"
    assert lab.kubectl(*pods) == before
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    wait_condition(lab, "odin", namespace, "Stalled", "False")


def test_kubectl_scale_grows_a_fleet_without_autoscaling(lab: Client, served: str) -> None:
    lab.apply(wsfleet("odin"), namespace=served)
    settled(lab, served)
    assert settled(lab, served)["desiredReplicas"] == 1, "a new fleet with neither runs one node"
    lab.kubectl("scale", "wsfleet", "odin", "--namespace", served, "--replicas=2")
    lab.wait("two nodes", lambda: status_of(lab, "odin", served).get("replicas") == 2)
    fleet = lab.kubectl_json("get", "wsfleet", "odin", "--namespace", served)
    lab.kubectl(
        *("patch", "wsfleet", "odin", "--namespace", served, "--type=json"),
        *("--patch", '[{"op":"remove","path":"/spec/replicas"}]'),
    )
    status = settled(lab, served, fleet["metadata"]["generation"] + 1)
    assert status["desiredReplicas"] == 2, "an old one holds its size"


def test_a_killed_operator_goes_on_where_it_was(lab: Client, namespace: str, start: Start) -> None:
    first = start()
    scaling = {"minReplicas": 2, "maxReplicas": 3}
    lab.apply(wsfleet("odin", autoscaling=scaling), namespace=namespace)
    lab.wait("two nodes", lambda: status_of(lab, "odin", namespace).get("replicas") == 2)
    before = lab.wait("the decision", lambda: status_of(lab, "odin", namespace).get("scaling"))
    first.kill()
    second = start()
    time.sleep(6)
    status = status_of(lab, "odin", namespace)
    assert status["scaling"] == before
    assert status["desiredReplicas"] == 2
    assert "resize" not in second.log()
    assert "applying" not in second.log()
    assert second.stop() == 0


def test_a_fleet_can_be_deleted_when_its_operator_is_gone(lab: Client, namespace: str, start: Start) -> None:
    operator = start()
    lab.apply(wsfleet("odin"), namespace=namespace)
    settled(lab, namespace)
    operator.kill()
    lab.kubectl("delete", "wsfleet", "odin", "--namespace", namespace, "--timeout=20s")
    lab.wait("nothing to be left", lambda: owned(lab, namespace) == [], 60)


def test_a_failing_look_is_shown_retried_with_pauses_and_no_other_fleets_business(
    lab: Client, namespace: str, start: Start
) -> None:
    operator = start()
    dual_stack = {"ipFamilyPolicy": "RequireDualStack"}  # which a cluster of one IP family refuses
    lab.apply(wsfleet("odin", replicas=0, service=dual_stack), namespace=namespace)
    lab.apply(wsfleet("thor", replicas=0), namespace=namespace)

    def told() -> dict[str, Any]:
        found = condition(status_of(lab, "odin", namespace), "Degraded")
        return found if found.get("status") == "True" else {}

    found = lab.wait("the failure to be told", told)
    assert found["reason"] == "ObjectNotWritten"
    assert "Service/odin" in found["message"]
    assert "ipFamilyPolicy" in found["message"] or "ipFamilies" in found["message"]
    lab.wait("the other fleet", lambda: status_of(lab, "thor", namespace).get("phase") == "Running")
    time.sleep(5)
    assert operator.metric("wsfleet_reconcile_errors_total") < 8
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    wait_condition(lab, "odin", namespace, "Degraded", "False", timeout_seconds=10)


def test_paced_evictions_are_the_budgets_affair(lab: Client, served: str) -> None:
    lab.apply(wsfleet("odin", replicas=0), namespace=served)
    settled(lab, served)

    def allowed() -> int:
        budget = lab.kubectl_json("get", "pdb", "odin", "--namespace", served)
        return int(budget["spec"]["maxUnavailable"])

    assert allowed() == 0
    lab.apply(wsfleet("odin", replicas=0, disruption={"evictions": "Paced"}), namespace=served)
    lab.wait("the budget", lambda: allowed() == 1)


def test_the_schema_bounds_windows_and_the_operator_names_what_it_alone_can_see(
    lab: Client, served: str
) -> None:
    bad = {"maintenanceWindows": [{"cron": "61 1 * * *"}]}
    lab.apply(wsfleet("odin", replicas=0, rollout=bad), namespace=served)
    status = wait_condition(lab, "odin", served, "Degraded")
    assert condition(status, "Degraded")["reason"] == "InvalidSpec"
    assert "spec.rollout.maintenanceWindows[0].cron" in condition(status, "Degraded")["message"]
    good = {"maintenanceWindows": [{"cron": "0 1 * * 6", "timeZone": "Europe/Berlin"}]}
    lab.apply(wsfleet("odin", replicas=0, rollout=good), namespace=served)
    wait_condition(lab, "odin", served, "Degraded", "False")


def test_a_missing_credentials_secret_is_told_until_it_is_there(
    lab: Client, without_credentials: tuple[str, dict[str, Any]]
) -> None:
    namespace, before = without_credentials
    assert condition(before, "Degraded")["reason"] == "SecretMissing"
    assert "nats-login" in condition(before, "Degraded")["message"]
    wait_condition(lab, "odin", namespace, "Degraded", "False", timeout_seconds=60)


def test_an_idle_fleet_causes_at_most_one_write_a_minute(idle: Idle) -> None:
    idle.at_rest.join()
    seconds = max(58.0, time.monotonic() - idle.since)
    time.sleep(idle.since + seconds - time.monotonic())
    writes = idle.operator.metric("wsfleet_api_writes") - idle.writes
    print(f"{writes:.0f} writes in {seconds:.0f} s")
    assert writes <= 1 + seconds // 60
    assert idle.operator.metric("wsfleet_reconcile_seconds_count") - idle.looks > seconds / 3
