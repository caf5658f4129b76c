"""pause, resume, rebalance and drain: which annotation comes of them, and what waiting tells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.plugin.conftest import Run
from tests.support.kube_api import KubeApi
from tests.support.seen_fleets import node_status, seen_pod
from wsfleet.plugin import waiting

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
POD = "odin-6f7d9c8b5d-aaaaa"


def marks(api: KubeApi) -> dict[str, str]:
    found: dict[str, str] = api.fleet("odin")["metadata"].get("annotations", {})
    return found


def patches(api: KubeApi) -> list[tuple[str, Any]]:
    return [(path, body) for method, path, body in api.heard if method == "PATCH"]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other closely."""
    look = waiting.wait_until_done

    async def soon(*arguments: Any, **options: Any) -> Any:
        return await look(*arguments, **{**options, "look_seconds": 0.01})

    monkeypatch.setattr(waiting, "wait_until_done", soon)


def test_pause_and_resume_write_annotations_only(api: KubeApi, run: Run) -> None:
    code, out, err = run("pause", "odin")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "odin: scaling is paused by the annotation wsfleet.io/paused"
    assert marks(api) == {"wsfleet.io/paused": "true"}
    assert all(body.keys() == {"metadata"} for _, body in patches(api)), "the spec is the user's"
    assert run("resume", "odin") == (0, "odin: nothing is paused; its size follows its load\n", "")
    assert marks(api) == {}


def test_one_direction_is_paused_and_told_what_goes_on(api: KubeApi, run: Run) -> None:
    out = run("pause", "odin", "--scale-in")[1]
    assert marks(api) == {"wsfleet.io/paused-scale-in": "true"}
    assert "Scale-out goes on." in out
    told = json.loads(run("pause", "odin", "--scale-out", "-o", "json")[1])
    assert told == {
        "name": "odin",
        "namespace": "games",
        "paused": {"scaling": False, "scaleIn": True, "scaleOut": True, "bySpec": False},
    }
    out = run("resume", "odin", "--scale-in")[1]
    assert out == "odin: still, scale-out is paused by the annotation wsfleet.io/paused-scale-out\n"
    run("resume", "odin")
    assert marks(api) == {}


def test_a_pause_by_the_spec_is_not_taken_away_and_how_to_is_told(api: KubeApi, run: Run) -> None:
    api.fleet("odin")["spec"]["autoscaling"] = {"maxReplicas": 3, "paused": True}
    code, out, _ = run("resume", "odin")
    assert code == 0
    assert out.splitlines()[0] == "odin: still, scaling is paused by spec.autoscaling.paused"
    assert "kubectl patch wsfleet odin --type=merge" in out
    assert patches(api) == []


def test_rebalance_asks_with_the_moment(api: KubeApi, run: Run) -> None:
    code, out, _ = run("rebalance", "odin")
    assert code == 0
    assert out.splitlines()[0] == "odin: a rebalance is asked for"
    assert marks(api).keys() == {"wsfleet.io/rebalance"}
    assert RFC3339.fullmatch(marks(api)["wsfleet.io/rebalance"])
    told = json.loads(run("rebalance", "odin", "-o", "json")[1])
    assert told == {"fleet": "odin", "asked": True, "done": False, "state": None}


def nothing() -> None:
    """At the look that a request begins with, or that the operator needs to act."""


def test_rebalance_waits_until_the_nodes_are_even(api: KubeApi, run: Run) -> None:
    api.nodes[POD] = node_status(9000)
    api.script = [nothing, nothing, nothing, lambda: api.nodes.update({POD: node_status(4200)})]
    code, out, _ = run("rebalance", "odin", "--wait")
    assert code == 0
    assert out.splitlines() == [
        "odin: a rebalance is asked for",
        "fullest node 9,000, mean 6,562 connections (+37 %)",
        "fullest node 4,200, mean 4,162 connections (+1 %)",
    ]


def test_what_does_not_come_in_time_ends_with_where_it_stands(api: KubeApi, run: Run) -> None:
    api.nodes[POD] = node_status(9000)
    code, out, err = run("rebalance", "odin", "--wait", "--timeout", "1")
    assert code == 6
    assert "a rebalance is asked for" in out
    assert "not done within 1 s, and what was asked stands: fullest node 9,000" in err


