"""What the API server serves: whether our resource is there with all its fields, and which kinds are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsfleet.kube.client import KubeClient
from wsfleet.kube.errors import NotFoundError
from wsfleet.kube.kinds import WSFLEET, Kind


async def is_served(client: KubeClient, kind: Kind) -> bool:
    """Whether the API server has this kind now."""
    try:
        answer = await client.read_path(f"/apis/{kind.group}/{kind.version}")
    except NotFoundError:
        return False
    return any(one.get("name") == kind.plural for one in answer.get("resources") or ())


async def missing_fields(client: KubeClient, wanted: Mapping[str, Any]) -> list[str]:
    """Fields of our CRD's schema that the installed one lacks: the API server would drop them silently.

    Read from the published OpenAPI document, which every authenticated client may read; so the
    operator needs no right on CustomResourceDefinitions.
    """
    document = await client.read_path(f"/openapi/v3/apis/{WSFLEET.group}/{WSFLEET.version}")
    schemas = document.get("components", {}).get("schemas", {})
    for schema in schemas.values():
        for identity in schema.get("x-kubernetes-group-version-kind") or ():
            if identity.get("kind") == WSFLEET.kind and "spec" in schema.get("properties", {}):
                return lacking(wanted, schema)
    return []


def lacking(wanted: Mapping[str, Any], there: Mapping[str, Any], path: str = "") -> list[str]:
    """Paths of properties that are in one schema and not in the other; a lacking object is named once."""
    found: list[str] = []
    have = there.get("properties") or {}
    for name, schema in (wanted.get("properties") or {}).items():
        place = f"{path}.{name}" if path else name
        if name not in have:
            if path or name not in ("apiVersion", "kind", "metadata"):
                found.append(place)
            continue
        if name != "metadata" or path:
            found += lacking(schema, have[name], place)
    for part in ("items", "additionalProperties"):
        if isinstance(wanted.get(part), Mapping) and isinstance(there.get(part), Mapping):
            found += lacking(wanted[part], there[part], f"{path}[]")
    return found
