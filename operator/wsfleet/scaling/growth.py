"""Growth ahead of time: clients that will have come by the time a node that is asked for now is ready.

The slope counts only where clearly more pairs of samples rise than fall: noise does both alike. A surge, a
rise at once that is far beyond all that moved in the minutes before, counts at its own rate: a crowd is there
before two minutes have told of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from wsfleet.scaling.decision import Trigger
from wsfleet.scaling.history import MINUTE_SECONDS
from wsfleet.scaling.observe import Look, counted_twice
from wsfleet.scaling.policy import GrowthTrigger
from wsfleet.scaling.trend import highest_after_drop, trend_of
from wsfleet.scaling.wishes import Wish, nodes_for_connections
from wsfleet.scaling.words import counted, number_of_nodes, verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Connections to reckon with (the total itself without growth), and what led there."""

    connections: int
    per_second: float
    lead_seconds: float


def lead_seconds(rule: GrowthTrigger, starts: Sequence[float]) -> float:
    """Seconds from the wish for a node to its being ready: the median of the fleet's own last starts.

    Bounded both ways: a machine that had to be bought first must not blow the forecast up.
    """
    measured = median(starts) if starts else rule.default_start_seconds
    return min(max(measured, rule.least_start_seconds), rule.most_start_seconds)


def forecast(look: Look) -> Forecast:
    """The total once a node asked for now is ready; `GrowthTrigger` has the numbers."""
    rule, total = look.policy.growth, look.load.connections
    lead = lead_seconds(rule, look.history.starts)
    per_second = max(_per_second(look), _surge(look, lead))
    growth = min(per_second * lead, total * rule.most_percent / 100)
    highest = highest_after_drop(look.history.spans, look.now, rule)
    if highest is not None:
        growth = min(growth, max(0, highest - total))
    return Forecast(connections=total + int(growth), per_second=per_second, lead_seconds=lead)


def growth_wish(look: Look, coming: Forecast) -> Wish | None:
    """The nodes for the connections to come; None while they ask for no more than the present ones do."""
    policy, total = look.policy, look.load.connections
    percent, each = policy.connections.target_percent, policy.max_connections
    nodes = nodes_for_connections(coming.connections, each, percent)
    if nodes <= max(1, nodes_for_connections(total, each, percent)):
        return None
    reason = (
        f"{counted(total, 'connection')} {verb(total, 'grows', 'grow')} by "
        f"{_rate(coming.per_second)} a second; with {coming.connections - total:,} more by the time a node "
        f"has started ({coming.lead_seconds:.0f} s) they need {number_of_nodes(nodes)}"
    )
    return Wish(trigger=Trigger.GROWTH, nodes=nodes, reason=reason)


def _per_second(look: Look) -> float:
    """The slope that counts: 0 where the total does not clearly rise, or by our own closes."""
    rule = look.policy.growth
    samples = [one for one in look.history.trend if look.now - rule.window_seconds < one.time <= look.now]
    if not rule.enabled or len(samples) < rule.least_samples or _moves_its_own(look):
        return 0.0
    if samples[-1].value <= samples[0].value:
        return 0.0  # also spares the pairs of a fleet at rest
    trend = trend_of(samples)
    if trend is None or trend.agreement < rule.agreement:
        return 0.0
    return max(0.0, trend.per_second)


def _surge(look: Look, lead: float) -> float:
    """Connections a second since the sample before, where that is a surge; else 0.

    A step up need not go on: at most so much of it again is foreseen as `surge_again` says.
    """
    rule, total = look.policy.growth, look.load.connections
    oldest, latest = look.now - rule.window_seconds, look.now - rule.step_seconds / 2
    samples = [one for one in look.history.trend if oldest < one.time <= latest]
    if not rule.enabled or len(samples) < rule.least_samples:
        return 0.0
    highest, lowest = max(one.value for one in samples), min(one.value for one in samples)
    rise = total - highest
    least = max(
        total * rule.surge_percent / 100, look.policy.max_connections * rule.surge_floor_percent / 100
    )
    least = max(least, rule.surge_spreads * (highest - lowest))
    if rise < least or _moves_its_own(look):
        return 0.0
    twice = counted_twice(look)
    if rise - twice < least:
        return 0.0
    per_second = (total - twice - samples[-1].value) / (look.now - samples[-1].time)
    return min(per_second, rule.surge_again * rise / lead)


def _moves_its_own(look: Look) -> bool:
    """Whether the fleet itself closes connections, or did within the samples: who comes back looks new."""
    oldest = look.now - look.policy.growth.window_seconds
    return (
        look.snapshot.rolling
        or look.load.emptying > 0
        or any(one.start + MINUTE_SECONDS > oldest and one.value for one in look.history.own_closes)
    )


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"
