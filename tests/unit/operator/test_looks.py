"""Whole looks at one fleet: what goes wrong with one part of it keeps no other from being done."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.stage import KEY, NAMESPACE, Stage, staged

TINY = {"cpu": "100m", "memory": "128Mi"}
"""A machine on which no node fits."""
SCALING = {"minReplicas": 2, "maxReplicas": 9}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


def holding(connections: int, **more: Any) -> dict[str, Any]:
    return {"connections": {"current": connections, "max": 10_000}, **more}


def draining(connections: int, rate: float) -> dict[str, Any]:
    return holding(
        connections,
        ready=False,
        drain={"state": "closing", "remaining": connections, "rate_per_second": rate},
    )


async def uneven(stage: Stage, **spec: Any) -> tuple[str, str]:
    """A fleet of two nodes at rest; then the first gets far more clients than the second."""
    stage.apply(**({"replicas": 2} | spec))
    await stage.settle()
    full, empty = stage.names
    stage.nodes.says |= {full: holding(8000), empty: holding(100)}
    return full, empty


def pause_until(stage: Stage, moment: float) -> None:
    """Set the end of all pauses, in monotonic seconds."""
    assert stage.state is not None
    for trouble in stage.state.troubles._by_name.values():
        trouble.until = moment


# One object


async def test_an_object_that_cannot_be_written_keeps_no_node_from_being_led(stage: Stage) -> None:
    full, empty = await uneven(stage)
    stage.api.refused["PATCH", "services", "odin"] = 422
    stage.api.patch("services", NAMESPACE, "odin", {"spec": {"selector": {"wsfleet.io/serving": "no"}}})
    before = stage.writes("services")
    stage.nodes.says[full] = holding(8000)
    for _ in range(20):  # until the operator has heard of the change
        await stage.look()
        if stage.writes("services") > before:
            break
    assert not stage.serves(full)
    assert stage.serves(empty)
    assert stage.status["connections"] == 8100
    degraded = stage.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "ObjectNotWritten")
    assert "Service/odin" in degraded["message"]
    assert "a webhook refuses" in degraded["message"]
    assert stage.condition("Reconciling")["status"] == "True"
    assert stage.condition("Ready")["status"] == "True"


async def test_an_object_that_failed_is_tried_again_by_its_own_pause_and_at_once_when_it_changes(
    stage: Stage,
) -> None:
    stage.apply(replicas=1)
    stage.api.refused["PATCH", "services", "odin"] = 422
    await stage.look()
    pause_until(stage, math.inf)
    await stage.look(2)
    assert stage.writes("services") == 1, "its pause is not over"
    assert stage.writes("networkpolicies") == 1, "what comes after it is written"
    assert stage.sizes, "and the nodes are made"
    stage.apply(replicas=1, service={"port": 8080})
    await stage.look()
    assert stage.writes("services") == 2
    assert stage.condition("Degraded")["status"] == "True"
    stage.api.refused.clear()
    stage.apply(replicas=1, service={"port": 8081})
    await stage.look()
    assert stage.writes("services") == 3
    assert stage.condition("Degraded")["status"] == "False"


@pytest.mark.parametrize(("status", "looks", "told"), [(422, 1, True), (500, 1, False), (500, 3, True)])
async def test_what_may_pass_by_itself_is_told_the_third_time(
    stage: Stage, status: int, looks: int, told: bool
) -> None:
    stage.apply(replicas=1)
    await stage.settle()
    stage.api.refused["PATCH", "services", "odin"] = status
    for number in range(looks):
        stage.apply(replicas=1, service={"port": 8080})
        pause_until(stage, 0.0)
        await stage.look()
        assert stage.writes("services") == 2 + number
    assert (stage.condition("Degraded")["status"] == "True") is told


async def test_a_pod_that_cannot_be_annotated_keeps_no_other_from_the_new_settings(stage: Stage) -> None:
    full, empty = await uneven(stage)
    stage.nodes.usual["settings"] = {"hash": "of-before"}
    stage.api.refused["PATCH", "pods", full] = 403
    await stage.look()
    annotations = {one["metadata"]["name"]: one["metadata"]["annotations"] for one in stage.pods}
    assert "wsfleet.io/settings-hash" in annotations[empty]
    assert "wsfleet.io/settings-hash" not in annotations[full]
    assert stage.status["connections"] == 8100
    assert stage.condition("Degraded")["reason"] == "ObjectNotWritten"


async def test_a_label_that_cannot_be_changed_keeps_no_other_from_it(stage: Stage) -> None:
    stage.apply(replicas=5)
    await stage.settle()
    fullest, full, *others = stage.names
    stage.nodes.says = {name: holding(100) for name in others} | {
        fullest: holding(8000),
        full: holding(7000),
    }
    stage.api.refused["PATCH", "pods", fullest] = 403
    await stage.look()
    assert stage.serves(fullest)
    assert not stage.serves(full)
    assert fullest in stage.condition("Degraded")["message"]


# The spec


async def test_a_spec_that_no_plan_can_be_made_of_leaves_no_node_unattended(stage: Stage) -> None:
    full, _ = await uneven(stage)
    settings = stage.api.get("configmaps", NAMESPACE, "odin-settings")
    stage.apply(replicas=2, instance=TINY)
    await stage.look()
    assert not stage.serves(full)
    degraded = stage.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "SizingFailed")
    assert degraded["message"].startswith("instance.reserved.cpu")
    assert degraded["message"].endswith(
        "; generation 2 of the spec is not applied: the nodes go by generation 1"
    )
    assert stage.condition("Stalled")["status"] == "True"
    assert stage.status["observedGeneration"] == 2
    assert stage.status["connections"] == 8100
    assert stage.api.get("configmaps", NAMESPACE, "odin-settings") == settings
    stage.apply(replicas=2)
    await stage.look()
    assert stage.condition("Stalled")["status"] == "False"
    assert stage.condition("Degraded")["status"] == "False"


@pytest.mark.parametrize("restart", [False, True])
async def test_a_fleet_whose_new_spec_is_no_good_grows_by_the_one_before(stage: Stage, restart: bool) -> None:
    stage.apply(autoscaling=SCALING)
    await stage.settle()
    stage.apply(autoscaling=SCALING, instance=TINY)
    await stage.look()
    if restart:
        stage.restart()
    stage.nodes.usual |= holding(8500)
    await stage.look()
    assert list(stage.sizes.values()) == [3], "17,000 connections at 80 % of 10,000 each"
    assert stage.status["desiredReplicas"] == 3


@pytest.mark.parametrize("restart", [False, True])
async def test_a_drain_under_way_goes_on_when_the_spec_turns_bad(stage: Stage, restart: bool) -> None:
    stage.apply(replicas=2)
    await stage.settle()
    stage.apply(replicas=1)
    await stage.look()
    victim = next(name for name in stage.names if not stage.serves(name))
    stage.apply(replicas=1, instance=TINY)
    if restart:
        stage.restart()
    await stage.look()
    assert list(stage.nodes.told("PUT /drain")) == [victim]
    stage.nodes.says[victim] = {
        **holding(0, ready=False),
        "drain": {"state": "drained", "remaining": 0, "rate_per_second": 0.0},
    }
    scheduled, ready = stage.pods[stage.names.index(victim)]["status"]["conditions"]
    unready = {"conditions": [scheduled, {**ready, "status": "False"}]}
    stage.api.patch("pods", NAMESPACE, victim, {"status": unready})
    await stage.look()
    assert list(stage.sizes.values()) == [1]


async def test_a_fleet_is_paused_by_its_annotation_though_its_spec_is_no_good(stage: Stage) -> None:
    stage.apply(autoscaling=SCALING)
    await stage.settle()
    stage.apply(annotations={"wsfleet.io/paused": "true"}, autoscaling=SCALING, instance=TINY)
    stage.nodes.usual |= holding(8500)
    await stage.look()
    assert list(stage.sizes.values()) == [2]


async def test_without_a_spec_that_was_carried_out_nothing_is_changed_and_that_is_said(stage: Stage) -> None:
    full, _ = await uneven(stage)
    stage.apply(replicas=2, instance=TINY)
    stage.fleet["status"].pop("memory")
    stage.restart()
    await stage.look()
    assert stage.serves(full)
    assert stage.condition("Degraded")["message"].endswith(
        "; what the nodes went by before is not known, so nothing is changed"
    )


async def test_a_spec_too_large_for_the_status_is_kept_by_the_process_alone(stage: Stage) -> None:
    env = [{"name": f"LONG_{number}", "value": "x" * 2000} for number in range(20)]
    full, _ = await uneven(stage, template={"env": env})
    assert "applied" not in stage.status["memory"]
    stage.apply(replicas=2, instance=TINY)
    await stage.look()
    assert not stage.serves(full)


async def test_a_secret_that_a_new_spec_names_and_that_is_missing_rolls_nothing_and_leads_on(
    stage: Stage,
) -> None:
    full, _ = await uneven(stage)
    sizes = stage.sizes
    stage.apply(replicas=2, tls={"secretName": "odin-tls"})
    await stage.look(2)
    assert stage.sizes == sizes
    assert not stage.serves(full)
    degraded = stage.condition("Degraded")
    assert degraded["reason"] == "SecretMissing"
    assert degraded["message"].endswith("the nodes go by generation 1")


async def test_another_secret_is_looked_for_at_once_and_the_old_one_is_forgotten(stage: Stage) -> None:
    stage.api.put(
        "secrets",
        {"metadata": {"name": "one", "namespace": NAMESPACE}, "data": {"tls.crt": "", "tls.key": ""}},
    )
    stage.apply(replicas=1, tls={"secretName": "one"})
    await stage.settle()
    sizes = stage.sizes
    assert stage.condition("Degraded")["status"] == "False"
    stage.apply(replicas=1, tls={"secretName": "another"})
    await stage.look()
    assert stage.condition("Degraded")["reason"] == "SecretMissing"
    assert stage.sizes == sizes
    stage.apply(replicas=1, tls={"secretName": "one"})
    await stage.look()
    assert stage.condition("Degraded")["status"] == "False"


async def test_while_a_secret_is_gone_a_spec_that_changes_no_pod_is_carried_out(stage: Stage) -> None:
    secret = {"metadata": {"name": "one", "namespace": NAMESPACE}, "data": {"tls.crt": "", "tls.key": ""}}
    stage.api.put("secrets", secret)
    stage.apply(replicas=1, tls={"secretName": "one"})
    await stage.settle()
    stage.api.remove("secrets", NAMESPACE, "one")
    stage.restart()
    stage.apply(replicas=2, tls={"secretName": "one"})
    await stage.look()
    assert list(stage.sizes.values()) == [2]
    assert stage.condition("Degraded")["message"].endswith("; the nodes that run are led on")


async def test_the_same_where_the_operator_does_not_know_what_was_carried_out_before(stage: Stage) -> None:
    full, _ = await uneven(stage)
    sizes = stage.sizes
    stage.apply(replicas=2, tls={"secretName": "odin-tls"})
    stage.fleet["status"].pop("memory")
    stage.restart()
    await stage.look(3)
    assert stage.sizes == sizes
    assert not stage.serves(full)
    assert stage.condition("Degraded")["message"].endswith("none of a new shape is made")


async def test_a_new_fleet_whose_secret_is_missing_has_no_node(stage: Stage) -> None:
    stage.apply(replicas=2, tls={"secretName": "odin-tls"})
    await stage.look(2)
    assert stage.sizes == {}
    assert stage.condition("Degraded")["reason"] == "SecretMissing"


async def test_a_name_that_somebody_took_keeps_no_node_from_being_led(stage: Stage) -> None:
    stage.apply(replicas=2)
    await stage.settle()
    full, empty = stage.names
    stage.api.remove("services", NAMESPACE, "odin")
    stage.api.put("services", {"metadata": {"name": "odin", "namespace": NAMESPACE}, "spec": {}})
    for _ in range(20):
        await stage.look()
        if stage.condition("Degraded")["reason"] == "NameTaken":
            break
    assert stage.condition("Degraded")["reason"] == "NameTaken"
    stage.nodes.says |= {full: holding(8000), empty: holding(100)}
    await stage.look()
    assert not stage.serves(full)
    assert stage.status["connections"] == 8100
    assert stage.condition("Degraded")["reason"] == "NameTaken"
    service = stage.api.get("services", NAMESPACE, "odin")
    assert service is not None
    assert service["spec"] == {}


# The budget of closes


async def test_a_pod_that_is_evicted_shares_the_budget_with_a_drain_under_way(stage: Stage) -> None:
    stage.apply(replicas=3, reconnects={"perSecond": 60})
    await stage.settle()
    stage.apply(replicas=2, reconnects={"perSecond": 60})
    await stage.look(2)
    victim, rate = next(iter(stage.nodes.told("PUT /drain").items()))
    assert rate == {"rate": 60.0}
    stage.nodes.says[victim] = draining(1000, 60.0)
    evicted = next(name for name in stage.names if name != victim)
    stage.delete(evicted)
    stage.fill()  # and another in its place
    stage.nodes.says[evicted] = draining(1000, 60.0)
    await stage.look()
    assert stage.nodes.told("PUT /drain") == {victim: {"rate": 30.0}, evicted: {"rate": 30.0}}
    before = len(stage.nodes.heard)
    await stage.look(2)
    assert len(stage.nodes.heard) == before, "what a node goes by it is not told again"


async def test_an_evicted_pod_that_does_not_answer_keeps_its_own_rate(stage: Stage) -> None:
    stage.apply(replicas=4, reconnects={"perSecond": 100}, overrides={"drainRate": 40})
    await stage.settle()
    stage.apply(replicas=3, reconnects={"perSecond": 100}, overrides={"drainRate": 40})
    await stage.look(2)
    victim = next(iter(stage.nodes.told("PUT /drain")))
    stage.nodes.says[victim] = draining(1000, 100.0)
    evicted = next(name for name in stage.names if name != victim)
    stage.delete(evicted)
    stage.fill()
    stage.nodes.silent.add(evicted)
    state = stage.state
    assert state is not None
    pod = next(one for one in stage.pods if one["metadata"]["name"] == evicted)
    figures = state.figures[pod["metadata"]["uid"]]
    state.figures[pod["metadata"]["uid"]] = replace(figures, taken=figures.taken - 16.0)
    await stage.look()
    assert stage.nodes.told("PUT /drain") == {victim: {"rate": 60.0}}


# Turns


async def test_a_new_operator_knows_at_once_who_is_being_rolled(stage: Stage) -> None:
    stage.apply(replicas=2)
    await stage.settle()
    stage.apply(replicas=2, overrides={"logFormat": "text"})
    await stage.look()
    assert len(stage.sizes) == 2
    await stage.heard_of_all()
    stage.restart()
    assert stage.context.rolling == {KEY}
    stage.reconciler._drop_unknown({KEY})
    assert stage.context.rolling == set(), "a fleet that is not there has no turn"
