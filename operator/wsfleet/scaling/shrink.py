"""May a fleet give up one node: the wish of the last minutes, and all that speaks against it now."""

from __future__ import annotations

import math
from collections.abc import Iterator

from wsfleet.scaling.decision import BY_WORD, Hold, HoldKind
from wsfleet.scaling.history import MINUTE_SECONDS
from wsfleet.scaling.observe import Look
from wsfleet.scaling.policy import RetirePolicy
from wsfleet.scaling.trend import highest_total
from wsfleet.scaling.victim import choose_victim
from wsfleet.scaling.wishes import cpu_ceiling, nodes_for_connections, nodes_for_cpu
from wsfleet.scaling.words import counted, number_of_nodes, part_of

LOST_AFTER_SECONDS = RetirePolicy().terminating_seconds


def cautious_nodes(look: Look) -> int:
    """Nodes needed if every missing figure were a full node: what scale-in reckons with."""
    policy, load = look.policy, look.load
    by_connections = nodes_for_connections(
        load.full_connections, policy.max_connections, policy.connections.target_percent
    )
    ceiling = cpu_ceiling(policy.cpu, look.fixed_percent)
    if ceiling is None:
        return by_connections  # CPU is what it is, however many share the load
    by_cpu = nodes_for_cpu(load.full_demand, load.full_nodes, ceiling, look.fixed_percent)
    return max(by_connections, by_cpu or 0)


def highest_recommendation(look: Look) -> int:
    """The most nodes recommended in the stabilization window (whole minutes, so up to one more)."""
    oldest = look.now - look.policy.scale_down.stabilization_seconds - MINUTE_SECONDS
    return max((one.value for one in look.history.recommendations if one.start > oldest), default=0)


def shrink_holds(look: Look) -> tuple[Hold, ...]:
    """All that keeps a fleet from giving up one node now."""
    return (*_busy(look), *_unsure(look), *_headroom(look))


def outage_hold(look: Look) -> Hold | None:
    """What follows a fall of connections that was not our own doing; None without one."""
    until = look.history.outage_until
    if until is None or look.now >= until:
        return None
    text = "connections dropped and not by our own closes; clients may come back at once, so no node goes"
    return Hold(HoldKind.OUTAGE, f"{text} for about {math.ceil((until - look.now) / 60)} min")


def regret_hold(look: Look) -> Hold | None:
    """What follows a node that was given up and had to be asked for again soon; None without one.

    For a while no node goes, and for longer none goes that the last hour's peak would ask for again: a load
    that swings within the hour moves the fleet once.
    """
    since, down = look.history.regretted, look.policy.scale_down
    if since is None or not 0 <= look.now - since < down.regret_memory_seconds:
        return None
    text = "the fleet shrank and had to grow again soon after"
    left = since + down.regret_seconds - look.now
    if left > 0:
        return Hold(HoldKind.REGRET, f"{text}; no node goes for about {math.ceil(left / 60)} min")
    peak = _lasting_peak(look)
    if not peak:
        return None
    return Hold(HoldKind.REGRET, f"{text}; {_room_for(look, peak)}")


def turn_hold(look: Look) -> Hold | None:
    """What follows a step up that the load asked for: the fleet turns only once the last hour's peak has room
    in the rest; None where it has, where the load has gone, or where the last step was down.

    A node that no machine takes has never served: it goes without this.
    """
    growth, shrunk = look.history.growth, look.history.shrunk
    if growth is None or growth.trigger in BY_WORD or (shrunk is not None and shrunk > growth.time):
        return None
    if look.load.unschedulable:
        return None
    peak = _lasting_peak(look)
    gone = look.load.full_connections < peak * (1 - look.policy.scale_down.drop_percent / 100)
    if not peak or gone:
        return None
    return Hold(HoldKind.STABILIZATION, f"the fleet grew last; {_room_for(look, peak)}")


def _lasting_peak(look: Look) -> int:
    """The last hour's highest total where one node fewer would have no room for it; else 0."""
    peak = highest_total(look.history.spans, look.now, look.policy.growth.peak_seconds)
    room = (look.current - 1) * look.policy.max_connections * headroom_percent(look) / 100
    return 0 if peak <= room else peak


def _room_for(look: Look, peak: int) -> str:
    percent = headroom_percent(look)
    return f"the last hour's {counted(peak, 'connection')} must fit below {percent:g} % of the rest"


def headroom_percent(look: Look) -> float:
    """The share of a node's connections that those which stay must be below; never above the target."""
    return min(look.policy.scale_down.headroom_percent, look.policy.connections.target_percent)


def _busy(look: Look) -> Iterator[Hold]:
    snapshot = look.snapshot
    if snapshot.rolling:
        yield Hold(HoldKind.ROLLOUT, "pods are being replaced; the fleet shrinks after that")
    emptying = [node.name for node in snapshot.nodes if node.draining or node.marked]
    leaving = [
        node.name
        for node in snapshot.nodes
        if node.terminating and (node.terminating_seconds or 0.0) < LOST_AFTER_SECONDS
    ]
    if emptying or leaving:
        yield Hold(HoldKind.DRAIN, f"{(emptying or leaving)[0]} is still being emptied or removed")
    elif snapshot.replicas != look.current and not snapshot.rolling:
        yield Hold(HoldKind.DRAIN, f"the step to {number_of_nodes(look.current)} is still being carried out")


def _unsure(look: Look) -> Iterator[Hold]:
    load, history, down = look.load, look.history, look.policy.scale_down
    allowed = max(1, int(load.nodes * look.policy.missing.share))
    if load.missing > allowed:
        seen = part_of(load.missing, load.nodes, "node", "gives no figures", "give no figures")
        yield Hold(HoldKind.MISSING, f"{seen}; more than {allowed} hold scale-in")
    watched = look.now - (look.now if history.observed_since is None else history.observed_since)
    if watched < down.stabilization_seconds:
        text = f"the fleet has been watched for {watched:.0f} s of {down.stabilization_seconds:g} s"
        yield Hold(HoldKind.NOT_OBSERVED, text)
    outage = outage_hold(look)
    if outage is not None:
        yield outage
    held = regret_hold(look) or turn_hold(look)
    if held is not None:
        yield held


def _headroom(look: Look) -> Iterator[Hold]:
    """The nodes that stay, missing ones as full, against the headroom.

    For CPU in the same proportion of what divides: the fixed part stays with each node whatever goes.
    """
    policy, load = look.policy, look.load
    victim = choose_victim(look.snapshot.nodes)
    rest = load.capacity - (victim is not None and not victim.unschedulable)
    percent = headroom_percent(look)
    if load.full_connections > rest * policy.max_connections * percent / 100:
        yield Hold(
            HoldKind.HEADROOM,
            f"{counted(load.full_connections, 'connection')} on {number_of_nodes(rest)} would be above "
            f"{percent:g} % of {policy.max_connections:,} each",
        )
    fixed, ceiling = look.fixed_percent, cpu_ceiling(policy.cpu, look.fixed_percent)
    if ceiling is None:
        return
    cpu_percent = fixed + (ceiling - fixed) * percent / policy.connections.target_percent
    needed = nodes_for_cpu(load.full_demand, load.full_nodes, cpu_percent, look.fixed_percent)
    if needed is None or needed > rest:
        text = f"CPU on {number_of_nodes(rest)} would be above {cpu_percent:.0f} %"
        yield Hold(HoldKind.HEADROOM, text)
