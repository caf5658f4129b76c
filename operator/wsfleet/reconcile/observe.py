"""What is there of a fleet, at one instant: ReplicaSets, pods, and what the nodes say of themselves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from wsfleet.kube.cache import Cache
from wsfleet.kube.kinds import Object, name_of
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.ownership import controller_of, foreign_sets
from wsfleet.resources import names
from wsfleet.scaling import NodeSample, Phase, SetView, drain_state
from wsfleet.scrape import NodeFigures, Target, due
from wsfleet.status import epoch_seconds

_FORGET_SECONDS = 300.0
_TAKEN_ON_SECONDS = 30.0
"""A kubelet has said its first word of a pod this long after the scheduler gave it the pod."""
_RECENT_SECONDS = 15.0  # three looks, as scaling has it


@dataclass(frozen=True)  # without slots: what is worked out once is kept
class Observed:
    """One instant of a fleet: everything a look decides and tells comes from it."""

    now: float
    """Epoch seconds."""
    sets: tuple[SetView, ...]
    pods: tuple[NodeSample, ...]
    raw_pods: dict[str, Object]
    """By UID."""
    figures: dict[str, NodeFigures]
    """Fresh figures by pod UID: of this look, or of a moment ago."""
    targets: dict[str, Target]
    """Nodes that can be talked to, by pod UID."""
    known: Mapping[str, NodeFigures] = field(default_factory=dict)
    """Figures of earlier looks that still count, by pod UID."""
    refusals: tuple[str, ...] = ()
    """Why ReplicaSets can't make their pods: a quota, an admission."""

    @cached_property
    def recent(self) -> Mapping[str, NodeFigures]:
        """What is known of nodes now: one that is late once has not changed its state."""
        return {**self.known, **self.figures}

    @cached_property
    def connections(self) -> int:
        """Of all pods, those on their way out too, as far as they are known."""
        return sum(pod.connections or 0 for pod in self.pods)

    @cached_property
    def active(self) -> tuple[NodeSample, ...]:
        return tuple(pod for pod in self.pods if not pod.terminating)

    @cached_property
    def ready(self) -> tuple[NodeSample, ...]:
        return tuple(pod for pod in self.active if pod.ready)


async def observe(context: Context, fleet: Key, state: FleetState) -> Observed:
    """Scrape the nodes and put together what is known of the fleet now."""
    foreign = foreign_sets(context, fleet, state.uid)
    pods = _pods_of(context.cache, fleet, foreign)
    targets = {target.uid: target for target in _targets(pods)}
    began = time.monotonic()
    asked = due(targets.values(), state.figures, began, _marked(pods))
    young = {uid: state.figures[uid] for uid in targets.keys() - {one.uid for one in asked}}
    fresh = young | await context.admin.scrape(asked)
    context.metrics.scrapes.observe(time.monotonic() - began)
    context.metrics.missing.inc(len(targets) - len(fresh))
    # The scrape took time: look again at what the watch brought meanwhile.
    pods = _pods_of(context.cache, fleet, foreign)
    _remember(state, fresh, pods)
    now, monotonic = time.time(), time.monotonic()
    sets = [one for one in context.cache.replicasets(fleet) if one["metadata"].get("uid") not in foreign]
    return Observed(
        now=now,
        sets=tuple(set_view(one) for one in sets),
        refusals=tuple(why for one in sets if (why := _refusal(one))),
        pods=tuple(sample_of(pod, state.figures, context.cache, now, monotonic) for pod in pods),
        raw_pods={pod["metadata"]["uid"]: pod for pod in pods},
        figures=fresh,
        known={uid: old for uid, old in state.figures.items() if monotonic - old.taken <= _RECENT_SECONDS},
        targets=targets,
    )


def _pods_of(cache: Cache, fleet: Key, foreign: frozenset[str]) -> list[Object]:
    """Pods without those that have ended: their ReplicaSet has forgotten them, and so do we.

    Nor do those of foreign ReplicaSets count, whatever their labels say.
    """
    return [
        pod
        for pod in cache.pods(fleet)
        if pod["status"].get("phase") not in ("Succeeded", "Failed")
        and (controller_of(pod) or {}).get("uid") not in foreign
    ]


def _targets(pods: Iterable[Object]) -> Iterable[Target]:
    for pod in pods:
        metadata, status = pod["metadata"], pod["status"]
        if status.get("podIP") and status.get("phase") == "Running":
            yield Target(metadata["uid"], metadata["namespace"], metadata["name"], status["podIP"])


def _marked(pods: Iterable[Object]) -> set[str]:
    """Pods that are to go: each look wants to know how far they are."""
    return {
        pod["metadata"]["uid"]
        for pod in pods
        if names.VICTIM_ANNOTATION in (pod["metadata"].get("annotations") or {})
    }


