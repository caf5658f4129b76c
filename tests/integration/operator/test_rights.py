"""The chart's rights for single namespaces are enough, and are no more than that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.cluster.release import CHART
from tests.support.cluster import Client
from tests.support.operating import free_port, owned, run_operator, settled, wsfleet

pytestmark = pytest.mark.cluster

ACCOUNT = "wsfleet-operator"


def account_of_chart(lab: Client, namespace: str, folder: Path) -> Client:
    """A client with the ServiceAccount that the chart makes for an install in one namespace."""
    rendered = lab.helm(
        *("template", "wsfleet", str(CHART), "--namespace", namespace),
        *("--set", f"watchNamespaces={{{namespace}}}", "--show-only", "templates/rbac.yaml"),
    )
    lab.kubectl("apply", "--filename", "-", input=rendered)
    token = lab.kubectl("create", "token", ACCOUNT, "--namespace", namespace).strip()
    config = yaml.safe_load(lab.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    config["users"][0]["user"] = {"token": token}
    kubeconfig = folder / "account.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    return replace(lab, kubeconfig=kubeconfig)


def test_a_namespaced_install_runs_with_the_charts_role_and_nothing_else(
    lab: Client, namespace: str, tmp_path: Path
) -> None:
    account = account_of_chart(lab, namespace, tmp_path)
    with run_operator(account, namespace, tmp_path, free_port(), admin_via_proxy="false") as operator:
        lab.apply(wsfleet("odin", replicas=1), namespace=namespace)
        assert settled(lab, namespace)["desiredReplicas"] == 1
        assert "ReplicaSet" in " ".join(owned(lab, namespace))
        events = ("events", "--namespace", namespace, "--for=wsfleet/odin")
        lab.wait("the events", lambda: "DecidedReplicas" in lab.kubectl(*events))
        lab.kubectl("scale", "wsfleet", "odin", "--namespace", namespace, "--replicas=2")
        settled(lab, namespace, 2)
        log = operator.log()
    assert "forbidden" not in log.lower()
    assert "Kubernetes nodes may not be read here" in log
    assert not allowed(account, "list", "secrets", namespace)
    assert not allowed(account, "get", "pods", "kube-system")
    assert not allowed(account, "update", "wsfleets", namespace)


def test_a_namespace_that_may_not_be_read_keeps_no_other_waiting(
    lab: Client, namespace: str, tmp_path: Path
) -> None:
    account = account_of_chart(lab, namespace, tmp_path)
    # As after the deletion of a namespace that the release still names: its Role is gone with it.
    names = {"namespaces": f"{namespace},default", "admin_via_proxy": "false"}
    with run_operator(account, "", tmp_path, free_port(), **names) as operator:
        lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
        assert settled(lab, namespace)["phase"] == "Running"
        assert "forbidden" in operator.log()
        assert operator.process.poll() is None


def test_the_watches_of_many_namespaces_leave_room_for_calls(
    lab: Client, namespace: str, tmp_path: Path
) -> None:
    many = ",".join([namespace, *(f"wsf-absent-{number}" for number in range(20))])
    with run_operator(lab, "", tmp_path, free_port(), namespaces=many):
        lab.apply(wsfleet("odin", replicas=0), namespace=namespace)
        assert settled(lab, namespace)["phase"] == "Running"


def allowed(account: Client, verb: str, resource: str, namespace: str) -> bool:
    answer = account.kubectl("auth", "can-i", verb, resource, "--namespace", namespace, check=False)
    return answer.strip() == "yes"
