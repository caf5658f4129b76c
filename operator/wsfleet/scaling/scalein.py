"""Taking nodes out of a fleet one at a time without dropping anyone.

A pure function of what is there: a victim carries its mark, its node says how far the drain is, and the
ReplicaSets say what was asked of them. The order: choose -> mark (pod-deletion-cost, serving=false) -> `PUT
/drain` -> empty or timed out -> replicas - 1 -> look whether the pod that went is the one chosen. The victim
is given back when load returns or another pod died.
"""

from __future__ import annotations

from wsfleet.scaling.policy import RetirePolicy
from wsfleet.scaling.retire import (
    better_victims,
    blocking_terminations,
    is_going,
    next_retire_step,
    nothing_to_lose,
    release,
    removal_under_way,
)
from wsfleet.scaling.samples import NodeSample
from wsfleet.scaling.victim import choose_victim, victim_order
from wsfleet.scaling.words import are_wanted
from wsfleet.scaling.world import Idle, Step, Wait, World


def next_scale_in_step(world: World, policy: RetirePolicy) -> Step:
    """The one next step of bringing the fleet down to `world.desired`, or of giving a victim back.

    `Idle` where nothing is to be done. Growing is not done here.
    """
    marked = sorted(
        (pod for pod in world.active if pod.marked), key=lambda pod: victim_order(pod, replaced=False)
    )
    going = removal_under_way(world, marked)
    if going is not None:
        return going
    if len(marked) > 1:
        return release(marked[-1], "only one node is taken out at a time")
    if marked:
        return _go_on(world, marked[0], policy)
    if world.total <= world.desired:
        return Idle()
    return _begin(world, policy)


def _go_on(world: World, victim: NodeSample, policy: RetirePolicy) -> Step:
    """A victim is there: take it out, or give it back."""
    if world.total <= world.desired:
        # Load came back, or another pod than the chosen one went.
        return release(victim, f"{are_wanted(world.desired)} and there are no more than that")
    if world.serving_without(victim.uid) < world.desired and not nothing_to_lose(victim):
        return release(victim, "another node is not ready, so this one is needed")
    better = better_victims(world, victim)
    if better:
        return release(victim, f"{better[0].name} has no clients to lose and goes in its place")
    return next_retire_step(world, victim, policy, _why(world))


def _begin(world: World, policy: RetirePolicy) -> Step:
    """Choose a victim once the fleet stands still and can do without one."""
    leaving = blocking_terminations(world, policy)
    if leaving:
        return Wait(reason=f"{leaving[0].name} is still terminating")
    unsettled = [one for one in world.sets if is_going(world, one)]
    if unsettled:
        return Wait(reason=f"waiting for {unsettled[0].name} to remove a pod")
    victim = choose_victim(world.active)
    if victim is None:
        return Wait(reason="no pod is there to be removed")
    if world.serving_without(victim.uid) < world.desired and not nothing_to_lose(victim):
        return Wait(reason="a node is not ready; none is taken out until all are")
    return next_retire_step(world, victim, policy, _why(world))


def _why(world: World) -> str:
    return f"{are_wanted(world.desired)}, {world.total} are there"
