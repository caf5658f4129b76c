"""What counts as a difference between what is wanted and what is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.kube.apply import content_hash, difference, same_quantity, with_annotation

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "odin", "namespace": "games", "labels": {"app": "wsnode"}},
    "spec": {"type": "ClusterIP", "ports": [{"name": "ws", "port": 80, "targetPort": "ws"}]},
}


def as_served(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as the API server lists it: without kind, with its own additions and defaults."""
    return {
        "metadata": {**obj["metadata"], "uid": "1", "resourceVersion": "7"},
        "spec": {
            **obj["spec"],
            "clusterIP": "10.0.0.1",
            "ports": [{**port, "protocol": "TCP"} for port in obj["spec"]["ports"]],
        },
        "status": {"loadBalancer": {}},
    }


def test_what_the_server_adds_is_no_difference() -> None:
    assert difference(SERVICE, as_served(SERVICE)) is None


def test_a_changed_field_is_named_by_its_path() -> None:
    seen = as_served(SERVICE)
    seen["spec"]["type"] = "NodePort"
    assert difference(SERVICE, seen) == "spec.type"


def test_a_label_of_somebody_else_is_no_difference_and_a_lost_one_is() -> None:
    seen = as_served(SERVICE)
    seen["metadata"]["labels"] = {"app": "wsnode", "team": "games"}
    assert difference(SERVICE, seen) is None
    seen["metadata"]["labels"] = {"team": "games"}
    assert difference(SERVICE, seen) == "metadata.labels.app"


def test_ports_may_have_company_but_none_of_ours_may_go() -> None:
    seen = as_served(SERVICE)
    seen["spec"]["ports"].append({"name": "extra", "port": 81})
    assert difference(SERVICE, seen) is None
    seen["spec"]["ports"] = [{"name": "extra", "port": 81}]
    assert difference(SERVICE, seen) == "spec.ports"


def test_a_list_that_is_ours_may_have_no_company() -> None:
    wanted: dict[str, Any] = {"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}}
    assert difference(wanted, {"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}}) is None
    assert difference(wanted, {"spec": {"ingress": [{"from": [{"podSelector": {}}]}, {}]}}) == "spec.ingress"


@pytest.mark.parametrize(
    ("one", "other"),
    [("1000m", "1"), ("1Gi", "1024Mi"), ("0.5", "500m"), (2, "2"), ("1.5G", "1500M"), ("1k", 1000)],
)
def test_quantities_are_compared_as_quantities(one: Any, other: Any) -> None:
    assert same_quantity(one, other)
    wanted = {"resources": {"limits": {"cpu": one}}}
    assert difference(wanted, {"resources": {"limits": {"cpu": other}}}) is None


def test_other_quantities_differ_and_text_that_is_none_is_not_equal() -> None:
    assert difference({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1001m"}}) == "limits.cpu"
    assert not same_quantity("1x", "1")
    assert not same_quantity("much", "much more")
    assert difference({"image": "a:1000m"}, {"image": "a:1"}) == "image"


def test_the_empty_and_the_absent_are_the_same() -> None:
    assert difference({"spec": {"paused": False, "name": "", "list": []}}, {"spec": {}}) is None
    assert difference({"spec": {"paused": True}}, {"spec": {}}) == "spec.paused"


def test_an_annotation_is_added_to_a_copy() -> None:
    marked = with_annotation(SERVICE, "a", "b")
    assert marked["metadata"]["annotations"] == {"a": "b"}
    assert "annotations" not in SERVICE["metadata"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert difference(value, value) is None


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_the_hash_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert content_hash(value) == content_hash(dict(reversed(value.items())))


def test_a_port_more_in_a_network_policy_is_a_difference_and_in_a_service_is_none() -> None:
    policy = {"spec": {"ingress": [{"ports": [{"port": 3002}]}]}}
    opened = {"spec": {"ingress": [{"ports": [{"port": 3002}, {"port": 9102}]}]}}
    assert difference(policy, opened) == "spec.ingress[0].ports"
    seen = as_served(SERVICE)
    seen["spec"]["ports"].append({"name": "theirs", "port": 81})
    assert difference(SERVICE, seen) is None
