"""Fleets for tests, from as little as a test wants to say."""

from __future__ import annotations

from typing import Any

from wsfleet.api import WsFleet
from wsfleet.resources import BuildContext, settings_of
from wsfleet.sizing import PodResources
from wsnode.config import Settings

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
    settings: Settings | None = None,
    image: str = IMAGE,
    annotations: dict[str, str] | None = None,
    operator_namespace: str = "wsfleet-system",
    **spec: Any,
) -> BuildContext:
    """A context with the seed's plan for e2-small, without asking the sizing rules."""
    fleet = WsFleet.parse(fleet_document(annotations=annotations, **spec))
    return BuildContext(
        name=fleet.metadata.name,
        namespace=fleet.metadata.namespace,
        uid=fleet.metadata.uid,
        spec=fleet.spec,
        settings=settings_of(settings or Settings(), fleet.spec),
        image=image,
        limits=PodResources(1800, 1879048192),
        requests=PodResources(450, 500 * 2**20),
        restarted_at=fleet.metadata.annotations.get("wsfleet.io/restartedAt", ""),
        operator_namespace=operator_namespace,
    )
