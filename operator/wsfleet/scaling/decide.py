"""How many nodes a fleet should have: one pure function of policy, snapshot, history and time.

The order: look (`observe`), the minimum in force (`schedule`), what the load asks for (`wishes`) and will ask
for (`growth`), one size from that (`propose`: up at once within the step limit, down by one if nothing speaks
against it), pauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wsfleet.scaling.decision import BY_WORD, Decision, HoldKind, Trigger
from wsfleet.scaling.growth import Forecast, forecast, growth_wish
from wsfleet.scaling.history import Growth, History, into_minutes
from wsfleet.scaling.observe import Look, observe
from wsfleet.scaling.policy import ScalingPolicy
from wsfleet.scaling.propose import apply_pauses, floor_of, propose, propose_replicas, step_window
from wsfleet.scaling.samples import Snapshot
from wsfleet.scaling.schedule import minimum_in_force
from wsfleet.scaling.shrink import cautious_nodes
from wsfleet.scaling.waiting import waiting_wish
from wsfleet.scaling.wishes import (
    Wish,
    connections_wish,
    cpu_wish,
    loss_wish,
    rejections_wish,
    remember_cpu_step,
)


def present_size(snapshot: Snapshot, history: History) -> int:
    """The size in force: the one last decided on, else what runs, less the surge of a rollout."""
    if history.desired is not None:
        return history.desired
    return snapshot.replicas - (snapshot.rolling and snapshot.replicas > 1)


def decide(
    policy: ScalingPolicy, snapshot: Snapshot, history: History, now: float, fixed_percent: float = 0.0
) -> tuple[Decision, History]:
    """Decide the size of a fleet; gives the decision and the history to decide on next time.

    `now` and the snapshot's time are epoch seconds. `fixed_percent` is the CPU % a node spends whatever it
    serves (reading the feed): it does not divide. Rules: the seed's Scaling Strategy.
    """
    load, history = observe(policy, snapshot, history)
    look = Look(
        policy=policy,
        snapshot=snapshot,
        load=load,
        history=history,
        now=now,
        current=present_size(snapshot, history),
        fixed_percent=fixed_percent,
        minimum=minimum_in_force(policy.schedules, policy.min_replicas, now),
    )
    # Also without autoscaling: switched on it finds its windows filled, and the status shows the load.
    coming = forecast(look)
    wishes = _wishes(look, coming)
    look = replace(look, history=_with_recommendation(look, wishes))
    proposal = propose(look, wishes) if policy.autoscaling else propose_replicas(look)
    desired, pauses = apply_pauses(policy, look.current, proposal.size)
    decision = Decision(
        time=now,
        current=look.current,
        desired=desired,
        recommended=proposal.size,
        wish=proposal.wish,
        trigger=proposal.trigger,
        reasons=proposal.reasons,
        holds=(*proposal.holds, *pauses),
        limited=proposal.limited,
        cpu_not_scalable=any(hold.kind is HoldKind.CPU_NOT_SCALABLE for hold in proposal.holds),
        minimum_reason=look.minimum.reason,
        autoscaling=policy.autoscaling,
        figures=_figures(look, wishes, coming),
    )
    return decision, _remember(look, decision)


def _wishes(look: Look, coming: Forecast) -> tuple[Wish, ...]:
    """What each trigger asks for; the connections always say something, the others only when they fire."""
    fired = (growth_wish(look, coming), waiting_wish(look), cpu_wish(look), rejections_wish(look))
    wishes = (connections_wish(look), *(one for one in fired if one is not None))
    loss = loss_wish(look, wishes)
    return wishes if loss is None else (*wishes, loss)


def _with_recommendation(look: Look, wishes: Sequence[Wish]) -> History:
    """The recommendation of this look into its minute: the wish, and what missing figures might hide."""
    value = max(cautious_nodes(look), *(one.nodes for one in wishes))
    keep = look.policy.scale_down.stabilization_seconds
    return replace(
        look.history, recommendations=into_minutes(look.history.recommendations, look.now, value, keep)
    )


def _figures(look: Look, wishes: Sequence[Wish], coming: Forecast) -> dict[str, float]:
    load = look.load
    figures: dict[str, float] = {
        "connections": load.connections,
        "capacity": load.capacity * look.policy.max_connections,
        "nodes": load.nodes,
        "ready": load.ready,
        "pending": load.pending,
        "unschedulable": load.unschedulable,
        "missing": load.missing,
        "rejectionsPerMinute": sum(one.number for one in look.history.rejections),
    }
    if load.cpu_percent is not None:
        figures["cpuPercent"] = round(load.cpu_percent, 1)
    if look.fixed_percent:
        figures["fixedCpuPercent"] = round(look.fixed_percent, 1)
    if look.policy.autoscaling:
        figures["minReplicas"], figures["maxReplicas"] = floor_of(look), look.policy.max_replicas
    if coming.per_second:
        figures["growthPerSecond"] = round(coming.per_second, 2)
        figures["connectionsToCome"] = coming.connections - load.connections
        figures["startSeconds"] = round(coming.lead_seconds, 1)
    return figures | {f"neededBy{wish.trigger}": wish.nodes for wish in wishes}


def _remember(look: Look, decision: Decision) -> History:
    """The history with the decision, and with the step: up, down, or up soon after down."""
    grown = decision.desired > decision.current
    history = remember_cpu_step(look, grown and decision.trigger is Trigger.CPU)
    if grown:
        start, base = step_window(look)
        growth = Growth(start, base, decision.desired, str(decision.trigger))
        history = replace(history, growth=growth)
        if decision.trigger not in BY_WORD and _shrunk_lately(look):
            history = replace(history, regretted=round(look.now, 1))
    elif decision.desired < decision.current:
        by_word = decision.trigger in BY_WORD
        history = replace(history, shrunk=None if by_word else round(look.now, 1))
    return history.with_decision(decision)


def _shrunk_lately(look: Look) -> bool:
    shrunk = look.history.shrunk
    return shrunk is not None and 0 <= look.now - shrunk < look.policy.scale_down.regret_seconds
