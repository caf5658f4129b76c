"""One budget of closes a second for the whole fleet, whatever closes them."""

from __future__ import annotations

from collections.abc import Iterable

from wsfleet.scaling.policy import closes_per_second
from wsfleet.scaling.samples import NodeSample

_LEAST_SHARE = 0.1
"""Of the budget: a drain never stands still because others have taken all of it."""


def drain_rate(uid: str, pods: Iterable[NodeSample], configured: float | None, own_rate: float) -> float:
    """Closes a second for one node that is to drain: its part of the budget.

    Shared by all that are being emptied, as their connections are, so that they end together. What pods on
    their way out take by themselves (`own_rate`, the node's WS_DRAIN_RATE: a SIGTERM knows no other) is
    taken off before.
    """
    present = tuple(pods)
    budget = closes_per_second(sum(pod.connections or 0 for pod in present), configured)
    leaving = sum(1 for pod in present if pod.terminating and pod.connections)
    left = max(budget * _LEAST_SHARE, budget - leaving * own_rate)
    emptied = [
        pod for pod in present if not pod.terminating and (pod.marked or pod.draining or pod.uid == uid)
    ]
    # A missing figure counts as full, or its node would be given next to nothing.
    most = max((pod.connections or 0 for pod in emptied), default=0) or 1
    sizes = {pod.uid: most if pod.connections is None else pod.connections for pod in emptied}
    total = sum(sizes.values())
    share = sizes.get(uid, most) / total if total else 1 / max(1, len(emptied))
    return max(left * share, 1e-3)
