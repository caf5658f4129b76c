"""Clients that full nodes turned away: how many nodes they, with those connected, ask for.

The number that waits is an estimate from their tries. So it is bounded: by the connected ones, and after a
drop by what was there before it, since who comes back is no new client.
"""

from __future__ import annotations

from wsfleet.scaling.decision import Trigger
from wsfleet.scaling.observe import NEVER, Look, counted_twice
from wsfleet.scaling.samples import Phase
from wsfleet.scaling.trend import highest_after_drop
from wsfleet.scaling.wishes import Wish, nodes_for_connections
from wsfleet.scaling.words import counted, number_of_nodes


def waiting_wish(look: Look) -> Wish | None:
    """Nodes for the clients that full nodes turned away, with the connected ones; None while none were.

    They count by the total: one full node among emptier ones asks for nothing that the total does not.
    """
    total = look.load.connections
    tries = _tries(look, look.now)
    if not tries:
        return None
    most = _most_to_come(look)
    waiting = min(_waiting(look, look.now), most)
    # One bound for both: where a crowd is being let in, those who wait are the rise to come.
    rise = min(_rise(look), most - waiting)
    percent, each = look.policy.connections.target_percent, look.policy.max_connections
    lost = _lost(look)
    nodes = nodes_for_connections(total + waiting + rise, each, percent) + lost
    if nodes <= max(1, nodes_for_connections(total, each, percent)):
        return None
    reason = (
        f"full nodes turned clients away {tries:,} times in {look.policy.waiting.window_seconds:g} s; "
        f"{counted(total, 'connection')}, {waiting:,} that wait and {rise:,} to come need "
        f"{number_of_nodes(nodes)}"
    )
    if lost:
        reason += f", of which {lost} no longer {'serves' if lost == 1 else 'serve'}"
    return Wish(trigger=Trigger.WAITING, nodes=nodes, reason=reason)


def _most_to_come(look: Look) -> int:
    """How many clients may be expected beside the connected ones.

    After a drop (an outage before us, lost nodes) no more than were there before: the fleet has its nodes
    still, and a stampede back tries far oftener than it has clients. Once the total has passed that, they
    are new ones, and the bound is gone.
    """
    total = look.load.connections
    most = int(total * look.policy.waiting.most_percent / 100)
    before = highest_after_drop(look.history.spans, look.now, look.policy.growth)
    return most if before is None else min(most, max(0, before - total))


def _rise(look: Look) -> int:
    """How many more there will be if the rise of the last moments goes on; 0 without one.

    Of the connected and the waiting together: who waited and was let in is no new client. Growth looks at
    minutes to tell a rise from noise; here the refusals tell it.
    """
    rule, load = look.policy.waiting, look.load
    before = [one for one in look.history.trend if look.now - rule.rise_seconds < one.time < look.now]
    if not before or load.emptying:
        return 0
    first = before[0]
    risen = load.connections + _waiting(look, look.now) - first.value - _waiting(look, first.time)
    risen -= counted_twice(look)
    return max(0, int(risen / (look.now - first.time) * rule.rise_seconds))


def _waiting(look: Look, time: float) -> int:
    """Clients that waited then, by their tries."""
    return int(_tries(look, time) / look.policy.waiting.tries)


def _tries(look: Look, time: float) -> int:
    """How often full nodes turned clients away in the window before a time."""
    since = time - look.policy.waiting.window_seconds
    return sum(one.number for one in look.history.turned_away if since < one.time <= time)


def _lost(look: Look) -> int:
    """Nodes that had clients, are not ready and have been silent for long: their machines are gone.

    Until Kubernetes replaces their pods, which takes minutes, the fleet's size has them in it, and those who
    wait do not get in there.
    """
    oldest = look.now - look.policy.missing.last_known_seconds
    known = look.history.last_known
    return sum(
        1
        for node in look.snapshot.nodes
        if not (node.ready or node.marked or node.draining)
        and node.phase is Phase.RUNNING
        and known.get(node.uid, NEVER).connections
        and known[node.uid].connections_time < oldest
    )
