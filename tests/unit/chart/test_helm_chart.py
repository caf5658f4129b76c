"""The chart as Helm renders it."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import build
from tests.cluster.places import default_cache
from tests.support.cluster import in_ci
from wsfleet.api import WsFleet
from wsfleet.api.crd import build_crd
from wsfleet.options import OperatorOptions
from wsfleet.resources.network import OPERATOR_APP

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm/wsfleet"


pytestmark = pytest.mark.after_build


@cache
def helm_path() -> str | None:
    """Helm as the local cluster's build left it, else one on the PATH."""
    built = build.folder(default_cache()) / "helm"
    return str(built) if built.exists() else shutil.which("helm")


def helm(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    program = helm_path()
    if program is None:
        assert not in_ci(), "no helm, although the cluster's programs were built before this"
        pytest.skip("no helm: `make up` builds one")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=check, timeout=60)


@cache
def rendered(*arguments: str, release: str = "wsfleet") -> dict[tuple[str, str], dict[str, Any]]:
    """What a release in `wsfleet-system` consists of, by kind and name."""
    text = helm("template", release, str(CHART), "--namespace", "wsfleet-system", *arguments).stdout
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


def test_lint_has_nothing_to_say() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART)).stdout


def test_what_a_plain_install_makes() -> None:
    assert set(rendered()) == {
        ("CustomResourceDefinition", "wsfleets.wsfleet.io"),
        ("ClusterRole", "wsfleet-operator-wsfleet-system-view"),
        ("ClusterRole", "wsfleet-operator-wsfleet-system-edit"),
        ("ServiceAccount", "wsfleet-operator"),
        ("ClusterRole", "wsfleet-operator-wsfleet-system"),
        ("ClusterRoleBinding", "wsfleet-operator-wsfleet-system"),
        ("Role", "wsfleet-operator-lease"),
        ("RoleBinding", "wsfleet-operator-lease"),
        ("Lease", "wsfleet-operator"),
        ("PodDisruptionBudget", "wsfleet-operator"),
        ("Deployment", "wsfleet-operator"),
    }


def test_the_crd_is_the_models_and_outlives_the_release() -> None:
    crd = rendered()["CustomResourceDefinition", "wsfleets.wsfleet.io"]
    assert crd == build_crd()
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert ("CustomResourceDefinition", "wsfleets.wsfleet.io") not in rendered("--set", "crd.install=false")


