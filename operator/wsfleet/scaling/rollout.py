"""Bringing a fleet to a new shape: surge one, wait Ready, drain an old one, shrink its set, go on.

One ReplicaSet a shape, and one pure function of what is there. So a spec that is reverted in the middle, an
operator that stops anywhere and pods that die on the way all lead to the same place, with nothing remembered.

Where the budget of closes allows, several at once (`RolloutPolicy.at_once`): a wave of new pods, then a wave
of drains. The fleet never asks for more pods above its size than a wave has, and no serving pod is taken
while the rest would be fewer than that size. Until a shape has had a ready pod, it gets no more than the one
surge pod, and growth goes to the set that is proven.
"""

from __future__ import annotations

from wsfleet.scaling.policy import RolloutPolicy
from wsfleet.scaling.retire import (
    better_victims,
    blocking_terminations,
    is_going,
    next_retire_step,
    next_wave_step,
    nothing_to_lose,
    release,
    removal_under_way,
)
from wsfleet.scaling.samples import NodeSample
from wsfleet.scaling.scalein import next_scale_in_step
from wsfleet.scaling.victim import victim_order
from wsfleet.scaling.words import are_wanted, counted, part_of
from wsfleet.scaling.world import (
    CreateSet,
    DeleteSet,
    Idle,
    Mark,
    Resize,
    SetView,
    Stalled,
    Step,
    Together,
    Wait,
    World,
)


def is_rolling(world: World, policy: RolloutPolicy) -> bool:
    """Whether pods are being replaced: of another shape, or on a machine that is being emptied."""
    stale_sets = any(one.replicas > 0 for one in world.sets if one.shape != world.target_shape)
    return stale_sets or any(_outdated(world, policy, pod) for pod in world.active)


def next_fleet_step(world: World, policy: RolloutPolicy) -> Step:
    """The one next step of a fleet: rollout and growth, or scale-in; never both at once."""
    if not is_rolling(world, policy):
        step = next_scale_in_step(world, policy.retire)
        if not isinstance(step, Idle):
            return step
    return next_rollout_step(world, policy)


def next_rollout_step(world: World, policy: RolloutPolicy) -> Step:
    """The one next step of bringing all nodes to the target shape and growing the fleet to its size.

    Taking nodes out of a fleet that has its shape is `next_scale_in_step`'s.
    """
    target = world.set_of(world.target_shape)
    if not is_rolling(world, policy):
        return _steady(world, target, policy)
    marked = sorted((pod for pod in world.active if pod.marked), key=_order)
    going = removal_under_way(world, marked)
    if going is not None:
        return going
    for pod in marked:
        if not _outdated(world, policy, pod):
            return release(pod, f"{pod.name} has the shape that is wanted")
    if len(marked) > max(policy.at_once, world.total - world.desired):
        return release(marked[-1], "fewer nodes are replaced at a time")
    if marked:
        return _go_on(world, marked, policy)
    return _grow(world, target) or _replace(world, target, policy)


def _steady(world: World, target: SetView | None, policy: RolloutPolicy) -> Step:
    """All pods have the target shape: size, history, and whether they get ready."""
    if target is None:
        if world.desired == 0:
            return Idle()
        return CreateSet(shape=world.target_shape, replicas=world.desired, reason="the fleet's first nodes")
    if target.replicas < world.desired:
        return _resize(target, world.desired, are_wanted(world.desired))
    old = _beyond_history(world, policy)
    if old is not None:
        reason = f"{policy.revision_history_limit} earlier shapes are kept"
        return DeleteSet(set_name=old.name, shape=old.shape, reason=reason)
    return _unready_target(world, target, policy) or Idle()


def _go_on(world: World, victims: list[NodeSample], policy: RolloutPolicy) -> Step:
    """Pods are being taken out: go on, unless one is needed or another would go in its place."""
    needed = [pod for pod in victims if not nothing_to_lose(pod)]
    if needed and world.serving_without() < world.desired:
        return release(needed[-1], "another node is not ready, so this one is needed")
    for victim in victims:
        better = [pod for pod in better_victims(world, victim) if not pod.marked]
        if better:
            return release(victim, f"{better[0].name} has no clients to lose and goes first")
    return next_wave_step(world, victims, policy.retire, lambda pod: _why(world, pod))


def _grow(world: World, target: SetView | None) -> Step | None:
    """Replicas for a size that has grown: to the target shape if proven, else to the set that serves."""
    unproven = target is not None and not _proven(world)
    surge = min(1, target.replicas) if target is not None and unproven else 0
    short = world.desired - (world.total - surge)
    if short <= 0:
        return None
    serving = [one for one in world.sets if one is not target and _ready_pods(world, one.shape)]
    best = max(serving, key=lambda one: (_ready_pods(world, one.shape), one.created, one.name), default=None)
    to = best if best is not None and (target is None or unproven) else target
    if to is None:
        return None  # nothing serves: the target set comes first and takes them
    return _resize(to, to.replicas + short, are_wanted(world.desired))


