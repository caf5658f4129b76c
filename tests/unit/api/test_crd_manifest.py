"""The CRD as a document: what it offers, that it is bounded, and that its files are up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleets import fleet_document
from wsfleet.api import OVERRIDABLE, WsFleet
from wsfleet.api.crd import FILES, build_crd, main
from wsnode.config import Settings, override_name

ROOT = Path(__file__).parents[3]


def version() -> dict[str, Any]:
    found: dict[str, Any] = build_crd()["spec"]["versions"][0]
    return found


def spec_schema() -> dict[str, Any]:
    found: dict[str, Any] = version()["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from walk(schema[inner], f"{path}[]")


def test_names_and_subresources() -> None:
    spec = build_crd()["spec"]
    assert build_crd()["metadata"]["name"] == "wsfleets.wsfleet.io"
    assert spec["group"] == "wsfleet.io"
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["kind"] == "WsFleet"
    assert spec["names"]["shortNames"] == ["wsf"]
    assert version()["name"] == "v1alpha1"
    assert version()["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_columns() -> None:
    columns = version()["additionalPrinterColumns"]
    assert [(column["name"], column["priority"]) for column in columns] == [
        ("Ready", 0),
        ("Desired", 0),
        ("Connections", 0),
        ("Capacity", 0),
        ("CPU %", 0),
        ("Phase", 0),
        ("Age", 0),
        ("Profile", 1),
        ("Last Decision", 1),
    ]


def test_columns_and_subresources_point_at_fields_that_are_there() -> None:
    known = {path for path, _ in walk(version()["schema"]["openAPIV3Schema"], "")}
    paths = [column["jsonPath"] for column in version()["additionalPrinterColumns"]]
    paths += version()["subresources"]["scale"].values()
    assert set(paths) - known == {".metadata.creationTimestamp"}


def test_the_name_is_a_label_of_at_most_47_that_starts_with_a_letter() -> None:
    name = version()["schema"]["openAPIV3Schema"]["properties"]["metadata"]["properties"]["name"]
    assert name["maxLength"] == 47
    assert name["pattern"] == "^[a-z]([-a-z0-9]*[a-z0-9])?$"


@pytest.mark.parametrize("path", FILES)
def test_the_files_are_what_the_models_give(path: Path) -> None:
    assert main(["--check"], ROOT) == 0


def test_a_stale_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    (tmp_path / "crds/wsfleets.wsfleet.io.yaml").write_text("old")
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert (
        capsys.readouterr().err
        == "crds/wsfleets.wsfleet.io.yaml is not what the models give: run `make manifests`\n"
    )


def test_every_setting_is_an_override_save_for_the_operators_own() -> None:
    properties = spec_schema()["properties"]["overrides"]["properties"]
    assert set(properties) == {override_name(name) for name in OVERRIDABLE}
    assert set(Settings.model_fields) - set(OVERRIDABLE) == {
        *("addr", "admin_addr", "admin_token_file", "settings_file", "node_name", "processes"),
        *("nats_url", "nats_credentials_file", "js_stream_name", "js_stream_subjects"),
        *("tls_cert_file", "tls_key_file"),
    }


def test_an_override_has_the_settings_own_bounds_and_says_whether_it_is_live() -> None:
    properties = spec_schema()["properties"]["overrides"]["properties"]
    assert properties["maxConnections"] == {
        "type": "integer",
        "format": "int32",
        "description": "WS_MAX_CONNECTIONS: client connections accepted at most; "
        "applies to running nodes at once",
        "minimum": 1,
        "maximum": 1_000_000,
    }
    assert properties["cpuLimit"]["exclusiveMinimum"] is True
    assert properties["logFormat"]["enum"] == ["json", "text"]
    assert properties["logFormat"]["description"].endswith("a change replaces the pods, one by one")
    assert properties["jsConsumerName"]["pattern"] == "^[A-Za-z0-9_-]{1,64}$"
    rule = properties["clientBufferBytes"]["x-kubernetes-validations"][0]
    assert rule["message"] == "must be from 4Ki to 256Mi"


@pytest.mark.parametrize(
    ("name", "bounds", "end"),
    [
        ("drainDelay", "0s to 300s", "applies to running nodes at once; wins over spec.drain.delaySeconds"),
        (
            "drainTimeout",
            "1s to 500s",
            "not raised to what a full node needs; applies to running nodes at once; "
            "wins over spec.drain.timeoutSeconds",
        ),
        ("jsStreamMaxAge", "1s to 86400s", "one by one; wins over spec.nats.stream.maxAge"),
        ("jsStreamMaxBytes", "1Ki to 1Ti", "one by one; wins over spec.nats.stream.maxBytes"),
    ],
)
def test_an_override_says_which_field_of_the_spec_it_wins_over(name: str, bounds: str, end: str) -> None:
    override = spec_schema()["properties"]["overrides"]["properties"][name]
    assert override["x-kubernetes-validations"][0]["message"] == f"must be from {bounds}"
    assert override["description"].endswith(f"; {end}") or override["description"].endswith(f", {end}")


def test_a_number_of_messages_is_bounded_as_the_setting_is() -> None:
    override = spec_schema()["properties"]["overrides"]["properties"]["jsStreamMaxMsgs"]
    assert (override["minimum"], override["maximum"]) == (1, 1_000_000_000)
    assert override["description"].endswith("; wins over spec.nats.stream.maxMessages")


def test_fields_that_an_override_wins_over_say_so() -> None:
    spec = spec_schema()["properties"]
    assert spec["overrides"]["description"].endswith("they also win over spec.drain and spec.nats.stream")
    drain, stream = spec["drain"]["properties"], spec["nats"]["properties"]["stream"]["properties"]
    for field, override in (
        (drain["delaySeconds"], "drainDelay"),
        (drain["timeoutSeconds"], "drainTimeout"),
        (stream["maxAge"], "jsStreamMaxAge"),
        (stream["maxMessages"], "jsStreamMaxMsgs"),
        (stream["maxBytes"], "jsStreamMaxBytes"),
    ):
        assert field["description"].endswith(f"; spec.overrides.{override} wins over it")


@pytest.mark.parametrize("name", ["cpuLimit", "memoryLimit"])
def test_a_limit_above_the_machines_is_said_to_replace_the_pods(name: str) -> None:
    assert spec_schema()["properties"]["overrides"]["properties"][name]["description"].endswith(
        "applies to running nodes at once; above what spec.instance has available it raises the pods' own "
        "limit too, and that replaces them, one by one"
    )


def test_everything_a_user_writes_is_bounded() -> None:
    unbounded = [
        path
        for path, schema in walk(spec_schema(), "spec")
        if (schema.get("type") == "string" and "maxLength" not in schema and "enum" not in schema)
        or (schema.get("type") == "array" and "maxItems" not in schema)
        or ("additionalProperties" in schema and "maxProperties" not in schema)
        or (schema.get("type") in ("integer", "number") and not {"minimum", "maximum"} <= set(schema))
        or (schema.get("x-kubernetes-int-or-string") and "maxLength" not in schema)
        or schema.get("x-kubernetes-preserve-unknown-fields")
    ]
    assert unbounded == []


def test_everything_a_user_writes_is_described() -> None:
    bare = [
        path
        for path, schema in walk(spec_schema(), "spec")
        if not path.endswith("[]") and not schema.get("description")
    ]
    assert bare == []


def test_the_schema_is_structural() -> None:
    text = str(version())
    for forbidden in ("$ref", "anyOf", "oneOf", "allOf", "patternProperties", "propertyNames", "title"):
        assert f"'{forbidden}'" not in text


def test_defaults_in_the_schema_are_the_models_defaults() -> None:
    filled = fleet_document(autoscaling={"maxReplicas": 3})["spec"]
    _fill(spec_schema(), filled)
    spec = WsFleet.parse(fleet_document(autoscaling={"maxReplicas": 3})).spec
    by_hand = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert _without_empty(by_hand) == _without_empty(filled)


def test_patterns_are_anchored() -> None:
    patterns = [schema["pattern"] for _, schema in walk(spec_schema(), "spec") if "pattern" in schema]
    assert all(re.fullmatch(r"\^.*\$", pattern) for pattern in patterns)


def _fill(schema: dict[str, Any], value: dict[str, Any]) -> None:
    """As the API server fills in defaults."""
    for name, child in schema.get("properties", {}).items():
        if name not in value and "default" in child:
            value[name] = child["default"]
        if isinstance(value.get(name), dict):
            _fill(child, value[name])


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        found = {name: _without_empty(child) for name, child in value.items()}
        return {name: child for name, child in found.items() if child not in ({}, [])}
    return value
