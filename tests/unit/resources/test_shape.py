"""The shape hash: what replaces pods, and what must not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fleets import build_context
from wsfleet.api import OVERRIDABLE
from wsfleet.resources import build_pod_template, shape_hash
from wsnode.config import LIVE_FIELDS, override_name

SMALLEST = shape_hash(build_context())

LIVE: dict[str, Any] = {
    "overrides": {
        "maxConnections": 12000,
        "cpuRejectThreshold": 70,
        "logLevel": "debug",
        "pingInterval": "20s",
    },
    "load": {"users": 500, "messagesPerSecond": 1},
    "profile": "Conservative",
    "sizing": {"limits": "Moderate"},
    "reconnects": {"perSecond": 50},
    "drain": {"delaySeconds": 3, "timeoutSeconds": 60},
    "autoscaling": {"maxReplicas": 9, "cpu": {"targetPercent": 50}},
    "replicas": 7,
    "rollout": {"progressDeadlineSeconds": 60},
    "service": {"type": "LoadBalancer", "port": 443},
}

FIXED: dict[str, Any] = {
    "overrides": {"logFormat": "text"},
    "instance": {"type": "e2-medium"},
    "nats": {"url": "nats://elsewhere:4222"},
    "imagePullPolicy": "Always",
    "tls": {"secretName": "odin-tls"},
    "imagePullSecrets": [{"name": "registry"}],
    "template": {"labels": {"team": "games"}},
}

TEMPLATES: list[dict[str, Any]] = [
    {"annotations": {"a": "b"}},
    {"nodeSelector": {"a": "b"}},
    {"tolerations": [{"key": "a", "operator": "Exists"}]},
    {"affinity": {"podAntiAffinity": {}}},
    {"topologySpread": [{"topologyKey": "zone"}]},
    {"priorityClass": "important"},
    {"env": [{"name": "TZ", "value": "UTC"}]},
    {"resources": {"requests": {"cpu": "100m"}}},
]


def test_the_hash_is_ten_hex_digits_and_does_not_change_by_itself() -> None:
    assert SMALLEST == "b1e46f09f0"


@pytest.mark.parametrize("field", LIVE)
def test_what_is_live_replaces_no_pod(field: str) -> None:
    assert shape_hash(build_context(**{field: LIVE[field]})) == SMALLEST


@pytest.mark.parametrize("field", FIXED)
def test_what_only_a_new_pod_can_take_over_gives_a_new_shape(field: str) -> None:
    assert shape_hash(build_context(**{field: FIXED[field]})) != SMALLEST


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: next(iter(template)))
def test_each_part_of_the_template_gives_a_new_shape(template: dict[str, Any]) -> None:
    assert shape_hash(build_context(template=template)) != SMALLEST


def test_image_and_restart_request_give_a_new_shape() -> None:
    assert shape_hash(build_context(image="registry.example/wsnode:2")) != SMALLEST
    restarted = build_context(annotations={"wsfleet.io/restartedAt": "2026-01-31T08:00:00Z"})
    assert shape_hash(restarted) != SMALLEST
    assert shape_hash(build_context(annotations={"someone.else/note": "x"})) == SMALLEST


def test_quantities_written_differently_are_one_shape() -> None:
    one = build_context(template={"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}})
    same = build_context(template={"resources": {"requests": {"cpu": 1, "memory": "1Gi"}}})
    assert shape_hash(one) == shape_hash(same)


def test_defaults_written_out_are_the_same_shape() -> None:
    nats = {"url": "nats://nats:4222", "stream": {"name": "ODIN_TOKENS", "maxAge": "30s"}}
    spelt_out = build_context(nats=nats, template={"env": [], "labels": {}}, overrides={"logFormat": "json"})
    assert shape_hash(spelt_out) == SMALLEST


_maps = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.from_regex(r"[a-z]{0,5}", fullmatch=True), max_size=5
)


@given(_maps, _maps, st.randoms())
@settings(max_examples=25)
def test_the_order_of_maps_does_not_matter(
    labels: dict[str, str], selector: dict[str, str], random: Any
) -> None:
    def shuffled(given: dict[str, str]) -> dict[str, str]:
        items = list(given.items())
        random.shuffle(items)
        return dict(items)

    one = build_context(template={"labels": labels, "nodeSelector": selector})
    other = build_context(template={"labels": shuffled(labels), "nodeSelector": shuffled(selector)})
    assert shape_hash(one) == shape_hash(other)


_choices = st.fixed_dictionaries(
    {},
    optional={
        **{field: st.just(value) for field, value in LIVE.items() if field != "overrides"},
        **{field: st.just(value) for field, value in FIXED.items() if field not in ("overrides", "template")},
        "template": st.sampled_from([FIXED["template"], *TEMPLATES]),
        "overrides": st.sampled_from([LIVE["overrides"], FIXED["overrides"]]),
    },
)


@given(_choices, _choices)
@settings(max_examples=50)
def test_two_fleets_have_one_shape_exactly_when_their_pods_are_alike(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (shape_hash(build_context(**one)) == shape_hash(build_context(**other))) is (
        _pod(one) == _pod(other)
    )


def _pod(spec: dict[str, Any]) -> str:
    """The pod without what is left out of the shape on purpose: grace period, and the plan's requests."""
    template = build_pod_template(build_context(**spec), "shape")
    del template["spec"]["terminationGracePeriodSeconds"]
    resources = spec.get("template", {}).get("resources")
    template["spec"]["containers"][0]["resources"]["requests"] = resources
    return json.dumps(template, sort_keys=True)


def test_no_live_setting_is_in_the_pod() -> None:
    written = json.dumps(build_pod_template(build_context(overrides=LIVE["overrides"]), "shape"))
    for field in LIVE_FIELDS & set(OVERRIDABLE):
        assert f'"WS_{field.upper()}"' not in written, override_name(field)