def _replace(world: World, target: SetView | None, policy: RolloutPolicy) -> Step:
    """Surge, wait, retire; or make room first where others stand where the surge should."""
    surge = _surge(world, policy)
    if world.total > world.desired + (surge if target is not None and target.replicas else 0):
        return _retire_some(world, policy)
    if target is None:
        replicas = min(1, world.desired)
        return CreateSet(shape=world.target_shape, replicas=replicas, reason="the shape of the nodes changed")
    over = world.total > world.desired
    if over and _proven(world, policy.min_ready_seconds):
        useless = [pod for pod in _candidates(world, policy) if nothing_to_lose(pod)]
        if useless:
            return next_retire_step(world, useless[0], policy.retire, _why(world, useless[0]))
    waiting = _unready_target(world, target, policy)
    if waiting is not None:
        return waiting
    more = world.desired + surge - world.total
    if over and (more <= 0 or blocking_terminations(world, policy.retire)):
        return _retire_some(world, policy)
    leaving = blocking_terminations(world, policy.retire)
    if leaving:
        return Wait(reason=f"{leaving[0].name} is still terminating")
    reason = "one new node before an old one goes" if more == 1 else f"{more} new nodes before old ones go"
    return _resize(target, target.replicas + more, reason)


def _surge(world: World, policy: RolloutPolicy) -> int:
    """Pods above the fleet's size: one until the shape is proven, then a wave, and no more than are to go."""
    if not _proven(world, policy.min_ready_seconds):
        return 1
    old = sum(1 for pod in world.active if _outdated(world, policy, pod))
    return max(1, min(policy.at_once, old))


def _retire_some(world: World, policy: RolloutPolicy) -> Step:
    """Take out the old pods whose going costs least, while the rest is enough without them."""
    candidates = _candidates(world, policy)
    if not candidates:
        return Wait(reason="waiting for old pods to be removed")
    wave: list[NodeSample] = []
    for pod in candidates[: max(1, min(policy.at_once, world.total - world.desired))]:
        rest = world.serving_without(pod.uid, *(one.uid for one in wave))
        if rest < world.desired and not nothing_to_lose(pod):
            break
        wave.append(pod)
    if not wave:
        ready = world.serving_without()
        there = part_of(ready, world.desired, "node", "is ready", "are ready")
        return Wait(reason=f"{there}; no old one goes until all are")
    marks = tuple(Mark(uid=pod.uid, pod=pod.name, reason=_why(world, pod)) for pod in wave)
    return marks[0] if len(marks) == 1 else Together(steps=marks, reason=marks[0].reason)


def _candidates(world: World, policy: RolloutPolicy) -> list[NodeSample]:
    """Old pods in the order in which they go; those of a shape that serves nobody first."""
    standing = [one.shape for one in world.sets if one.replicas and not is_going(world, one)]
    serving = {shape for shape in standing if _ready_pods(world, shape)}
    pods = [pod for pod in world.active if _outdated(world, policy, pod) and pod.shape in standing]
    return sorted(pods, key=lambda pod: (pod.shape in serving, _order(pod)))


def _unready_target(world: World, target: SetView, policy: RolloutPolicy) -> Step | None:
    """Waiting for pods of the target shape, or stalled if they had their time; None once all are ready."""
    pods = world.active_of(target.shape)
    if len(pods) < target.replicas or not target.settled:
        return Wait(reason=f"{target.name} has {len(pods)} of {counted(target.replicas, 'pod')}")
    unready = [pod for pod in pods if not _is_proof(pod, policy.min_ready_seconds) and not pod.draining]
    if not unready:
        return None
    slowest = max(unready, key=_unready_for)
    waited = _unready_for(slowest)
    if slowest.ready or waited <= policy.progress_deadline_seconds:
        return Wait(reason=f"waiting for {slowest.name} to become ready")
    cause = "no machine takes it" if slowest.unschedulable else "it does not become ready"
    return Stalled(
        reason=f"{slowest.name} has been waited for {waited:.0f} s, {cause}; nothing more is changed "
        "until it is ready or the fleet's spec changes"
    )


def _unready_for(pod: NodeSample) -> float:
    return pod.pod_age_seconds if pod.unready_seconds is None else pod.unready_seconds


def _outdated(world: World, policy: RolloutPolicy, pod: NodeSample) -> bool:
    """The pod is to be replaced."""
    leaves = pod.to_replace or (pod.cordoned and policy.replace_cordoned)
    return leaves or pod.shape != world.target_shape


def _is_proof(pod: NodeSample, min_ready_seconds: float) -> bool:
    return pod.ready and (min_ready_seconds <= 0 or (pod.ready_seconds or 0.0) >= min_ready_seconds)


def _proven(world: World, min_ready_seconds: float = 0.0) -> bool:
    """Whether the target shape has a pod that became ready."""
    return any(_is_proof(pod, min_ready_seconds) for pod in world.active_of(world.target_shape))


def _ready_pods(world: World, shape: str) -> int:
    return sum(1 for pod in world.active_of(shape) if pod.ready)


def _beyond_history(world: World, policy: RolloutPolicy) -> SetView | None:
    """The oldest empty set of an earlier shape that the history no longer keeps."""
    empty = [
        one
        for one in world.sets
        if one.shape != world.target_shape and not one.replicas and not is_going(world, one)
    ]
    empty.sort(key=lambda one: (one.created, one.name))
    return empty[0] if len(empty) > policy.revision_history_limit else None


def _order(pod: NodeSample) -> tuple[bool, bool, bool, bool, bool, float, float, str]:
    return victim_order(pod, replaced=True)


def _resize(one: SetView, replicas: int, reason: str) -> Resize:
    return Resize(
        set_name=one.name,
        shape=one.shape,
        before=one.replicas,
        replicas=replicas,
        resource_version=one.resource_version,
        reason=reason,
    )


def _why(world: World, victim: NodeSample) -> str:
    if victim.shape != world.target_shape:
        return f"{victim.name} has an earlier shape"
    if victim.to_replace:
        return f"another pod was asked for in place of {victim.name}"
    return f"{victim.name} is on a machine that is being emptied"
