"""One budget of closes a second for the whole fleet, whatever closes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wsfleet.scaling.policy import closes_per_second
from wsfleet.scaling.samples import NodeSample

_LEAST_SHARE = 0.1
"""Of the budget: a drain never stands still because others have taken all of it."""
_LEAST_RATE = 1e-3
_TOLD_SECONDS = 15.0
"""A node that has not answered for longer can hardly be told anything."""
_ENDING_SECONDS = 2.0
"""A drain that is over so soon is left alone: of the last few clients the shares change with each."""
_MOVED_SHARE = 0.2
"""A node is told its rate anew when it differs by more than this from what it was told."""


def drain_rate(uid: str, pods: Iterable[NodeSample], configured: float | None, own_rate: float) -> float:
    """Closes a second for one node that is to drain: its part of the budget; see `drain_rates`."""
    return drain_rates(pods, configured, own_rate, starting=uid).get(uid, _LEAST_RATE)


def drain_rates(
    pods: Iterable[NodeSample], configured: float | None, own_rate: float, starting: str = ""
) -> dict[str, float]:
    """Closes a second for each node that is being emptied, by pod UID: together the fleet's budget.

    Shared as their connections are, so that they end together: by those that drain by command, by `starting`,
    which is about to, and by those that others delete or evict, as far as they answer: a node that had
    SIGTERM takes another rate too. What the silent ones of these close by themselves (`own_rate`, the node's
    WS_DRAIN_RATE: a SIGTERM knows no other) is taken off before.
    """
    present = tuple(pods)
    budget = closes_per_second(sum(pod.connections or 0 for pod in present), configured)
    leaving = [pod for pod in present if pod.terminating and pod.connections]
    heard = [pod for pod in leaving if _answers(pod)]
    left = max(budget * _LEAST_SHARE, budget - (len(leaving) - len(heard)) * own_rate)
    emptied = [
        pod for pod in present if not pod.terminating and (pod.marked or pod.draining or pod.uid == starting)
    ]
    sharing = [*emptied, *heard]
    # A missing figure counts as full, or its node would be given next to nothing.
    most = max((pod.connections or 0 for pod in sharing), default=0) or 1
    sizes = {pod.uid: most if pod.connections is None else pod.connections for pod in sharing}
    total = sum(sizes.values())
    return {
        uid: max(left * (size / total if total else 1 / len(sizes)), _LEAST_RATE)
        for uid, size in sizes.items()
    }


def rates_to_tell(
    pods: Iterable[NodeSample], rates: Mapping[str, float], told: Mapping[str, float], own_rate: float
) -> dict[str, float]:
    """Of `rates` those that their nodes don't go by yet, of nodes whose drain has begun.

    `told` is what each was told last. One that nobody told goes by `own_rate`, if it ends by itself, else by
    what it says of its drain.
    """
    changed = {}
    for pod in pods:
        rate = rates.get(pod.uid)
        if rate is None or not (pod.terminating or pod.draining) or not pod.connections:
            continue
        present = told.get(pod.uid, own_rate if pod.terminating else pod.drain_rate)
        if present is None or pod.connections <= present * _ENDING_SECONDS:
            continue
        if abs(rate - present) > _MOVED_SHARE * present:
            changed[pod.uid] = rate
    return changed


def _answers(pod: NodeSample) -> bool:
    return pod.sample_age_seconds is not None and pod.sample_age_seconds <= _TOLD_SECONDS
