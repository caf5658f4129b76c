"""Evening out connections that are already there: shed what steering alone would not even out.

One pure function, asked at each look. A run goes in rounds: first the labels (only nodes with room take new
clients), then closes at the fleet's budget for `round_seconds` at most, then a pause to see where the clients
went. A round closes no more than the nodes that take new clients can hold, wherever chance sends them, so
hardly a client is closed twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from wsfleet.scaling.balance_view import BalanceView
from wsfleet.scaling.rebalance_model import (
    NO_SHED,
    Rebalance,
    RebalanceMemory,
    RebalancePhase,
    RebalancePolicy,
    Shed,
)
from wsfleet.scaling.samples import NodeSample
from wsfleet.scaling.words import counted

_REFUSED_SECONDS = 60.0
"""Over which `RebalancePolicy.rejections_per_minute` is judged."""

__all__ = ["Rebalance", "RebalanceMemory", "RebalancePhase", "RebalancePolicy", "Shed", "rebalance"]


def rebalance(
    policy: RebalancePolicy,
    nodes: Iterable[NodeSample],
    memory: RebalanceMemory,
    now: float,
    budget: float,
    busy: str = "",
    soon: str = "",
) -> tuple[Rebalance, RebalanceMemory]:
    """The next thing to do so that no node has more than the mean and the tolerance.

    Args:
        now: epoch seconds.
        budget: closes a second that the fleet may have, all sheds together.
        busy: why nothing may be shed now (a rollout, a drain, a pause); empty if nothing forbids it.
        soon: why a run should not begin yet, unless it is asked for; what runs goes on.
    """
    view = BalanceView.of(policy, nodes)
    memory = _with_rejections(policy, view, memory, now)
    refusing = sum(number for _, number in memory.refused) >= policy.rejections_per_minute
    asked = bool(policy.requested) and policy.requested != memory.done
    if not policy.enabled and not asked:
        if memory.phase is RebalancePhase.IDLE:
            return Rebalance(), memory
        busy = "spec.rebalance.enabled is false"
    busy = busy or view.obstacle
    if memory.phase is RebalancePhase.HELD and now < memory.until:
        return Rebalance(note="clients were turned away; nobody is closed until that is over"), memory
    if refusing and memory.phase in (RebalancePhase.LABELS, RebalancePhase.CLOSING, RebalancePhase.EASING):
        held = replace(
            memory, phase=RebalancePhase.HELD, since=now, until=now + policy.rejection_hold_seconds
        )
        text = "clients are turned away: rebalancing stops"
        return Rebalance(sheds=_stop(view, memory), note=text, event=text), held
    if busy:
        stopped = replace(memory, phase=RebalancePhase.IDLE, since=now, first=0.0)
        sheds = _stop(view, memory) if memory.phase is RebalancePhase.CLOSING else ()
        return Rebalance(sheds=sheds, note=f"not rebalanced: {busy}"), stopped
    if memory.phase is RebalancePhase.CLOSING and now < memory.until:
        return Rebalance(receivers=view.filling, note=_progress(view, memory)), memory
    return _go_on(policy, view, memory, now, budget, asked, soon)


def _go_on(
    policy: RebalancePolicy,
    view: BalanceView,
    memory: RebalanceMemory,
    now: float,
    budget: float,
    asked: bool,
    soon: str,
) -> tuple[Rebalance, RebalanceMemory]:
    running = memory.phase in (RebalancePhase.LABELS, RebalancePhase.CLOSING)
    if not view.excess or not (running or asked or view.worth_it(policy.least_connections)):
        return _balanced(policy, view, memory, now, running, asked)
    if memory.phase in (RebalancePhase.IDLE, RebalancePhase.HELD, RebalancePhase.EASING) and not asked:
        waits = replace(
            memory, phase=RebalancePhase.STEERING, since=now, first=now, excess=view.excess, closes=0
        )
        return Rebalance(note="new clients go to the emptier nodes first"), waits
    if memory.phase is RebalancePhase.STEERING and not asked:
        if now < memory.since + policy.patience_seconds:
            return Rebalance(note="new clients go to the emptier nodes first"), memory
        helps = view.excess <= memory.excess * 0.8
        if helps and now < memory.first + policy.most_patience_seconds:
            return Rebalance(note="steering evens the nodes out"), replace(
                memory, since=now, excess=view.excess
            )
    if soon and not (running or asked) and now < memory.first + policy.soon_seconds:
        return Rebalance(note=f"not rebalanced yet: {soon}"), memory
    if memory.phase is not RebalancePhase.LABELS:
        return _label(view, memory, now, running)
    if now < memory.since + policy.label_seconds:
        return Rebalance(receivers=view.serving, note=_progress(view, memory)), memory
    if any(node.serving for node in view.donors) or not view.takers(view.serving):
        return _label(view, memory, now, running)  # somebody else gave a label, or a receiver has gone
    return _shed(policy, view, memory, now, budget)


def _with_rejections(
    policy: RebalancePolicy, view: BalanceView, memory: RebalanceMemory, now: float
) -> RebalanceMemory:
    """The memory with the clients that nodes turned away since the last look, each node by its own count.

    A node that is new or started afresh says nothing of them; one that is gone takes none back.
    """
    counts = view.rejections
    new = sum(
        number - before
        for uid, number in counts.items()
        if (before := memory.counts.get(uid)) is not None and number > before
    )
    refused = tuple(one for one in memory.refused if now - _REFUSED_SECONDS < one[0] <= now)
    if new:
        refused = (*refused, (now, new))
    present = {node.uid for node in view.present}
    kept = {uid: number for uid, number in memory.counts.items() if uid in present}
    return replace(memory, counts=kept | counts, refused=refused)


def _label(
    view: BalanceView, memory: RebalanceMemory, now: float, running: bool
) -> tuple[Rebalance, RebalanceMemory]:
    """Send new clients only to nodes with room, before anybody is closed."""
    receivers, most = view.choose_receivers()
    if not most:
        return Rebalance(note="no node has room for more"), memory
    event = (
        "" if running else f"rebalancing: {counted(view.excess, 'connection')} above {view.limit:,} a node"
    )
    memory = replace(memory, phase=RebalancePhase.LABELS, since=now, closes=memory.closes if running else 0)
    return Rebalance(receivers=receivers, note=_progress(view, memory), event=event), memory


def _shed(
    policy: RebalancePolicy, view: BalanceView, memory: RebalanceMemory, now: float, budget: float
) -> tuple[Rebalance, RebalanceMemory]:
    """One round of closes, shared by the donors as their excess is, so that all end together."""
    receivers, excess = view.serving, view.excess
    most = min(excess, view.held_by(view.takers(receivers)), max(1, int(budget * policy.round_seconds)))
    sheds, given, total = [], 0, 0
    number = memory.round + 1
    for node in view.donors:
        over = view.over(node)
        total += over
        closes = most * total // excess - given  # in sum exactly `most`
        given += closes
        if closes:
            sheds.append(
                Shed(
                    uid=node.uid,
                    pod=node.name,
                    id=f"rebalance-{number}-{now:.0f}",
                    target=(node.connections or 0) - closes,
                    rate=max(1e-3, budget * closes / most),
                    reason=f"{node.name} has {node.connections:,} connections, {view.limit:,} are its share",
                )
            )
    memory = replace(
        memory,
        phase=RebalancePhase.CLOSING,
        since=now,
        until=now + given / budget + policy.settle_seconds,
        round=number,
        closes=memory.closes + given,
    )
    return Rebalance(sheds=tuple(sheds), receivers=receivers, note=_progress(view, memory)), memory


def _balanced(
    policy: RebalancePolicy,
    view: BalanceView,
    memory: RebalanceMemory,
    now: float,
    running: bool,
    asked: bool,
) -> tuple[Rebalance, RebalanceMemory]:
    """No node is above the limit, or none so far that it is worth a close."""
    event = ""
    if running or asked:
        event = f"rebalanced: {counted(memory.closes if running else 0, 'client')} moved"
        memory = replace(memory, done=policy.requested or memory.done)
    if running:
        memory = replace(memory, phase=RebalancePhase.EASING, since=now, until=now + policy.ease_seconds)
    if memory.phase is RebalancePhase.EASING and now < memory.until and view.uneven:
        return Rebalance(
            receivers=view.emptier, event=event, note="new clients go to the emptier nodes"
        ), memory
    if memory.phase is not RebalancePhase.IDLE:
        memory = replace(memory, phase=RebalancePhase.IDLE, since=now, first=0.0)
    return Rebalance(event=event), memory


def _stop(view: BalanceView, memory: RebalanceMemory) -> tuple[Shed, ...]:
    """End the sheds under way; also of nodes that were told to begin since they last spoke."""
    if memory.phase is not RebalancePhase.CLOSING:
        return ()
    return tuple(
        Shed(
            uid=node.uid,
            pod=node.name,
            id=f"stop-{memory.round}-{memory.since:.0f}",
            target=NO_SHED,
            rate=1.0,
            reason="rebalancing stops",
        )
        for node in view.present
        if node.ready and (node.shedding or not node.serving) and not node.draining
    )


def _progress(view: BalanceView, memory: RebalanceMemory) -> str:
    return (
        f"rebalancing: {counted(view.excess, 'connection')} above {view.limit:,} a node, "
        f"{counted(memory.closes, 'client')} moved so far"
    )
