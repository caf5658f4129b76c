"""The PodDisruptionBudget."""

from __future__ import annotations

from typing import Any

from wsfleet.resources import names
from wsfleet.resources.context import BuildContext


def build_pdb(context: BuildContext, max_unavailable: int = 0) -> dict[str, Any]:
    """No pod may be evicted: `kubectl drain` retries while the operator replaces and drains the pod.

    With 1 the only pod of a small fleet would go at once, its clients with it.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": context.metadata(names.pdb_name(context.name)),
        "spec": {
            "maxUnavailable": max_unavailable,
            "selector": {"matchLabels": names.fleet_selector(context.name)},
        },
    }
