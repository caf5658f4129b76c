"""The small parts at the edges: errors, events, options, schemas, what is kept of watched objects."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from wsfleet.api.crd import build_crd
from wsfleet.kube.discovery import lacking
from wsfleet.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    UnavailableError,
    error_for,
    in_going_namespace,
)
from wsfleet.kube.events import build_event
from wsfleet.kube.kinds import NODE, POD, REPLICASET, WSFLEET
from wsfleet.kube.trim import trim_pod
from wsfleet.options import OperatorOptions, OptionsError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, ExpiredError),
        (422, InvalidError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
        (418, KubeError),
    ],
)
def test_an_answer_becomes_the_error_of_its_status(status: int, kind: type[KubeError]) -> None:
    error = error_for("GET /x", status, json.dumps({"message": "no"}).encode())
    assert type(error) is kind
    assert str(error) == "GET /x: no"


def test_an_answer_that_is_no_status_object_is_told_as_it_is() -> None:
    error = error_for("GET /x", 502, b"<html>bad gateway</html>", retry_after="3")
    assert isinstance(error, UnavailableError)
    assert error.retry_after == 3.0
    assert "bad gateway" in str(error)
    assert str(error_for("GET /x", 500, b"[]")) == "GET /x: []"


def test_two_kinds_of_conflict() -> None:
    exists = json.dumps({"reason": "AlreadyExists", "message": "there"}).encode()
    assert isinstance(error_for("POST /x", 409, exists), AlreadyExistsError)
    other = json.dumps({"details": {"causes": [{"field": "metadata.uid"}]}}).encode()
    assert isinstance(error_for("PATCH /x", 422, other), ConflictError)


def test_a_namespace_that_is_going_is_no_missing_right() -> None:
    text = (
        'events "a" is forbidden: unable to create new content in namespace b because it is being terminated'
    )
    assert in_going_namespace(error_for("POST /x", 403, json.dumps({"message": text}).encode()))
    assert not in_going_namespace(error_for("POST /x", 403, b'{"message": "you may not"}'))


def test_addresses_of_objects() -> None:
    assert POD.path() == "/api/v1/pods"
    assert POD.path("games", "odin-1", "proxy") == "/api/v1/namespaces/games/pods/odin-1/proxy"
    assert REPLICASET.path("games", "r", "scale") == "/apis/apps/v1/namespaces/games/replicasets/r/scale"
    assert NODE.path(None, "n1") == "/api/v1/nodes/n1"
    assert WSFLEET.path("games") == "/apis/wsfleet.io/v1alpha1/namespaces/games/wsfleets"


def test_an_event_keeps_the_bounds_of_its_kind() -> None:
    fleet = {
        "apiVersion": "wsfleet.io/v1alpha1",
        "kind": "WsFleet",
        "metadata": {"name": "odin", "namespace": "games", "uid": "u"},
    }
    now = dt.datetime(2026, 1, 31, 8, 0, 0, 123456, dt.UTC)
    event = build_event(fleet, "Normal", "Decided", "Scale", "x" * 5000, "i" * 500, now)
    assert event["eventTime"] == "2026-01-31T08:00:00.123456Z"
    assert len(event["note"]) == 1024
    assert len(event["reportingInstance"]) == 128
    assert event["regarding"]["uid"] == "u"


def test_options_come_from_variables_and_flags_win() -> None:
    environ = {"WSFLEET_NAMESPACES": "a, b", "WSFLEET_TICK_SECONDS": "2", "WSFLEET_SERVICE_HOST": "10.0.0.1"}
    options = OperatorOptions.from_env(environ, namespaces=(), node_image="x")
    assert options.namespaces == ("a", "b")
    assert options.tick_seconds == 2.0
    assert options.node_image == "x"
    assert OperatorOptions.from_env(environ, namespaces=("c",)).namespaces == ("c",)


def test_a_bad_option_is_named() -> None:
    with pytest.raises(OptionsError, match="WSFLEET_TICK_SECONDS='soon'"):
        OperatorOptions.from_env({"WSFLEET_TICK_SECONDS": "soon"})


def test_peers_of_the_admin_port_are_a_json_list() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "victoria"}}}
    options = OperatorOptions.from_env({"WSFLEET_ADMIN_PEERS": json.dumps([peer])})
    assert options.admin_peers == (peer,)
    assert OperatorOptions.from_env({"WSFLEET_ADMIN_PEERS": "[]"}).admin_peers == ()
    for wrong in ("{}", "[1]", "prometheus", '[{"podSelectors": {}}]'):
        with pytest.raises(OptionsError, match=r"WSFLEET_ADMIN_PEERS=.*must be a JSON list of objects with"):
            OperatorOptions.from_env({"WSFLEET_ADMIN_PEERS": wrong})


def test_an_installed_schema_that_is_ours_lacks_nothing_and_an_older_one_is_named() -> None:
    schema: dict[str, Any] = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert lacking(schema, schema) == []
    older = json.loads(json.dumps(schema))
    del older["properties"]["spec"]["properties"]["autoscaling"]
    assert lacking(schema, older) == ["spec.autoscaling"]


def test_of_a_pod_only_what_is_used_is_kept() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "a", "managedFields": [1], "labels": {"x": "y"}},
        "spec": {"nodeName": "n1", "containers": [{"image": "x"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "hostIP": "1.2.3.4",
            "conditions": [{"type": "Ready"}, {"type": "Initialized"}],
            "containerStatuses": [{"name": "wsnode", "imageID": "x", "state": {"running": {}}}],
        },
    }
    assert trim_pod(pod) == {
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": {"nodeName": "n1"},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready"}],
            "containerStatuses": [{"name": "wsnode", "state": {"running": {}}}],
        },
    }
