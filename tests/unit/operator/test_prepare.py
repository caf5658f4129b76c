"""From a spec to what should be there, or to why nothing can be made of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fleets import fleet_document
from wsfleet.api import WsFleetStatus
from wsfleet.kube.kinds import PODMONITOR, PROMETHEUSRULE
from wsfleet.reconcile.prepare import Prepared, Problem, fingerprint, image_of, pauses_of, prepare

IMAGE = "registry.example/wsnode:1"


def prepared(**spec: Any) -> Prepared:
    found = prepare(fleet_document(**spec), IMAGE, "", frozenset())
    assert isinstance(found, Prepared)
    return found


def kinds(found: Prepared | Problem) -> list[str]:
    assert isinstance(found, Prepared)
    return [one["kind"] for one in found.objects]


def test_the_smallest_fleet_gets_its_objects_and_the_monitors_only_where_they_are_known() -> None:
    plain = ["ConfigMap", "Service", "PodDisruptionBudget", "NetworkPolicy"]
    assert kinds(prepared()) == plain
    with_monitors = prepare(fleet_document(), IMAGE, "", frozenset({PODMONITOR, PROMETHEUSRULE}))
    assert kinds(with_monitors) == [*plain, "PodMonitor", "PrometheusRule"]


def test_a_spec_that_the_schema_lets_pass_and_no_plan_fits_is_a_problem_with_the_field() -> None:
    tiny = fleet_document(instance={"cpu": "100m", "memory": "128Mi"})
    found = prepare(tiny, IMAGE, "", frozenset())
    assert isinstance(found, Problem)
    assert found.reason == "SizingFailed"
    assert found.message.startswith("instance.reserved.cpu")


@pytest.mark.parametrize(("kind", "asked"), [("cpu", "3"), ("memory", "64Gi")])
def test_a_request_above_the_plans_limit_is_a_problem_with_the_path(kind: str, asked: str) -> None:
    template = {"resources": {"requests": {kind: asked}}}
    found = prepare(fleet_document(template=template), IMAGE, "", frozenset())
    assert isinstance(found, Problem)
    assert found.reason == "InvalidSpec"
    assert found.message.startswith(f"spec.template.resources.requests.{kind}: ")
    assert "is above the pod's limit" in found.message


def test_a_spec_that_the_models_refuse_is_a_problem_with_the_path() -> None:
    found = prepare(fleet_document(replicas=-1), IMAGE, "", frozenset())
    assert isinstance(found, Problem)
    assert found.reason == "InvalidSpec"
    assert "spec.replicas" in found.message


def test_a_status_of_another_release_does_not_matter() -> None:
    document = fleet_document() | {"status": {"phase": "Dancing", "replicas": "many"}}
    assert isinstance(prepare(document, IMAGE, "", frozenset()), Prepared)


def test_live_settings_change_the_settings_hash_and_fixed_ones_the_shape() -> None:
    base = prepared()
    live, fixed = prepared(overrides={"maxConnections": 9000}), prepared(overrides={"logFormat": "text"})
    assert live.shape == base.shape
    assert live.settings_hash != base.settings_hash
    assert fixed.shape != base.shape
    assert fixed.settings_hash == base.settings_hash


def test_what_follows_from_the_spec_alone_is_in_the_resources_own_form() -> None:
    facts = dict(prepared(load={"users": 20_000}).facts)
    status = WsFleetStatus.model_validate(facts)
    assert set(facts) <= {field.alias for field in WsFleetStatus.model_fields.values()}
    assert status.node_settings is not None
    assert status.node_settings.values["WS_MAX_CONNECTIONS"] == "10000"
    assert "WS_NODE_NAME" not in status.node_settings.values
    assert [one.name for one in status.projections] == ["light", "target", "peak"]
    assert "20,000 users" in (status.recommendation or "")


def test_the_image_is_pinned_until_the_spec_or_a_restart_says_otherwise() -> None:
    fleet = fleet_document()
    assert image_of(fleet, IMAGE, "") == IMAGE
    pinned = fleet | {"status": {"image": "old"}}
    assert image_of(pinned, IMAGE, "") == "old"
    assert image_of(fleet_document(image="mine") | {"status": {"image": "old"}}, IMAGE, "") == "mine"
    restarted = fleet_document(annotations={"wsfleet.io/restartedAt": "now"}) | {"status": {"image": "old"}}
    assert image_of(restarted, IMAGE, "") == IMAGE
    assert image_of(restarted, IMAGE, "now") == "old", "the restart was carried out"


def test_preparing_again_is_asked_for_by_generation_image_and_pauses_only() -> None:
    fleet = fleet_document()
    assert fingerprint(fleet, "a") == fingerprint(fleet | {"status": {"x": 1}}, "a")
    assert fingerprint(fleet, "a") != fingerprint(fleet, "b")
    assert fingerprint(fleet, "a") == fingerprint(fleet_document(annotations={"note": "x"}), "a")
    assert fingerprint(fleet, "a") != fingerprint(
        fleet_document(annotations={"wsfleet.io/paused": "true"}), "a"
    )


@pytest.mark.parametrize(("text", "paused"), [("true", True), ("1", True), ("Yes", True), ("false", False)])
def test_annotations_pause(text: str, paused: bool) -> None:
    assert pauses_of({"wsfleet.io/paused-scale-in": text}) == {
        "paused": False,
        "paused_scale_in": paused,
        "paused_scale_out": False,
    }


def test_who_else_may_reach_the_admin_port_is_the_installers_choice() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "victoria"}}}
    found = prepare(fleet_document(), IMAGE, "wsfleet-system", frozenset(), admin_peers=(peer,))
    assert isinstance(found, Prepared)
    policy = next(one for one in found.objects if one["kind"] == "NetworkPolicy")
    assert policy["spec"]["ingress"][1]["from"][1:] == [peer]


def test_evictions_are_refused_or_paced_and_the_rebalance_request_counts() -> None:
    def budget(found: Prepared) -> Any:
        return next(one for one in found.objects if one["kind"] == "PodDisruptionBudget")["spec"]

    assert budget(prepared())["maxUnavailable"] == 0
    assert budget(prepared(disruption={"evictions": "Paced"}))["maxUnavailable"] == 1
    document = fleet_document(rebalance={"enabled": False, "tolerancePercent": 20})
    document["metadata"]["annotations"] = {"wsfleet.io/rebalance": "2026-01-01T00:00:00Z"}
    found = prepare(document, IMAGE, "", frozenset())
    assert isinstance(found, Prepared)
    assert (found.rebalance.enabled, found.rebalance.tolerance) == (False, 0.2)
    assert found.rebalance.requested == "2026-01-01T00:00:00Z"
    plain = fleet_document(rebalance={"enabled": False, "tolerancePercent": 20})
    assert fingerprint(document, IMAGE) != fingerprint(plain, IMAGE)


def test_a_window_that_is_none_is_a_problem_with_its_field() -> None:
    for window, field in (
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 1 * * *", "timeZone": "Mars"}, "timeZone"),
    ):
        found = prepare(fleet_document(rollout={"maintenanceWindows": [window]}), IMAGE, "", frozenset())
        assert isinstance(found, Problem)
        assert f"rollout.maintenanceWindows[0].{field}" in found.message
    good = [{"cron": "0 1 * * *", "timeZone": "Europe/Berlin", "durationMinutes": 90}]
    assert prepared(rollout={"maintenanceWindows": good}).windows[0].minutes == 90
