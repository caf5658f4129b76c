"""What the load asks for: the seed's three triggers, each with its sentence.

Wishes know nothing of bounds, steps, pauses or holds of scale-in; `decide` puts those over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wsfleet.scaling.decision import Hold, HoldKind, Trigger
from wsfleet.scaling.history import CPU_STEPS_KEPT, CpuBucket, CpuStep, History, cpu_bucket_seconds
from wsfleet.scaling.observe import Look
from wsfleet.scaling.policy import CpuTrigger
from wsfleet.scaling.words import counted, number_of_nodes, verb

RECENT_SECONDS = 60.0
CLOCK_SLACK_SECONDS = 5.0
"""Between our clock and the one that pods' ages come from."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """So many nodes, asked for by a trigger, with its reason; a hold where the trigger is kept back."""

    trigger: Trigger
    nodes: int
    reason: str
    hold: Hold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuWindow:
    """CPU over the sustained window: is it above for long enough, and mean and demand of the last minute."""

    sustained: bool
    share: float
    percent: float
    demand: float
    nodes: float


def nodes_for_connections(connections: int, max_connections: int, percent: float) -> int:
    """ceil(total / (percent of WS_MAX_CONNECTIONS)); by the total, never by one node (seed, trigger 2)."""
    return math.ceil(connections * 100 / (max_connections * percent) - _ROUNDING)


def nodes_for_cpu(demand: float, nodes: float, target_percent: float, fixed_percent: float) -> int | None:
    """Nodes at which the mean CPU is the target, where each node spends `fixed_percent` whatever it serves.

    `demand` is the CPU % of all nodes together. None: the fixed part alone fills the target, so no number
    would do.
    """
    if fixed_percent >= target_percent:
        return None
    return math.ceil((demand - fixed_percent * nodes) / (target_percent - fixed_percent) - _ROUNDING)


def cpu_ceiling(policy: CpuTrigger, fixed_percent: float) -> float | None:
    """The CPU % a node to go by, that a number of nodes can lead to: the target, else where nodes turn away.

    None where a node spends even that whatever it serves: CPU says nothing about the number of nodes then.
    """
    for percent in (policy.target_percent, policy.reject_percent):
        if fixed_percent < percent:
            return percent
    return None


def connections_wish(look: Look) -> Wish:
    """Seed, trigger 2; a fleet is at least one node."""
    percent, each = look.policy.connections.target_percent, look.policy.max_connections
    total = look.load.connections
    nodes = max(1, nodes_for_connections(total, each, percent))
    need = f"{counted(total, 'connection')} {verb(total, 'needs', 'need')} {number_of_nodes(nodes)}"
    reason = f"{need} at {percent:g} % of {each:,} each"
    return Wish(trigger=Trigger.CONNECTIONS, nodes=nodes, reason=reason)


def cpu_window(policy: CpuTrigger, buckets: tuple[CpuBucket, ...], now: float) -> CpuWindow | None:
    """The window as it stands, None without a sample in it.

    Sustained means: seen since the start of the window, in at least half of it (young nodes and missing
    figures leave gaps that neither count nor reset), and above the target in the policy's share of the
    samples.
    """
    length = cpu_bucket_seconds(policy.sustained_seconds)
    start = now - policy.sustained_seconds
    window = [one for one in buckets if start - length < one.start <= now]
    if not window:
        return None
    samples = sum(one.samples for one in window)
    share = sum(one.above for one in window) / samples
    seen_long = buckets[0].start <= start
    seen_enough = len(window) * length >= policy.sustained_seconds / 2
    recent = [one for one in window if one.start > now - RECENT_SECONDS] or window[-1:]
    taken = sum(one.samples for one in recent)
    return CpuWindow(
        sustained=seen_long and seen_enough and share >= policy.sustained_share - _ROUNDING,
        share=share,
        percent=sum(one.percents for one in recent) / taken,
        demand=sum(one.demand for one in recent) / taken,
        nodes=sum(one.nodes for one in recent) / taken,
    )


def cpu_wish(look: Look) -> Wish | None:
    """Seed, trigger 1: CPU above the target, sustained; None while it isn't.

    Stops with CPUNotScalable where more nodes don't help: the fixed part alone fills the target, or two steps
    brought no gain. The first asks for no node at all: who goes leaves the others as they are, but for what
    its clients take (`shrink` looks at that).
    """
    policy = look.policy.cpu
    window = cpu_window(policy, look.history.cpu, look.now)
    if window is None or not window.sustained:
        return None
    target = policy.target_percent
    seen = (
        f"CPU {window.percent:.0f} % on {number_of_nodes(look.load.cpu_nodes)}, above {target:g} % in "
        f"{window.share * 100:.0f} % of the last {policy.sustained_seconds:g} s"
    )
    needed = nodes_for_cpu(window.demand, window.nodes, target, look.fixed_percent)
    if needed is None:
        fixed = f"each node spends {look.fixed_percent:.0f} % whatever it serves"
        text = f"{seen}; {fixed}: more nodes do not help, and none is kept for it"
        return _not_scalable(1, text)
    if needed > look.current and _no_gain_twice(look, cpu_point(look, window)):
        return _not_scalable(
            look.current, f"{seen}; the last two steps by CPU brought no gain, so no more follow"
        )
    return Wish(trigger=Trigger.CPU, nodes=needed, reason=f"{seen}; needs {number_of_nodes(needed)}")


def cpu_point(look: Look, window: CpuWindow) -> CpuStep:
    """The fleet's CPU as it stands, to judge later whether a step brought a gain."""
    each = look.load.connections / max(1, look.load.cpu_nodes)
    return CpuStep(look.now, look.current, window.percent, each)


