"""What an operator does to a fleet's objects, against a real API server. No node has to run for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cluster import Client
from tests.support.operating import (
    OperatorProcess,
    condition,
    owned,
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


def test_a_fleet_becomes_objects_that_it_owns_and_no_finalizers(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    status = settled(lab, namespace)
    assert [name for name in owned(lab, namespace) if not name.startswith("ReplicaSet/")] == OBJECTS
    assert status["desiredReplicas"] == 0
    assert status["selector"] == "wsfleet.io/fleet=odin"
    fleet = lab.kubectl_json("get", "wsfleet", "odin", "--namespace", namespace)
    assert "finalizers" not in fleet["metadata"]
    assert "kopf" not in str(fleet["metadata"])
    for kind in ("service/odin", "configmap/odin-settings", "secret/odin-admin", "pdb/odin"):
        metadata = lab.kubectl_json("get", kind, "--namespace", namespace)["metadata"]
        assert metadata["ownerReferences"][0]["uid"] == fleet["metadata"]["uid"]
        assert "finalizers" not in metadata


def test_foreign_changes_are_put_back_and_foreign_fields_stay(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    settled(lab, namespace)
    where = ("--namespace", namespace)
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


def test_a_new_fleet_that_no_plan_can_be_made_of_is_not_ready(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    lab.apply(wsfleet("odin", instance={"cpu": "100m", "memory": "128Mi"}), namespace=namespace)
    status = wait_condition(lab, "odin", namespace, "Degraded")
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


def test_kubectl_scale_grows_a_fleet_without_autoscaling(lab: Client, namespace: str, start: Start) -> None:
    start()
    lab.apply(wsfleet("odin"), namespace=namespace)
    settled(lab, namespace)
    assert settled(lab, namespace)["desiredReplicas"] == 1, "a new fleet with neither runs one node"
    lab.kubectl("scale", "wsfleet", "odin", "--namespace", namespace, "--replicas=2")
    lab.wait("two nodes", lambda: status_of(lab, "odin", namespace).get("replicas") == 2)
    fleet = lab.kubectl_json("get", "wsfleet", "odin", "--namespace", namespace)
    lab.kubectl(
        *("patch", "wsfleet", "odin", "--namespace", namespace, "--type=json"),
        *("--patch", '[{"op":"remove","path":"/spec/replicas"}]'),
    )
    status = settled(lab, namespace, fleet["metadata"]["generation"] + 1)
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


def test_a_missing_credentials_secret_is_told_until_it_is_there(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    nats = {"url": "nats://nats:4222", "credentialsSecret": {"name": "nats-login"}}
    lab.apply(wsfleet("odin", replicas=0, nats=nats), namespace=namespace)
    status = wait_condition(lab, "odin", namespace, "Degraded")
    assert condition(status, "Degraded")["reason"] == "SecretMissing"
    assert "nats-login" in condition(status, "Degraded")["message"]
    lab.kubectl(
        *("create", "secret", "generic", "nats-login", "--namespace", namespace),
        "--from-literal=nats.creds=x",
    )
    wait_condition(lab, "odin", namespace, "Degraded", "False", timeout_seconds=40)


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
    assert "ipFamilyPolicy" in found["message"] or "ipFamilies" in found["message"]
    lab.wait("the other fleet", lambda: status_of(lab, "thor", namespace).get("phase") == "Running")
    time.sleep(5)
    assert operator.metric("wsfleet_reconcile_errors_total") < 8
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    wait_condition(lab, "odin", namespace, "Degraded", "False", timeout_seconds=10)


def test_an_idle_fleet_causes_at_most_one_write_a_minute(lab: Client, namespace: str, start: Start) -> None:
    operator = start(tick_seconds="1")
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    settled(lab, namespace)
    time.sleep(8)
    writes, looks = (
        operator.metric("wsfleet_api_writes"),
        operator.metric("wsfleet_reconcile_seconds_count"),
    )
    time.sleep(58)
    assert operator.metric("wsfleet_api_writes") - writes <= 1
    assert operator.metric("wsfleet_reconcile_seconds_count") - looks > 30


def test_paced_evictions_are_the_budgets_affair(lab: Client, namespace: str, start: Start) -> None:
    start()
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    settled(lab, namespace)

    def allowed() -> int:
        budget = lab.kubectl_json("get", "pdb", "odin", "--namespace", namespace)
        return int(budget["spec"]["maxUnavailable"])

    assert allowed() == 0
    lab.apply(wsfleet("odin", replicas=0, disruption={"evictions": "Paced"}), namespace=namespace)
    lab.wait("the budget", lambda: allowed() == 1)


def test_the_schema_bounds_windows_and_the_operator_names_what_it_alone_can_see(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    bad = {"maintenanceWindows": [{"cron": "61 1 * * *"}]}
    lab.apply(wsfleet("odin", replicas=0, rollout=bad), namespace=namespace)
    status = wait_condition(lab, "odin", namespace, "Degraded")
    assert condition(status, "Degraded")["reason"] == "InvalidSpec"
    assert "spec.rollout.maintenanceWindows[0].cron" in condition(status, "Degraded")["message"]
    good = {"maintenanceWindows": [{"cron": "0 1 * * 6", "timeZone": "Europe/Berlin"}]}
    lab.apply(wsfleet("odin", replicas=0, rollout=good), namespace=namespace)
    wait_condition(lab, "odin", namespace, "Degraded", "False")
