"""Taking one chosen pod out of its ReplicaSet so that it, and no other, goes, and goes empty.

The order: mark -> drain -> empty or timed out -> replicas - 1. Used by scale-in and rollout alike; each look
at the world tells where a pod stands, so nothing is remembered.

Which pod the ReplicaSet controller deletes is its choice: without a machine first, then pending, then not
ready, then the lowest pod-deletion-cost (kubernetes, pkg/controller/controller_utils.go,
ActivePodsWithRanks). So replicas are lowered only while the chosen pod is alone at the front of that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wsfleet.scaling.policy import RetirePolicy
from wsfleet.scaling.samples import DrainState, NodeSample
from wsfleet.scaling.world import Mark, Release, Resize, SetView, StartDrain, Step, Together, Wait, World

Why = Callable[[NodeSample], str]
"""The reason of a pod's going, for people."""


def next_retire_step(world: World, victim: NodeSample, policy: RetirePolicy, why: str) -> Step:
    """The next step of taking `victim` out; `why` is the reason shown to people.

    The caller has made sure that the fleet can do without it, and that no removal is under way already; it
    gives the victim back with `release` if not.
    """
    if not victim.marked:
        return Mark(uid=victim.uid, pod=victim.name, reason=why)
    owner = world.set_of(victim.shape)
    if owner is None:
        return Wait(reason=f"{victim.name} has no ReplicaSet any more; Kubernetes removes it")
    waiting = _drain_step(victim, policy, why)
    return waiting or _shrink(world, owner, [victim], policy, why)


def next_wave_step(world: World, victims: Sequence[NodeSample], policy: RetirePolicy, why: Why) -> Step:
    """The next step of taking several marked pods out together, each as `next_retire_step` would.

    They are drained side by side and removed once all are done: one that is only being emptied and one that
    is empty are alike to the ReplicaSet controller.
    """
    if len(victims) == 1:
        return next_retire_step(world, victims[0], policy, why(victims[0]))
    found = [_drain_step(pod, policy, why(pod)) for pod in victims]
    drains = tuple(step for step in found if isinstance(step, StartDrain))
    if drains:
        return drains[0] if len(drains) == 1 else Together(steps=drains, reason=drains[0].reason)
    waits = [step for step in found if step is not None]
    if waits:
        return waits[0]
    shape = min(pod.shape for pod in victims)
    owner = world.set_of(shape)
    if owner is None:
        return Wait(reason=f"{victims[0].name} has no ReplicaSet any more; Kubernetes removes it")
    of_set = [pod for pod in victims if pod.shape == shape]
    return _shrink(world, owner, of_set, policy, why(of_set[0]))


def release(victim: NodeSample, reason: str) -> Release:
    """Give a victim back to its clients."""
    return Release(uid=victim.uid, pod=victim.name, cancel_drain=not victim.pending, reason=reason)


def blocking_terminations(world: World, policy: RetirePolicy) -> tuple[NodeSample, ...]:
    """Pods on their way out that have to be waited for; those of a lost machine are not."""
    return tuple(
        pod
        for pod in world.pods
        if pod.terminating and (pod.terminating_seconds or 0.0) < policy.terminating_seconds
    )


def rank(pod: NodeSample) -> tuple[bool, bool, bool, bool]:
    """The controller's order of deletion; the lowest goes first. A marked pod has the lowest cost."""
    return (pod.machine is not None and not pod.unschedulable, not pod.pending, pod.ready, not pod.marked)


def removal_under_way(world: World, victims: Iterable[NodeSample]) -> Wait | None:
    """A wait, if the set of one of the victims is about to remove a pod: too late to give it back."""
    for pod in victims:
        owner = world.set_of(pod.shape)
        if owner is not None and is_going(world, owner):
            return Wait(reason=f"waiting for {owner.name} to remove {pod.name}")
    return None


def nothing_to_lose(pod: NodeSample) -> bool:
    """Without this pod no less is served: it is not ready, and not because it is being emptied."""
    return not pod.ready and not pod.draining


def better_victims(world: World, victim: NodeSample) -> tuple[NodeSample, ...]:
    """Pods of the victim's set that serve nobody and that the controller would remove before it."""
    return tuple(
        pod
        for pod in world.active_of(victim.shape)
        if pod.uid != victim.uid and nothing_to_lose(pod) and rank(pod) < rank(victim)
    )


def is_going(world: World, owner: SetView) -> bool:
    """A removal is under way: fewer replicas than pods, or a controller that has not looked yet."""
    return not owner.settled or len(world.active_of(owner.shape)) > owner.replicas


def _drain_step(victim: NodeSample, policy: RetirePolicy, why: str) -> Step | None:
    """Start the drain or wait for it; None once there is nothing more to wait for."""
    marked = victim.marked_seconds or 0.0
    if victim.pending or victim.drain is DrainState.DRAINED:
        return None
    if _timed_out(victim, policy) or nothing_to_lose(victim):
        # Whoever is still on a node that is not ready, SIGTERM drains. Drained by command, it could not be
        # told from a node that serves and is being emptied, and would be given back for ever.
        return None
    if victim.draining:
        left = "unknown" if victim.connections is None else f"{victim.connections:,}"
        return Wait(reason=f"{victim.name} is being emptied, {left} connections left")
    answers = (victim.sample_age_seconds or 0.0) < policy.admin_wait_seconds
    if marked < policy.admin_wait_seconds or (victim.drain is DrainState.NONE and answers):
        return StartDrain(uid=victim.uid, pod=victim.name, reason=why)
    return None


def _shrink(
    world: World, owner: SetView, victims: Sequence[NodeSample], policy: RetirePolicy, why: str
) -> Step:
    """Lower the replicas by the number of victims, if it is certain that they and no others go."""
    leaving = blocking_terminations(world, policy)
    if leaving:
        return Wait(reason=f"{leaving[0].name} is still terminating")
    pods = world.active_of(owner.shape)
    if len(pods) != owner.replicas:
        return Wait(reason=f"{owner.name} has {len(pods)} of {owner.replicas} pods")
    last = max(victims, key=rank)
    uids = {pod.uid for pod in victims}
    ahead = [pod for pod in pods if pod.uid not in uids and rank(pod) <= rank(last)]
    if ahead:
        return Wait(reason=f"{ahead[0].name} would be removed in place of {last.name}; waiting for it")
    for victim in victims:
        if victim.drain is DrainState.DRAINED and victim.ready and not _timed_out(victim, policy):
            return Wait(reason=f"{victim.name} is empty; waiting until it counts as not ready")
    return Resize(
        set_name=owner.name,
        shape=owner.shape,
        before=owner.replicas,
        replicas=owner.replicas - len(victims),
        resource_version=owner.resource_version,
        reason=why,
        victim_uids=tuple(pod.uid for pod in victims),
    )


def _timed_out(victim: NodeSample, policy: RetirePolicy) -> bool:
    longest = policy.delay_seconds + policy.timeout_seconds + policy.margin_seconds
    return (victim.marked_seconds or 0.0) >= longest
