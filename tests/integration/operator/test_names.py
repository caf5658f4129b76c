"""Names that somebody else has, fleets that come again, and the Secret that nobody may watch."""

from __future__ import annotations

import base64
import json
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

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "odin", "labels": {"app": "shop"}},
    "spec": {"selector": {"app": "shop"}, "ports": [{"port": 8080}]},
}


def get(lab: Client, namespace: str, what: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.kubectl_json("get", what, "--namespace", namespace)
    return found


def test_a_service_of_somebody_else_is_left_alone_and_the_fleet_says_so(
    lab: Client, namespace: str, start: Start
) -> None:
    operator = start()
    lab.apply(SERVICE, namespace=namespace)
    before = get(lab, namespace, "service/odin")
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    found = condition(wait_condition(lab, "odin", namespace, "Degraded"), "Degraded")
    assert found["reason"] == "NameTaken"
    assert found["message"].startswith("Service/odin is not the operator's and is left alone")
    assert owned(lab, namespace) == [], "nothing is made for a fleet that can't be whole"
    writes = operator.metric("wsfleet_api_writes")
    time.sleep(6)
    assert operator.metric("wsfleet_api_writes") - writes <= 1
    assert get(lab, namespace, "service/odin") == before
    lab.kubectl("delete", "service", "odin", "--namespace", namespace)
    wait_condition(lab, "odin", namespace, "Stalled", "False", timeout_seconds=30)
    assert "Service/odin" in owned(lab, namespace)


@pytest.mark.parametrize("kind", ["Secret", "ReplicaSet"])
def test_pods_are_made_of_no_foreign_secret_and_into_no_foreign_set(
    lab: Client, namespace: str, start: Start, kind: str
) -> None:
    start()
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    shape = settled(lab, namespace)["shape"]
    lab.kubectl("delete", "wsfleet", "odin", "--namespace", namespace)
    lab.wait("nothing to be left", lambda: owned(lab, namespace) == [], 60)
    if kind == "Secret":
        name = "odin-admin"
        lab.kubectl("create", "secret", "generic", name, "--from-literal=tokens=x", "--namespace", namespace)
    else:
        name = f"odin-{shape}"
        pod = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": pod}
        foreign = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        lab.apply(foreign, namespace=namespace)
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    found = condition(wait_condition(lab, "odin", namespace, "Degraded"), "Degraded")
    assert (found["reason"], found["message"].split(" ")[0]) == ("NameTaken", f"{kind}/{name}")
    assert not [one for one in owned(lab, namespace) if one.startswith("Pod/")]


def test_a_fleet_that_comes_again_at_once_waits_quietly_for_the_old_ones_objects(
    lab: Client, namespace: str, start: Start
) -> None:
    operator = start()
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    settled(lab, namespace)
    old_token = get(lab, namespace, "secret/odin-admin")["data"]["tokens"]
    uid = get(lab, namespace, "wsfleet/odin")["metadata"]["uid"]
    # As a slow garbage collector: the Service stays for a while.
    hold = '{"metadata":{"finalizers":["example.com/hold"]}}'
    lab.kubectl("patch", "service", "odin", "--namespace", namespace, "--type=merge", "--patch", hold)
    lab.kubectl("delete", "wsfleet", "odin", "--namespace", namespace)
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    time.sleep(5)
    assert status_of(lab, "odin", namespace) == {}, "not a word of trouble"
    assert "422" not in operator.log()
    release = '{"metadata":{"finalizers":null}}'
    lab.kubectl("patch", "service", "odin", "--namespace", namespace, "--type=merge", "--patch", release)
    status = settled(lab, namespace)
    assert condition(status, "Degraded")["status"] == "False"
    for what in ("service/odin", "secret/odin-admin", "configmap/odin-settings", "pdb/odin"):
        (owner,) = get(lab, namespace, what)["metadata"]["ownerReferences"]
        assert owner["uid"] != uid
    assert get(lab, namespace, "secret/odin-admin")["data"]["tokens"] != old_token


def test_what_an_orphaning_delete_left_is_taken_over_and_goes_with_the_fleet(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    settled(lab, namespace)
    pods = ("get", "pods", "--namespace", namespace, "-o", "name")
    before = lab.wait("the pod", lambda: lab.kubectl(*pods))
    lab.kubectl("delete", "wsfleet", "odin", "--namespace", namespace, "--cascade=orphan")
    lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
    settled(lab, namespace)
    uid = get(lab, namespace, "wsfleet/odin")["metadata"]["uid"]

    def all_ours() -> bool:
        kinds = "replicasets,services,configmaps,secrets,poddisruptionbudgets,networkpolicies"
        label = "wsfleet.io/fleet=odin"
        found = lab.kubectl_json("get", kinds, "--namespace", namespace, "--selector", label)["items"]
        owners = [[one["uid"] for one in item["metadata"].get("ownerReferences", ())] for item in found]
        return len(found) == 6 and all(one == [uid] for one in owners)

    lab.wait("all to be this fleet's", all_ours, 20)
    assert lab.kubectl(*pods) == before
    lab.kubectl("delete", "wsfleet", "odin", "--namespace", namespace)
    lab.wait("nothing to be left", lambda: owned(lab, namespace) == [], 60)


def test_a_deleted_token_is_made_anew_while_pods_wait_for_it(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    settled(lab, namespace)
    lab.kubectl("delete", "secret", "odin-admin", "--namespace", namespace)
    lab.kubectl("scale", "wsfleet", "odin", "--namespace", namespace, "--replicas=1")
    lab.wait("the Secret", lambda: "Secret/odin-admin" in owned(lab, namespace), 40)


def test_a_token_that_the_user_has_put_first_is_used_and_stays(
    lab: Client, namespace: str, start: Start
) -> None:
    start()
    lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
    settled(lab, namespace)
    tokens = base64.b64encode(b"newer\nolder\n").decode()
    patch = json.dumps({"data": {"tokens": tokens}})
    lab.kubectl("patch", "secret", "odin-admin", "--namespace", namespace, "--type=merge", "--patch", patch)
    lab.kubectl("scale", "wsfleet", "odin", "--namespace", namespace, "--replicas=1")
    time.sleep(3)
    assert get(lab, namespace, "secret/odin-admin")["data"]["tokens"] == tokens
