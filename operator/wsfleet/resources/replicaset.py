"""The ReplicaSet of one shape."""

from __future__ import annotations

from typing import Any

from wsfleet.resources import names
from wsfleet.resources.context import BuildContext
from wsfleet.resources.pod import build_pod_template
from wsfleet.resources.shape import shape_hash


def build_replicaset(context: BuildContext, replicas: int = 0) -> dict[str, Any]:
    """The ReplicaSet to create for the context's shape.

    For creation only: applied later, with or without `replicas`, it would fight over the number
    with the scale subresource, through which all later sizes go.
    """
    shape = shape_hash(context)
    metadata = context.metadata(names.replicaset_name(context.name, shape))
    metadata["labels"] = metadata["labels"] | {names.SHAPE_LABEL: shape}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": names.fleet_selector(context.name) | {names.SHAPE_LABEL: shape}},
            "template": build_pod_template(context, shape),
        },
    }
