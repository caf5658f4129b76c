"""From wishes to one size: bounds, steps up, one node down, `spec.replicas`, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsfleet.scaling.decision import Hold, HoldKind, Trigger
from wsfleet.scaling.observe import Look
from wsfleet.scaling.policy import ScalingPolicy
from wsfleet.scaling.shrink import highest_recommendation, outage_hold, regret_hold, shrink_holds
from wsfleet.scaling.wishes import Wish
from wsfleet.scaling.words import are_wanted, number_of_nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A size before pauses are looked at, with what led to it."""

    size: int
    trigger: Trigger
    wish: int
    reasons: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    limited: Trigger | None = None


def propose(look: Look, wishes: Sequence[Wish]) -> Proposal:
    """With autoscaling: up at once, down by one, or as it is."""
    policy = look.policy
    leading = max(wishes, key=lambda one: one.nodes)
    if look.current > policy.max_replicas:
        return _above_maximum(policy, leading)
    bounded = min(max(leading.nodes, floor_of(look)), policy.max_replicas)
    if bounded > look.current:
        return _up(look, wishes, leading, bounded)
    lowest = max(floor_of(look), highest_recommendation(look))
    if lowest < look.current:
        return _down(look, wishes, leading, lowest)
    holds = _holds(wishes)
    if bounded < look.current:
        window = policy.scale_down.stabilization_seconds
        # No decision need have said so: what missing figures might hide counts for scale-in alone.
        text = f"the last {window:g} s may have needed {number_of_nodes(lowest)}, silent nodes taken as full"
        kept = tuple(one for one in (outage_hold(look), regret_hold(look)) if one is not None)
        holds = (*holds, *kept, Hold(HoldKind.STABILIZATION, text))
    return Proposal(
        size=look.current,
        trigger=Trigger.STEADY,
        reasons=_reasons(wishes),
        holds=holds,
        limited=_limit(look, leading),
        wish=leading.nodes,
    )


def propose_replicas(look: Look) -> Proposal:
    """Without autoscaling: as the spec says, else as it is, and one node for a fleet that never had any."""
    wanted = look.policy.replicas
    if wanted is not None:
        reason = f"spec.replicas is {wanted}"
        return Proposal(size=wanted, trigger=Trigger.REPLICAS, reasons=(reason,), wish=wanted)
    if look.history.desired is None and look.snapshot.replicas == 0:
        reason = "a new fleet starts with one node"
        return Proposal(size=1, trigger=Trigger.REPLICAS, reasons=(reason,), wish=1)
    reason = "neither autoscaling nor replicas is set, so the fleet keeps its size"
    return Proposal(size=look.current, trigger=Trigger.STEADY, reasons=(reason,), wish=look.current)


def apply_pauses(policy: ScalingPolicy, current: int, size: int) -> tuple[int, tuple[Hold, ...]]:
    """Pauses hold the size, and what would be done is still said; a fleet without a node gets its first."""
    out = size > current > 0 and (policy.paused or policy.paused_scale_out)
    down = size < current and (policy.paused or policy.paused_scale_in)
    if not out and not down:
        at_rest = "scaling is paused; without that the size would be the same"
        return size, (Hold(HoldKind.PAUSED, at_rest),) if policy.paused and size == current else ()
    what = "scaling" if policy.paused else "scale-out" if out else "scale-in"
    text = f"{what} is paused; without that the fleet would have {number_of_nodes(size)}"
    return current, (Hold(HoldKind.PAUSED, text),)


def step_window(look: Look) -> tuple[float, int]:
    """Since when, and from which size, the present step up is counted."""
    growth, step = look.history.growth, look.policy.step
    if growth is None or look.now < growth.time:
        return look.now, look.current
    ends = growth.time + step.seconds
    if look.now < ends:
        return growth.time, growth.base
    return ends if look.now <= ends + step.late_seconds else look.now, look.current


def _up(look: Look, wishes: Sequence[Wish], leading: Wish, bounded: int) -> Proposal:
    """As far up as the step limit lets: 4 nodes or a doubling of the size at the start of the 15 s."""
    policy = look.policy
    _, base = step_window(look)
    size = min(bounded, max(look.current, base + max(policy.step.nodes, base)))
    holds, reasons = _holds(wishes), _reasons(wishes)
    if size < bounded:
        text = f"{are_wanted(bounded)}; at most {size} within {policy.step.seconds:g} s"
        holds = (*holds, Hold(HoldKind.STEP, text))
    by_minimum = leading.nodes <= floor_of(look)
    minimum = Trigger.SCHEDULE if look.minimum.scheduled else Trigger.MIN_REPLICAS
    if by_minimum:
        reasons = (look.minimum.reason, *reasons)
    return Proposal(
        size=size,
        trigger=minimum if by_minimum else leading.trigger,
        reasons=reasons,
        holds=holds,
        limited=_limit(look, leading),
        wish=leading.nodes,
    )


def _down(look: Look, wishes: Sequence[Wish], leading: Wish, lowest: int) -> Proposal:
    """One node down if nothing speaks against it."""
    holds = shrink_holds(look)
    window = look.policy.scale_down.stabilization_seconds
    asked = f"at most {number_of_nodes(lowest)} asked for in the last {window:g} s"
    return Proposal(
        size=look.current if holds else look.current - 1,
        trigger=Trigger.STEADY if holds else Trigger.LOW_LOAD,
        reasons=(*_reasons(wishes), asked),
        holds=(*_holds(wishes), *holds),
        wish=leading.nodes,
    )


def _above_maximum(policy: ScalingPolicy, leading: Wish) -> Proposal:
    """maxReplicas was set below the size: its user's wish, carried out one emptied node at a time."""
    reason = f"maxReplicas is {policy.max_replicas}; nodes go one at a time, each emptied first"
    return Proposal(
        size=policy.max_replicas,
        trigger=Trigger.MAX_REPLICAS,
        reasons=(reason, leading.reason),
        limited=Trigger.MAX_REPLICAS if leading.nodes > policy.max_replicas else None,
        wish=leading.nodes,
    )


def floor_of(look: Look) -> int:
    """The fewest nodes now. A fleet that scales by its connections never goes to zero: nothing could bring it
    back."""
    return min(max(1, look.minimum.nodes), look.policy.max_replicas)


def _limit(look: Look, leading: Wish) -> Trigger | None:
    """Which bound cut the wish; the lower one only says something while the fleet stands on it."""
    floor = floor_of(look)
    if leading.nodes > look.policy.max_replicas:
        return Trigger.MAX_REPLICAS
    return Trigger.MIN_REPLICAS if leading.nodes < floor and look.current <= floor else None


def _reasons(wishes: Sequence[Wish]) -> tuple[str, ...]:
    return tuple(one.reason for one in sorted(wishes, key=lambda one: -one.nodes))


def _holds(wishes: Sequence[Wish]) -> tuple[Hold, ...]:
    return tuple(one.hold for one in wishes if one.hold is not None)
