"""Who goes: one function for scale-in and rollout alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wsfleet.scaling.samples import NodeSample


def victim_order(pod: NodeSample, replaced: bool) -> tuple[bool, bool, bool, bool, bool, float, float, str]:
    """The sort key of `choose_victim`; the first of the order goes.

    Being replaced anyway, not ready (one that no machine takes before one that is only starting), on a
    cordoned machine or to be replaced on request, fewest connections (missing counts as full), youngest, and
    last the uid, so that two looks at the same fleet choose the same pod.
    """
    connections = float("inf") if pod.connections is None else float(pod.connections)
    return (
        not replaced,
        pod.ready,
        not pod.unschedulable,
        not pod.pending,
        not (pod.cordoned or pod.to_replace),
        connections,
        pod.pod_age_seconds,
        pod.uid,
    )


def choose_victim(nodes: Iterable[NodeSample], replaced_shapes: Collection[str] = ()) -> NodeSample | None:
    """The pod whose going costs least, or None if there is none that is not already going.

    `replaced_shapes` are those that a rollout is taking out of the fleet.
    """
    candidates = [pod for pod in nodes if not pod.terminating]
    return min(candidates, key=lambda pod: victim_order(pod, pod.shape in replaced_shapes), default=None)
