"""From pydantic's JSON schema to the structural schema that a CustomResourceDefinition may hold.

Rules: "Specifying a structural schema" in Kubernetes' documentation of custom resources. No `$ref`,
no `anyOf` with null, `exclusiveMinimum` a boolean, no `additionalProperties` beside `properties`
(unknown fields are pruned, and named by clients that ask for strict validation).
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

_DROPPED = frozenset({"title", "$defs", "discriminator", "propertyNames", "writeOnly", "readOnly"})
_COPIED = (
    "type",
    "format",
    "description",
    "default",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
)
_WALKED = frozenset({"properties", "items", "additionalProperties", "patternProperties"})
_EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_INT32_MAX = 2**31 - 1


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of one model, keys in a fixed order.

    Raises:
        ValueError: the model holds something that such a schema can't say.
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    flat = _flatten(schema, definitions)
    unknown = set(flat) - _DROPPED - set(_COPIED) - _WALKED
    unknown = {key for key in unknown if not key.startswith("x-kubernetes-") and key not in _EXCLUSIVE}
    if unknown:
        raise ValueError(f"a structural schema can't say {sorted(unknown)}: {flat}")
    found = {key: flat[key] for key in _COPIED if key in flat and flat[key] is not None}
    if "description" in found:
        found["description"] = " ".join(inspect.cleandoc(found["description"]).split())
    for exclusive, bound in _EXCLUSIVE.items():
        if exclusive in flat:
            found |= {bound: flat[exclusive], exclusive: True}
    if found.get("type") == "integer":
        found["format"] = "int32" if found.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"
    if "items" in flat:
        found["items"] = _convert(flat["items"], definitions)
    if "properties" in flat:
        found["properties"] = {
            name: _convert(child, definitions) for name, child in flat["properties"].items()
        }
    elif "patternProperties" in flat:
        # The keys' pattern can't be said in the schema; `bounded_map` says it as a rule.
        found["additionalProperties"] = _convert(next(iter(flat["patternProperties"].values())), definitions)
    elif isinstance(flat.get("additionalProperties"), dict):
        found["additionalProperties"] = _convert(flat["additionalProperties"], definitions)
    if found.get("default") == {}:
        # Rules are tried on the default as it stands here, before defaults inside it are filled in.
        found["default"] = {
            name: child["default"]
            for name, child in found.get("properties", {}).items()
            if "default" in child
        }
    return found | {key: value for key, value in flat.items() if key.startswith("x-kubernetes-")}


def _flatten(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """One schema object with references and `or null` resolved; what stands beside them wins."""
    flat = dict(schema)
    while True:
        if "$ref" in flat:
            target = definitions[flat.pop("$ref").rpartition("/")[2]]
            flat = target | flat
        elif "anyOf" in flat:
            choices = [choice for choice in flat.pop("anyOf") if choice != {"type": "null"}]
            if len(choices) != 1:
                raise ValueError(f"a structural schema can't choose between {choices}")
            flat = choices[0] | flat
        elif "const" in flat:
            flat["enum"] = [flat.pop("const")]
        else:
            return flat
