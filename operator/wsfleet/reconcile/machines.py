"""Whether a pod of the fleet fits on any Kubernetes node at all. Pure.

Only a necessary condition: what other pods use, taints and selectors are the scheduler's affair,
and its own words are shown beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wsfleet.kube.apply import amount_of

FIELD = "spec.template.resources.requests"


def misfit(template: Mapping[str, Any], machines: Iterable[Mapping[str, Any]]) -> str:
    """Why no machine is large enough for a pod; empty where one is, or none may be read."""
    requests = template["spec"]["containers"][0]["resources"]["requests"]
    offers = [one["status"].get("allocatable") or {} for one in machines]
    offers = [offer for offer in offers if "cpu" in offer and "memory" in offer]
    if not offers or any(_fits(requests, offer) for offer in offers):
        return ""
    largest = max(offers, key=lambda offer: (amount_of(offer["memory"]) or 0, amount_of(offer["cpu"]) or 0))
    return (
        f"a pod requests {_text(requests)}, and no Kubernetes node has that "
        f"(the largest: {_text(largest)} allocatable); lower {FIELD}, or add larger machines"
    )


def _fits(requests: Mapping[str, Any], offer: Mapping[str, Any]) -> bool:
    pairs = [(amount_of(requests[name]), amount_of(offer[name])) for name in ("cpu", "memory")]
    # A quantity that can't be read is no reason to say that nothing fits.
    return all(wanted is None or there is None or wanted <= there for wanted, there in pairs)


def _text(resources: Mapping[str, Any]) -> str:
    return f"cpu {resources['cpu']} and memory {resources['memory']}"