def test_the_operator_gets_just_the_rights_it_uses() -> None:
    rules = rendered()["ClusterRole", "wsfleet-operator-wsfleet-system"]["rules"]
    rights = {
        (group, resource): sorted(rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    owned = ["create", "get", "list", "patch", "watch"]
    assert rights == {
        ("wsfleet.io", "wsfleets"): ["get", "list", "watch"],
        ("wsfleet.io", "wsfleets/status"): ["patch"],
        ("wsfleet.io", "wsfleets/finalizers"): ["update"],
        ("apps", "replicasets"): ["create", "delete", "get", "list", "patch", "watch"],
        ("apps", "replicasets/scale"): ["update"],
        ("", "pods"): ["list", "patch", "watch"],
        ("", "services"): owned,
        ("", "configmaps"): owned,
        ("", "secrets"): ["create", "get", "patch"],
        ("policy", "poddisruptionbudgets"): owned,
        ("networking.k8s.io", "networkpolicies"): owned,
        ("monitoring.coreos.com", "podmonitors"): owned,
        ("monitoring.coreos.com", "prometheusrules"): owned,
        ("events.k8s.io", "events"): ["create"],
        ("", "nodes"): ["list", "watch"],
    }


def test_who_may_view_or_edit_a_namespace_may_do_so_with_its_fleets() -> None:
    rights = {}
    for of in ("view", "edit"):
        role = rendered()["ClusterRole", f"wsfleet-operator-wsfleet-system-{of}"]
        marks = {name for name, value in role["metadata"]["labels"].items() if value == "true"}
        into = sorted(mark.rpartition("-to-")[2] for mark in marks if "/aggregate-to-" in mark)
        rights[of] = into, {verb for rule in role["rules"] for verb in rule["verbs"]}
        assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {"wsfleet.io"}
    changes = {"create", "update", "patch", "delete", "deletecollection"}
    assert rights == {
        "view": (["admin", "edit", "view"], {"get", "list", "watch"}),
        "edit": (["admin", "edit"], changes),
    }


def test_the_pod_proxy_is_a_right_by_request() -> None:
    rules = rendered("--set", "rbac.podsProxy=true")["ClusterRole", "wsfleet-operator-wsfleet-system"][
        "rules"
    ]
    assert {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get", "update", "delete"]} in rules


def test_an_install_for_single_namespaces_has_rights_only_there() -> None:
    objects = rendered("--set", "watchNamespaces={games,shop}")
    kinds = sorted(
        (kind, one["metadata"].get("namespace")) for (kind, _), one in objects.items() if "Role" in kind
    )
    assert kinds == [
        ("Role", "shop"),
        ("Role", "wsfleet-system"),
        ("RoleBinding", "shop"),
        ("RoleBinding", "wsfleet-system"),
    ]
    text = helm("template", "wsfleet", str(CHART), "--set", "watchNamespaces={games,shop}").stdout
    roles = [one for one in yaml.safe_load_all(text) if one and one["kind"] == "Role"]
    assert [role["metadata"]["namespace"] for role in roles] == ["default", "games", "shop"]
    assert not [rule for role in roles for rule in role["rules"] if "nodes" in rule["resources"]]
    environment = _environment(objects["Deployment", "wsfleet-operator"])
    assert environment["WSFLEET_NAMESPACES"] == "games,shop"


def test_two_operators_share_a_lease() -> None:
    objects = rendered()
    deployment = objects["Deployment", "wsfleet-operator"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert _environment(deployment)["WSFLEET_LEASE"] == "wsfleet-operator"
    assert "spec" not in objects["Lease", "wsfleet-operator"]  # whatever it says is its holders'
    assert objects["Role", "wsfleet-operator-lease"]["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["wsfleet-operator"],
            "verbs": ["get", "update"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    ]
    assert objects["PodDisruptionBudget", "wsfleet-operator"]["spec"]["maxUnavailable"] == 1
    affinity = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    terms = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [term["podAffinityTerm"]["topologyKey"] for term in terms] == ["kubernetes.io/hostname"]


def test_a_single_operator_has_no_budget_and_an_affinity_of_ones_own_wins() -> None:
    objects = rendered("--set", "operator.replicas=1", "--set-json", 'operator.affinity={"nodeAffinity":{}}')
    deployment = objects["Deployment", "wsfleet-operator"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["template"]["spec"]["affinity"] == {"nodeAffinity": {}}
    assert ("PodDisruptionBudget", "wsfleet-operator") not in objects


def test_the_operators_pod_is_restricted() -> None:
    deployment = rendered()["Deployment", "wsfleet-operator"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = pod["containers"][0]
    assert container["command"] == ["wsfleet", "operator"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_operator_understands_its_environment() -> None:
    settings = ("operator.tickSeconds=2", "operator.rolloutsAtOnce=9", "node.image=r.example/n:1")
    deployment = rendered(*(part for one in settings for part in ("--set", one)))
    environment = _environment(deployment["Deployment", "wsfleet-operator"])
    known = {f"WSFLEET_{name.upper()}" for name in OperatorOptions.model_fields}
    assert set(environment) <= known
    options = OperatorOptions.from_env(environment)
    assert options.tick_seconds == 2
    assert options.rollouts_at_once == 9
    assert options.node_image == "r.example/n:1"
    assert options.namespaces == ()


def test_probes_and_ports_are_those_of_the_operators_defaults() -> None:
    container = rendered()["Deployment", "wsfleet-operator"]["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    options = OperatorOptions()
    assert options.liveness.endswith(f":{ports['health']}{container['livenessProbe']['httpGet']['path']}")
    assert options.metrics_port == ports["metrics"]


def test_the_networkpolicy_of_fleets_finds_the_operator_by_its_label() -> None:
    deployment = rendered(release="other")["Deployment", "other-wsfleet-operator"]
    assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == OPERATOR_APP


def test_nats_to_start_with() -> None:
    objects = rendered("--set", "nats.enabled=true", "--set", "nats.storage.size=10Gi")
    service = objects["Service", "wsfleet-nats"]
    assert service["spec"]["ports"] == [{"name": "client", "port": 4222, "targetPort": "client"}]
    deployment = objects["Deployment", "wsfleet-nats"]
    assert deployment["spec"]["replicas"] == 1
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["data"]["emptyDir"] == {"sizeLimit": "10Gi"}
    assert "max_file_store: 9663676416\n" in objects["ConfigMap", "wsfleet-nats"]["data"]["nats.conf"]
    assert not [kind for kind, _ in objects if kind in ("Secret", "PersistentVolumeClaim")]


def test_nats_on_a_volume() -> None:
    objects = rendered(
        *("--set", "nats.enabled=true", "--set", "nats.storage.persistent=true"),
        *("--set", "nats.storage.storageClassName=fast"),
    )
    claim = objects["PersistentVolumeClaim", "wsfleet-nats"]["spec"]
    assert claim["storageClassName"] == "fast"
    assert claim["resources"] == {"requests": {"storage": "1Gi"}}
    volumes = objects["Deployment", "wsfleet-nats"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "wsfleet-nats"}} in volumes


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("operator.imge=x", "imge"),
        ("nats.enabled=maybe", "nats/enabled"),
        ("nats.storage.size=1GB", "nats/storage/size"),
        ("operator.logLevel=loud", "operator/logLevel"),
        ("watchNamespaces={Not_A_Name}", "watchNamespaces"),
        ("replicas=2", "replicas"),
        ("operator.replicas=9", "operator/replicas"),
    ],
)
def test_a_wrong_value_stops_the_install(value: str, told: str) -> None:
    done = helm("template", "wsfleet", str(CHART), "--set", value, check=False)
    assert done.returncode != 0
    assert told in done.stderr


def test_every_value_is_in_the_readme_and_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    readme = (CHART / "README.md").read_text()
    for name, part in values.items():
        assert name in schema["properties"]
        for inner in part if isinstance(part, dict) else ():
            assert inner in schema["properties"][name]["properties"]
            assert f"{name}.{inner}" in readme or f"`.{inner}`" in readme, f"{name}.{inner}"


def test_chart_and_project_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{chart["version"]}"' in project
    assert chart["appVersion"] == chart["version"]


def test_the_sample_is_a_good_fleet() -> None:
    fleet = WsFleet.parse(yaml.safe_load((CHART / "samples/fleet.yaml").read_text()))
    assert fleet.metadata.name == "odin"
    assert fleet.spec.instance.type == "e2-small"
    assert fleet.spec.autoscaling is not None
    assert (fleet.spec.autoscaling.min_replicas, fleet.spec.autoscaling.max_replicas) == (1, 4)
    assert fleet.spec.nats.url == "nats://wsfleet-nats.wsfleet-system:4222"


def _environment(deployment: dict[str, Any]) -> dict[str, str]:
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return {variable["name"]: variable.get("value", "wsfleet-system") for variable in variables}
