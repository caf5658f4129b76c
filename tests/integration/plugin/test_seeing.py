"""status, top, explain and plan: what they show, and what they say when something is in the way."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.integration.plugin.conftest import Run
from tests.support.kube_api import KubeApi
from tests.support.seen_fleets import seen_fleet, seen_pod


def test_status_asks_each_node_through_the_api_server(api: KubeApi, run: Run) -> None:
    code, out, err = run("status", "odin")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:3] == [
        "odin  namespace games  Running",
        "nodes          2 of 2 ready",
        "connections    8,123 of 20,000 (41 %)",
    ]
    assert lines[-2:] == [
        "odin-6f7d9c8b5d-aaaaa  new    machine-1  4,000/10,000  12 %  yes      serving  60m",
        "odin-6f7d9c8b5d-bbbbb  new    machine-1  4,123/10,000  12 %  yes      serving  60m",
    ]
    proxied = "/api/v1/namespaces/games/pods/odin-6f7d9c8b5d-aaaaa:9102/proxy/status"
    assert ("GET", proxied, None) in api.heard


def test_status_as_json_has_the_same_fields_whatever_is_missing(api: KubeApi, run: Run) -> None:
    whole = json.loads(run("status", "odin", "-o", "json")[1])
    assert [pod["connections"] for pod in whole["pods"]] == [4000, 4123]
    del api.fleet("odin")["status"]
    api.pods = []
    bare = json.loads(run("status", "odin", "-o", "json")[1])
    assert bare.keys() == whole.keys()
    assert (bare["phase"], bare["pods"]) == (None, [])


@pytest.mark.parametrize(
    "answer", [500, "not JSON", "[1, 2", '{"connections": NaN}', '{"connections": {"current": -1}}']
)
def test_a_node_that_answers_oddly_costs_its_own_figures_only(
    api: KubeApi, run: Run, answer: int | str
) -> None:
    api.nodes["odin-6f7d9c8b5d-bbbbb"] = answer
    code, out, _ = run("status", "odin", "-o", "json")
    assert code == 0
    pods = json.loads(out)["pods"]
    assert [pod["connections"] for pod in pods] == [4000, None]
    assert [pod["ready"] for pod in pods] == [True, True]


def test_a_node_that_hangs_does_not_hold_the_others_up(api: KubeApi, run: Run) -> None:
    api.silent = {"odin-6f7d9c8b5d-bbbbb"}
    code, out, _ = run("status", "odin", "-o", "json")
    told = json.loads(out)
    assert code == 0
    assert [pod["connections"] for pod in told["pods"]] == [4000, None]
    assert told["pods"][1]["silence"]
    assert told["remarks"] == [f"no figures from 1 node; odin-6f7d9c8b5d-bbbbb: {told['pods'][1]['silence']}"]


def test_pods_that_only_wear_the_fleets_label_are_not_its_nodes(api: KubeApi, run: Run) -> None:
    stranger = seen_pod("ccccc")
    stranger["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "x", "controller": True}]
    lone = seen_pod("ddddd")
    del lone["metadata"]["ownerReferences"]
    api.pods += [stranger, lone]
    assert len(json.loads(run("status", "odin", "-o", "json")[1])["pods"]) == 2


def test_all_fleets_of_a_namespace_and_of_all(api: KubeApi, run: Run) -> None:
    far = seen_fleet("thor")
    far["metadata"]["namespace"] = "arena"
    api.fleets.append(far)
    assert [line.split()[0] for line in run("status")[1].splitlines()[2:]] == ["odin"]
    everywhere = run("status", "-A")[1].splitlines()[2:]
    assert [line.split()[0] for line in everywhere] == ["arena/thor", "games/odin"]
    assert run("status", "-n", "nowhere")[::2] == (0, "no fleets here; -A looks in all namespaces\n")
    named = json.loads(run("status", "-A", "-o", "json")[1])["fleets"]
    assert [one["name"] for one in named] == ["thor", "odin"]
    assert run("status", "thor", "--context", "elsewhere")[0] == 0, "the context's own namespace"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("odni", "no fleet odni in namespace games; did you mean odin?"),
        ("thor", "no fleet thor in namespace games; there is one in namespace arena (-n)"),
        ("freya", "no fleet freya in namespace games; there is odin"),
    ],
)
def test_a_wrong_name_is_told_with_what_may_be_meant(api: KubeApi, run: Run, name: str, said: str) -> None:
    far = seen_fleet("thor")
    far["metadata"]["namespace"] = "arena"
    api.fleets.append(far)
    for command in (["status"], ["explain"], ["plan"], ["top", "--once"], ["pause"], ["rebalance"]):
        assert run(command[0], name, *command[1:]) == (3, "", f"wsfleet: {said}\n")
    assert run("drain", name, "a-pod") == (3, "", f"wsfleet: {said}\n")


def test_a_cluster_without_the_resource_is_told(api: KubeApi, run: Run) -> None:
    api.served = False
    said = (
        f"wsfleet: the cluster at http://127.0.0.1:{api.port} has no wsfleets.wsfleet.io: "
        "is wsfleet installed there? helm install brings the resource and the operator\n"
    )
    assert run("status", "odin") == (3, "", said)
    assert run("status", "-A") == (3, "", said)
    assert run("top", "--once", "-o", "json") == (3, "", said)


@pytest.mark.parametrize(
    ("right", "command", "said"),
    [
        (
            ("get", "wsfleets"),
            ("status", "odin"),
            "gero may not get wsfleets.wsfleet.io in namespace games: "
            "a role with the verb get on wsfleets.wsfleet.io is missing",
        ),
        (
            ("list", "wsfleets"),
            ("status", "-A"),
            "gero may not list wsfleets.wsfleet.io in all namespaces: "
            "a role with the verb list on wsfleets.wsfleet.io is missing",
        ),
        (
            ("patch", "wsfleets"),
            ("pause", "odin"),
            "gero may not patch wsfleets.wsfleet.io in namespace games: "
            "a role with the verb patch on wsfleets.wsfleet.io is missing",
        ),
        (
            ("patch", "pods"),
            ("drain", "odin", "odin-6f7d9c8b5d-aaaaa"),
            "gero may not patch pods in namespace games: a role with the verb patch on pods is missing",
        ),
    ],
)
def test_a_right_that_is_missing_is_named(
    api: KubeApi, run: Run, right: tuple[str, str], command: tuple[str, ...], said: str
) -> None:
    api.forbidden = {right}
    assert run(*command) == (4, "", f"wsfleet: {said}\n")


def test_who_may_not_see_pods_or_reach_nodes_sees_the_rest(api: KubeApi, run: Run) -> None:
    api.forbidden = {("get", "pods/proxy")}
    told = json.loads(run("status", "odin", "-o", "json")[1])
    assert {pod["silence"] for pod in told["pods"]} == {"you may not get pods/proxy"}
    api.forbidden = {("list", "pods")}
    code, out, _ = run("status", "odin", "-o", "json")
    told = json.loads(out)
    assert (code, told["pods"], told["phase"]) == (0, None, "Running")
    assert told["remarks"] == [
        "no nodes shown: gero may not list pods in namespace games: "
        "a role with the verb list on pods is missing"
    ]


def test_credentials_that_are_not_accepted_are_told(api: KubeApi, run: Run) -> None:
    api.failures = [401]
    code, out, err = run("status", "odin")
    assert (code, out) == (4, "")
    assert "does not accept the credentials" in err


def test_no_cluster_is_told_with_where_it_was_looked_for(api: KubeApi, run: Run, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    code, out, err = run("status", "odin", kubeconfig=str(nowhere))
    assert (code, out) == (5, "")
    assert f"no credentials for a Kubernetes cluster in {nowhere}" in err
    assert len(err.splitlines()) == 1
    broken = tmp_path / "broken"
    broken.write_text("a: [1")
    assert run("status", "odin", kubeconfig=str(broken))[::2][0] == 5
    assert run("status", "odin", "--context", "nope")[0] == 5
    dead = tmp_path / "dead"
    dead.write_text((tmp_path / "kubeconfig").read_text().replace(str(api.port), "1"))
    code, out, err = run("status", "odin", kubeconfig=str(dead))
    assert (code, out) == (5, "")
    assert err.startswith("wsfleet: no answer from the API server at http://127.0.0.1:1: ")
    api.failures = [503]
    code, _, err = run("status", "odin")
    assert code == 5
    assert "can't answer now (HTTP 503): etcdserver: no leader" in err


def test_an_installation_for_nodes_alone_says_what_is_missing(
    api: KubeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    said = "wsfleet: rich is missing here: install wsfleet[operator], not wsfleet alone\n"
    assert run("status", "odin") == (1, "", said)


def test_top_once_and_its_orders(api: KubeApi, run: Run) -> None:
    lines = run("top", "odin", "--once")[1].splitlines()
    assert "odin  Running  2/2 nodes  8,123/20,000 connections  CPU 12 %" in lines[0]
    assert [line.split()[0][-5:] for line in lines[3:]] == ["bbbbb", "aaaaa"]
    by_name = run("top", "odin", "--once", "--sort", "name")[1].splitlines()
    assert [line.split()[0][-5:] for line in by_name[3:]] == ["aaaaa", "bbbbb"]
    assert "1 fleet  8,123 of 20,000 connections" in run("top", "--once", "-A")[1].splitlines()[0]


def test_bad_usage_is_told_in_one_line(run: Run) -> None:
    assert run("status", "odin", "-A") == (2, "", "wsfleet: -A goes without the name of a fleet\n")
    code, _, err = run("top", "--sort", "size")
    assert code == 2
    assert "'connections', 'cpu', 'age', 'name'" in err
    assert run("explain")[0] == 2
    assert run("top", "--every", "0.1")[0] == 2


def test_explain_tells_the_decisions_in_sentences(api: KubeApi, run: Run) -> None:
    code, out, _ = run("explain", "odin")
    assert code == 0
    lines = out.splitlines()
    assert lines[:4] == [
        "odin  namespace games",
        "2 nodes are wanted, 2 are ready.",
        "The load is 8,123 connections of 20,000 (41 %), CPU 12 %.",
        "Last decisions, newest first:",
    ]
    grew = "grew from 1 to 2 nodes, for its connections: 8,123 connections need 2 nodes at 80 % of 10,000."
    assert lines[4].endswith(f"UTC (3 min ago): {grew}")
    told = json.loads(run("explain", "odin", "-o", "json")[1])
    assert told.keys() == {"name", "namespace", "desired", "reasons", "holds", "decisions"}
    assert told["reasons"] == lines[1:]
    assert told["decisions"][0]["sentence"] == lines[4].strip()
    assert told["decisions"][0]["figures"] == {"connections": 8123.0, "targetPercent": 80.0}
    api.fleet("odin")["status"] |= {"scaling": [], "holds": ["2 nodes are kept for 120 s"]}
    assert run("explain", "odin")[1].splitlines()[3:] == [
        "What keeps it at this size now:",
        "  - 2 nodes are kept for 120 s.",
        "The size has not changed since the operator began to watch.",
    ]
    odd = [{"from": 1}, {"time": "never", "from": 1, "to": 2, "trigger": 7}, None, {"reasons": 3}]
    api.fleet("odin")["status"] |= {"scaling": odd, "holds": "x", "conditions": [{"type": "ScalingActive"}]}
    assert run("explain", "odin")[0] == 0


def test_plan_sizes_the_fleet_by_its_own_spec(api: KubeApi, run: Run) -> None:
    told = json.loads(run("plan", "odin", "-o", "json")[1])
    assert told["plan"]["settings"]["maxConnections"] == 10_000
    assert told["costs"]["sizes"]["seed"]["connectionsPerNode"] == 10_000
    assert told["costs"]["sizes"]["measured"] is None
    api.fleet("odin")["spec"]["overrides"] = {"maxConnections": 12_000}
    told = json.loads(run("plan", "odin", "-o", "json")[1])
    assert told["plan"]["settings"]["maxConnections"] == 12_000
    out = run("plan", "odin")[1]
    assert "Settings" in out
    assert "games/odin" in out
    api.fleet("odin")["spec"]["instance"] = {"type": "e3-huge"}
    code, out, err = run("plan", "odin")
    assert (code, out) == (1, "")
    assert err.startswith("wsfleet: spec.instance.type: no known machine type; known are ")