def remember_cpu_step(look: Look, stepped: bool) -> History:
    """Note a step taken for CPU; forget them all once CPU is mostly below the target.

    A step is noted only when the nodes of the one before are there to be judged.
    """
    history, steps = look.history, look.history.cpu_steps
    window = cpu_window(look.policy.cpu, history.cpu, look.now)
    if window is None:
        return history
    if not stepped:
        return replace(history, cpu_steps=()) if window.share < 0.5 and steps else history
    if steps and look.load.cpu_nodes <= steps[-1].nodes:
        return history
    return replace(history, cpu_steps=(*steps, cpu_point(look, window))[-CPU_STEPS_KEPT:])


def rejections_wish(look: Look) -> Wish | None:
    """Seed, trigger 3: turned away for CPU again and again -> one more node at once; None while it isn't so.

    Held until the node that the last step brought has been ready for a while.
    """
    rule, since = look.policy.rejections, look.history.rejecting_since
    turned_away = sum(one.number for one in look.history.rejections)
    if since is None or look.now - since < rule.sustained_seconds:
        return None
    lasted = look.now - since
    if turned_away < rule.per_minute * min(RECENT_SECONDS, lasted) / 60:
        return None
    seen = (
        f"{turned_away:,} clients turned away for CPU in the last minute, again and again for {lasted:.0f} s"
    )
    hold = _settling(look)
    if hold is not None:
        reason = f"{seen}; {hold.text}"
        return Wish(trigger=Trigger.REJECTIONS, nodes=look.current, reason=reason, hold=hold)
    return Wish(trigger=Trigger.REJECTIONS, nodes=look.current + 1, reason=f"{seen}; one more node at once")


def _settling(look: Look) -> Hold | None:
    """Why another node for rejections has to wait, or None."""
    load, growth = look.load, look.history.growth
    if load.unschedulable:
        waiting = number_of_nodes(load.unschedulable)
        return Hold(HoldKind.UNSCHEDULABLE, f"no machine takes {waiting}; another would wait too")
    if load.pending:
        return Hold(
            HoldKind.SETTLING, f"{number_of_nodes(load.pending)} still to start; that counts as coming"
        )
    if growth is None or look.current < growth.size:
        return None  # nothing was added, or the fleet has shrunk again since
    settle = look.policy.rejections.settle_seconds
    newer = look.now - growth.time + CLOCK_SLACK_SECONDS
    arrived = any(
        node.ready and (node.ready_seconds or 0.0) >= settle
        for node in look.snapshot.nodes
        if node.pod_age_seconds <= newer
    )
    if arrived:
        return None
    return Hold(HoldKind.SETTLING, f"the node added last has not been ready for {settle:g} s")


def _no_gain_twice(look: Look, present: CpuStep) -> bool:
    """Whether the last two steps by CPU, the second judged by the present, both brought nothing."""
    if len(look.history.cpu_steps) < 2:
        return False
    policy, fixed = look.policy.cpu, look.fixed_percent
    first, second = look.history.cpu_steps[-2:]
    return _no_gain(policy, first, second, fixed) and _no_gain(policy, second, present, fixed)


def _no_gain(policy: CpuTrigger, before: CpuStep, after: CpuStep, fixed_percent: float) -> bool:
    """A step that lowered the connections a node and not, in proportion, the CPU that divides.

    A load that has grown as fast as the fleet judges nothing.
    """
    if before.connections_per_node > 0:
        ratio = after.connections_per_node / before.connections_per_node
    else:
        ratio = before.nodes / max(1, after.nodes)
    expected_fall = max(0.0, before.percent - fixed_percent) * (1 - ratio)
    if expected_fall <= before.percent * 0.02:
        return False
    return before.percent - after.percent < policy.gain_share * expected_fall


def _not_scalable(nodes: int, text: str) -> Wish:
    hold = Hold(HoldKind.CPU_NOT_SCALABLE, text)
    return Wish(trigger=Trigger.CPU, nodes=nodes, reason=text, hold=hold)


def loss_wish(look: Look, wishes: Sequence[Wish]) -> Wish | None:
    """What the others ask for, besides the nodes that are lost; None while none is.

    A dead machine's pods are there for minutes, as their ReplicaSet counts, and serve nobody. Not during the
    hold after an outage, and not while most nodes are not ready: that is no matter of single machines.
    """
    rule, outage = look.policy.missing, look.history.outage_until
    lost = [node for node in look.snapshot.nodes if node.lost(rule.lost_seconds)]
    if not lost or (outage is not None and look.now < outage):
        return None
    unready = sum(1 for node in look.snapshot.nodes if not node.terminating and not node.ready)
    if unready > look.load.nodes * rule.lost_share:
        return None
    # These ask for more than there are, and those that are lost are among these already.
    counted_already = (Trigger.REJECTIONS, Trigger.WAITING)
    needed = max(one.nodes for one in wishes if one.trigger not in counted_already)
    nodes = max(needed, look.minimum.nodes) + len(lost)
    are = verb(len(lost), "has", "have")
    more = ", …" if len(lost) > 1 else ""
    reason = (
        f"{number_of_nodes(len(lost))} ({lost[0].name}{more}) {are} not been ready "
        f"for more than {rule.lost_seconds:g} s; with others in place of {verb(len(lost), 'it', 'them')} "
        f"{number_of_nodes(nodes)}"
    )
    return Wish(trigger=Trigger.NODE_LOSS, nodes=nodes, reason=reason)
