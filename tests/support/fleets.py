"""Fleets for tests, from as little as a test wants to say."""

from __future__ import annotations

from typing import Any

from wsfleet.api import WsFleet
from wsfleet.resources import BuildContext
from wsfleet.sizing import make_plan
from wsfleet.sizing.from_spec import inputs_from_spec

NATS = {"url": "nats://nats:4222"}
IMAGE = "registry.example/wsnode:1"


def fleet_document(
    name: str = "odin", annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """The smallest WsFleet, with fields of its spec given by their names in the resource."""
    return {
        "apiVersion": "wsfleet.io/v1alpha1",
        "kind": "WsFleet",
        "metadata": {
            "name": name,
            "namespace": "games",
            "uid": "7d9c3f8e-0000-4000-8000-000000000001",
            "annotations": annotations or {},
        },
        "spec": {"nats": NATS, **spec},
    }


def build_context(
    image: str = IMAGE,
    annotations: dict[str, str] | None = None,
    operator_namespace: str = "wsfleet-system",
    **spec: Any,
) -> BuildContext:
    """The context of such a fleet, with the plan that the sizing rules make of it."""
    fleet = WsFleet.parse(fleet_document(annotations=annotations, **spec))
    plan = make_plan(*inputs_from_spec(fleet.spec))
    return BuildContext.of(fleet, plan, image, operator_namespace=operator_namespace)
