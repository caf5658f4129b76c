"""How fast, and whether now: which shape a look goes for, how many nodes at once, and what is shed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from wsfleet.api import KIND
from wsfleet.kube.cache import fleet_of
from wsfleet.kube.kinds import REPLICASET, Object
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.ownership import controller_of
from wsfleet.reconcile.prepare import Prepared
from wsfleet.resources import names
from wsfleet.scaling import (
    Decision,
    Idle,
    Rebalance,
    RebalanceMemory,
    RolloutPolicy,
    SetView,
    Stalled,
    Step,
    Wait,
    World,
    closed_until,
    closes_per_second,
    is_rolling,
    nodes_at_once,
    rebalance,
    shape_to_keep,
)
from wsfleet.scaling.words import verb


def budget_of(prepared: Prepared, seen: Observed) -> float:
    """Closes a second that the fleet may have, all causes together."""
    return closes_per_second(seen.connections, prepared.fleet.spec.reconnects.per_second)


def pace(prepared: Prepared, seen: Observed, desired: int) -> RolloutPolicy:
    """How a rollout goes now: as many nodes at once as the budget of closes empties."""
    at_once = nodes_at_once(desired, seen.connections, budget_of(prepared, seen))
    return replace(prepared.rollout, at_once=at_once)


def shape_now(context: Context, key: Key, prepared: Prepared, seen: Observed) -> tuple[str, str]:
    """The shape to go for: the present one while a rollout has to wait, with the reason for that."""
    kept = shape_to_keep(seen.sets, seen.pods, prepared.shape)
    if kept is None:
        return prepared.shape, ""
    closed = closed_until(prepared.windows, seen.now)
    if closed:
        return kept, f"a new shape of the nodes waits: {closed}"
    others = len(context.rolling - {key})
    if others >= context.options.rollouts_at_once:
        fleets = f"{others} other {verb(others, 'fleet is', 'fleets are')}"
        return kept, f"a new shape of the nodes waits: {fleets} being rolled"
    return prepared.shape, ""


def shape_that_runs(sets: Sequence[SetView]) -> str:
    """The shape of most pods that are asked for, of the newest set among equals; empty without any."""
    best = max(sets, key=lambda one: (one.replicas, one.created, one.name), default=None)
    return best.shape if best is not None and best.replicas else ""


def rolling_fleets(sets: Iterable[Object]) -> set[Key]:
    """The fleets of these ReplicaSets that are being rolled: with pods of more than one shape asked for.

    So a new leader knows who has a turn before it has looked at any fleet.
    """
    shapes: dict[Key, int] = {}
    for one in sets:
        key, owner = fleet_of(one), controller_of(one)
        ours = owner is not None and owner.get("kind") == KIND and key is not None and owner["name"] == key[1]
        if ours and key is not None and one.get("spec", {}).get("replicas"):
            shapes[key] = shapes.get(key, 0) + 1
    return {key for key, number in shapes.items() if number > 1}


def count_rollout(context: Context, key: Key, prepared: Prepared, world: World, step: Step) -> None:
    """Note whether this fleet is one of those that roll; one that stands still gives its turn away."""
    others = any(one.replicas for one in world.sets if one.shape != world.target_shape)
    if others and world.target_shape == prepared.shape and not isinstance(step, Stalled):
        context.rolling.add(key)
    else:
        context.rolling.discard(key)


def even_out(
    prepared: Prepared,
    seen: Observed,
    memory: RebalanceMemory,
    world: World,
    step: Step,
    decision: Decision | None = None,
) -> tuple[Rebalance, RebalanceMemory]:
    """What a rebalance asks for now; nothing while pods are replaced, added or taken away.

    None begins while the `decision` is about to give up a node: who is moved there would be moved again.
    """
    policy, busy = prepared.rebalance, ""
    if is_rolling(world, prepared.rollout):
        busy = "pods are being replaced"
    elif not isinstance(step, Idle | Wait | Stalled) or world.total != world.desired:
        busy = "the fleet is being resized"
    elif prepared.scaling.paused and policy.requested in ("", memory.done):
        busy = "the fleet is paused"
    soon = "a node is about to go" if decision is not None and decision.shrinks_soon else ""
    return rebalance(policy, seen.pods, memory, seen.now, budget_of(prepared, seen), busy, soon)


def restarted_before(context: Context, key: Key, state: FleetState) -> str:
    """The restart request that the fleet's present pods were made by."""
    name = names.replicaset_name(key[1], str(state.status.get("shape")))
    present = context.cache.get(REPLICASET, key[0], name)
    if present is None:
        # A shape that waits for its turn has no ReplicaSet yet: what runs is of the one before.
        running = [one for one in context.cache.replicasets(key) if one.get("spec", {}).get("replicas")]
        running.sort(key=lambda one: str(one["metadata"].get("creationTimestamp")))
        if not running:
            return ""
        present = running[-1]
    annotations = present["spec"]["template"]["metadata"].get("annotations") or {}
    return str(annotations.get(names.RESTARTED_AT_ANNOTATION, ""))