def _remember(state: FleetState, fresh: dict[str, NodeFigures], pods: list[Object]) -> None:
    alive = {pod["metadata"]["uid"] for pod in pods}
    oldest = time.monotonic() - _FORGET_SECONDS
    kept = {uid: old for uid, old in state.figures.items() if uid in alive and old.taken > oldest}
    state.figures = kept | fresh


def _refusal(replicaset: Object) -> str:
    """Why the controller can't make this set's pods, in the API server's words; empty if it can."""
    for one in (replicaset.get("status") or {}).get("conditions") or ():
        if one.get("type") == "ReplicaFailure" and one.get("status") == "True":
            return f"{name_of(replicaset)}: {one.get('message') or one.get('reason') or 'no cause given'}"
    return ""


def set_view(replicaset: Object) -> SetView:
    """A ReplicaSet as rollout and scale-in see it."""
    metadata = replicaset["metadata"]
    return SetView(
        name=metadata["name"],
        shape=(metadata.get("labels") or {}).get(names.SHAPE_LABEL, ""),
        replicas=int(replicaset.get("spec", {}).get("replicas", 1)),
        resource_version=metadata.get("resourceVersion", ""),
        generation=int(metadata.get("generation", 1)),
        observed_generation=int((replicaset.get("status") or {}).get("observedGeneration", 0)),
        created=epoch_seconds(metadata.get("creationTimestamp")) or 0.0,
    )


def sample_of(
    pod: Object, known: dict[str, NodeFigures], cache: Cache, now: float, monotonic: float
) -> NodeSample:
    """A pod with the last figures of its node."""
    metadata, status = pod["metadata"], pod["status"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    is_ready = ready.get("status") == "True"
    figures = known.get(metadata["uid"])
    unready = None if is_ready else _age(ready.get("lastTransitionTime"), now)
    scheduled = _age(conditions.get("PodScheduled", {}).get("lastTransitionTime"), now)
    machine = (pod.get("spec") or {}).get("nodeName")
    return NodeSample(
        uid=metadata["uid"],
        name=name_of(pod),
        shape=labels.get(names.SHAPE_LABEL, ""),
        machine=machine,
        phase=_phase(pod),
        unschedulable=conditions.get("PodScheduled", {}).get("reason") == "Unschedulable",
        ready=is_ready,
        ready_seconds=_age(ready.get("lastTransitionTime"), now) if is_ready else None,
        # Not its age: a pod that was ready for days and stumbles has not missed any deadline.
        unready_seconds=unready,
        been_ready=is_ready or _was_ready(scheduled, unready),
        serving=labels.get(names.SERVING_LABEL) == names.SERVING,
        drain=drain_state(figures.drain_state) if figures else None,
        drain_rate=figures.drain_rate if figures else None,
        cordoned=_cordoned(cache, machine),
        shedding=bool(figures and figures.shed_remaining),
        to_replace=bool(annotations.get(names.REPLACE_ANNOTATION)),
        marked_seconds=_age(annotations.get(names.VICTIM_ANNOTATION), now),
        terminating_seconds=_terminating_seconds(metadata, now),
        connections=figures.connections if figures else None,
        max_connections=figures.max_connections if figures else None,
        cpu_percent=figures.cpu_percent if figures else None,
        rejections=dict(figures.rejections) if figures else {},
        feed_paused=figures.feed_paused if figures else False,
        sample_age_seconds=monotonic - figures.taken if figures else None,
        pod_age_seconds=_age(metadata.get("creationTimestamp"), now) or 0.0,
    )


def _phase(pod: Object) -> Phase:
    if pod["metadata"].get("deletionTimestamp"):
        return Phase.TERMINATING
    return Phase.RUNNING if pod["status"].get("phase") == "Running" else Phase.PENDING


def _terminating_seconds(metadata: Object, now: float) -> float | None:
    """Seconds since the deletion was asked for; the timestamp is that moment plus the grace period."""
    ends = epoch_seconds(metadata.get("deletionTimestamp"))
    if ends is None:
        return None
    return max(0.0, now - ends + float(metadata.get("deletionGracePeriodSeconds") or 0))


def _was_ready(scheduled_seconds: float | None, unready_seconds: float | None) -> bool:
    """Whether a pod that is not ready was so before.

    A kubelet that takes a pod on says at once that it is not ready, and then no more until it is.
    """
    if scheduled_seconds is None or unready_seconds is None:
        return False
    return scheduled_seconds - unready_seconds > _TAKEN_ON_SECONDS


def _cordoned(cache: Cache, machine: str | None) -> bool:
    node = cache.machine(machine) if machine else None
    return bool(node and (node.get("spec") or {}).get("unschedulable"))


def _age(moment: str | None, now: float) -> float | None:
    since = epoch_seconds(moment)
    return None if since is None else max(0.0, now - since)