def test_drain_marks_the_pod_of_the_fleet_as_it_was_seen(api: KubeApi, run: Run) -> None:
    code, out, err = run("drain", "odin", POD)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{POD}: its replacement is asked for"
    ((path, body),) = patches(api)
    assert path == f"/api/v1/namespaces/games/pods/{POD}"
    assert body["metadata"]["uid"] == f"uid-{POD}"
    assert RFC3339.fullmatch(body["metadata"]["annotations"]["wsfleet.io/replace"])
    run("drain", "odin", POD)
    assert len(patches(api)) == 1, "asked once"


def test_drain_tells_how_the_replacement_goes_on(api: KubeApi, run: Run) -> None:
    old = api.pod(POD)
    new = seen_pod("ccccc", phase="Pending", ready=False)

    def starts() -> None:
        api.pods.append(new)

    def is_ready() -> None:
        new["status"] = seen_pod("ccccc")["status"]
        api.nodes["odin-6f7d9c8b5d-ccccc"] = node_status(0)
        api.nodes[POD] = node_status(4000, "closing", 3000)

    def goes() -> None:
        api.pods.remove(old)

    api.script = [nothing, nothing, starts, nothing, is_ready, goes]
    code, out, _ = run("drain", "odin", POD, "--wait")
    assert code == 0
    assert out.splitlines() == [
        f"{POD}: its replacement is asked for",
        f"{POD}: to be replaced; the operator has not begun yet",
        f"{POD} serves on; odin-6f7d9c8b5d-ccccc: starting",
        f"{POD}: draining (3,000 left); 2 nodes ready beside it",
        f"{POD} is gone; 2 nodes ready",
    ]


def test_drain_as_json_is_one_document_and_its_progress_goes_beside_it(api: KubeApi, run: Run) -> None:
    api.script = [nothing, lambda: api.pods.remove(api.pod(POD)), lambda: api.pods.append(seen_pod("ccccc"))]
    code, out, err = run("drain", "odin", POD, "--wait", "-o", "json")
    assert code == 0
    state = f"{POD} is gone; 2 nodes ready"
    assert json.loads(out) == {"fleet": "odin", "pod": POD, "asked": True, "done": True, "state": state}
    assert err.splitlines()[-1] == state


def test_a_fleet_that_is_deleted_meanwhile_ends_the_waiting(api: KubeApi, run: Run) -> None:
    for command in (("drain", "odin", POD), ("rebalance", "odin")):
        fleet = api.fleet("odin")
        api.nodes[POD] = node_status(9000)
        api.script = [nothing, nothing, api.fleets.clear]
        code, _, err = run(*command, "--wait")
        assert (code, err) == (3, "wsfleet: no fleet odin in namespace games; there is none\n")
        api.fleets = [fleet]


def foreign(api: KubeApi) -> str:
    api.pods.append(seen_pod("eeeee", fleet="thor"))
    return "thor-6f7d9c8b5d-eeeee"


def lone(api: KubeApi) -> str:
    pod = seen_pod("ddddd")
    pod["metadata"] |= {"name": "lone", "labels": {}}
    api.pods.append(pod)
    return "lone"


def disguised(api: KubeApi) -> str:
    pod = seen_pod("fffff")
    pod["metadata"]["ownerReferences"][0]["name"] = "odin-of-somebody-else"
    api.pods.append(pod)
    return str(pod["metadata"]["name"])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (foreign, "is not one of odin: it belongs to fleet thor; nothing was asked"),
        (lone, "is not one of odin: it is no node of a fleet; nothing was asked"),
        (disguised, "is not one of odin: it is no node of a fleet; nothing was asked"),
    ],
)
def test_drain_refuses_pods_that_are_not_the_fleets(
    api: KubeApi, run: Run, made: Callable[[KubeApi], str], said: str
) -> None:
    name = made(api)
    assert run("drain", "odin", name) == (2, "", f"wsfleet: pod {name} {said}\n")
    assert patches(api) == []


def test_drain_refuses_a_pod_that_is_not_there_or_goes_already(api: KubeApi, run: Run) -> None:
    assert run("drain", "odin", "odin-x") == (
        3,
        "",
        f"wsfleet: no pod odin-x in namespace games; odin has {POD}, odin-6f7d9c8b5d-bbbbb\n",
    )
    api.pods[0] = seen_pod("aaaaa", terminating=True)
    assert run("drain", "odin", POD) == (2, "", f"wsfleet: pod {POD} is on its way out already\n")
    assert patches(api) == []
