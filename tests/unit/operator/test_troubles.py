"""What could not be written: when it is tried again, and what is told of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wsfleet.kube.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotLeadingError,
    UnavailableError,
)
from wsfleet.metrics import Metrics
from wsfleet.reconcile.applied import MOST_BYTES, AppliedSpec
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.settings import AT_ONCE, hurry_kubelets
from wsfleet.reconcile.troubles import Troubles
from wsfleet.scaling import NodeSample
from wsfleet.scrape import NodeFigures

REFUSED = InvalidError("PATCH /x", 422, "spec.x: no")


def test_the_pause_grows_with_each_failure_and_ends_when_something_else_is_tried() -> None:
    troubles, pauses, now = Troubles(chance=lambda: 0.5), [], 0.0
    assert troubles.may_try("Service/odin", "a", now)
    for _ in range(11):
        found = troubles.failed("Service/odin", "a", REFUSED, now)
        pauses.append(found.until - now)
        assert not troubles.may_try("Service/odin", "a", found.until - 0.1)
        assert troubles.may_try("Service/odin", "b", now)
        assert troubles.may_try("ConfigMap/odin", "a", now)
        now = found.until
        assert troubles.may_try("Service/odin", "a", now)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
    assert troubles.failed("Service/odin", "b", REFUSED, now).failures == 1


def test_one_is_told_with_the_number_of_the_others_until_it_is_over() -> None:
    troubles = Troubles()
    assert troubles.text == ""
    troubles.failed("Service/odin", "a", REFUSED, 0.0)
    troubles.failed("ConfigMap/odin", "a", ForbiddenError("PATCH /y", 403, "no right"), 0.0)
    assert troubles.text == "ConfigMap/odin: PATCH /y: no right (and 1 more)"
    troubles.over("ConfigMap/odin")
    assert troubles.text == "Service/odin: PATCH /x: spec.x: no"
    troubles.over("Service/odin")
    assert troubles.text == ""


def test_a_race_is_told_the_third_time() -> None:
    troubles, texts = Troubles(), []
    for _ in range(3):
        troubles.failed("Service/odin", "a", ConflictError("PATCH /x", 409, "changed"), 0.0)
        texts.append(troubles.text)
    assert texts == ["", "", "Service/odin: PATCH /x: changed"]


def test_without_an_answer_nothing_more_is_tried_in_this_look() -> None:
    troubles = Troubles()
    troubles.failed("Service/odin", "a", UnavailableError("PATCH /x", 500, "a webhook failed"), 0.0)
    assert troubles.may_try("ConfigMap/odin", "a", 0.0)
    troubles.failed("Service/odin", "a", UnavailableError("PATCH /x", 0, "no answer"), 0.0)
    assert not troubles.may_try("ConfigMap/odin", "a", 0.0)
    troubles.unanswered = False
    assert troubles.may_try("ConfigMap/odin", "a", 0.0)


def test_what_ends_a_look_goes_through() -> None:
    gone = "unable to create new content in namespace games because it is being terminated"
    for exc in (NotLeadingError("write"), ForbiddenError("POST /x", 403, gone)):
        with pytest.raises(type(exc)):
            Troubles().failed("Service/odin", "a", exc, 0.0)


# Many kubelets


class Pods:
    """Patches pods, each in its turn; counts those under way together."""

    def __init__(self, error: KubeError | None = None) -> None:
        self.error = error
        self.asked = self.now = self.most = 0

    async def merge_patch(self, kind: Any, namespace: str, name: str, patch: Any) -> Any:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.now -= 1
        if self.error is not None:
            raise self.error
        return {"metadata": {"name": name}}


def fleet_of(number: int) -> Observed:
    pods = tuple(NodeSample(uid=str(one), name=f"odin-{one}", shape="a", ready=True) for one in range(number))
    return Observed(
        now=0.0,
        sets=(),
        pods=pods,
        raw_pods={pod.uid: {"metadata": {}} for pod in pods},
        figures={pod.uid: NodeFigures(taken=0.0, settings_hash="before") for pod in pods},
        targets={},
    )


async def hurried(pods: Pods, number: int) -> tuple[int, FleetState]:
    cache = SimpleNamespace(put=lambda kind, obj: None)
    context = cast(Context, SimpleNamespace(client=pods, cache=cache, metrics=Metrics()))
    state = FleetState.of({"metadata": {"uid": "u"}})
    return await hurry_kubelets(context, ("games", "odin"), state, fleet_of(number), "now"), state


async def test_kubelets_are_told_together_and_not_all_at_once() -> None:
    pods = Pods()
    patched, state = await hurried(pods, 200)
    assert (patched, pods.asked) == (200, 200)
    assert 1 < pods.most <= AT_ONCE
    assert state.troubles.text == ""


async def test_patches_that_are_refused_are_told_and_those_without_an_answer_end_the_round() -> None:
    refused = Pods(ForbiddenError("PATCH /pods", 403, "a webhook says no"))
    patched, state = await hurried(refused, 40)
    assert (patched, refused.asked) == (0, 40)
    assert state.troubles.text == "settings of Pods: PATCH /pods: a webhook says no"
    silent = Pods(UnavailableError("PATCH /pods", 0, "no answer"))
    await hurried(silent, 200)
    assert silent.asked <= 2 * AT_ONCE


# The spec that was carried out


def fleet(spec: dict[str, Any], generation: int, **annotations: str) -> dict[str, Any]:
    named = {f"wsfleet.io/{name}": value for name, value in annotations.items()}
    return {"metadata": {"generation": generation, "annotations": named}, "spec": spec}


def test_an_applied_spec_survives_the_status_with_the_annotations_of_now() -> None:
    applied = AppliedSpec.of(fleet({"replicas": 2}, 4, restartedAt="T1", paused="true"))
    read = AppliedSpec.from_status(applied.to_status())
    assert read == applied
    now = fleet({"replicas": -1}, 5, restartedAt="T2", rebalance="T3")
    assert applied.fleet(now) == fleet({"replicas": 2}, 4, rebalance="T3", restartedAt="T1")
    assert now == fleet({"replicas": -1}, 5, restartedAt="T2", rebalance="T3")


def test_a_spec_that_is_too_large_or_strange_is_not_read_from_the_status() -> None:
    assert AppliedSpec(1, {"x": "y" * MOST_BYTES}).to_status() is None
    for strange in (None, 7, {}, {"spec": 3}, {"generation": 3}):
        assert AppliedSpec.from_status(strange) is None
    assert AppliedSpec.from_status({"spec": {}, "generation": "x", "restartedAt": 1}) == AppliedSpec(0, {})
