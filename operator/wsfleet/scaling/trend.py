"""The memory that growth is foreseen by: samples of the total, the last hour's peaks, how long nodes take to
start. Bounded, and all of it in the status.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

from wsfleet.scaling.history import History, Sample, Span
from wsfleet.scaling.policy import GrowthTrigger
from wsfleet.scaling.samples import NodeSample

STARTS_KEPT = 9
SPAN_SECONDS = 300.0
READY_SEEN_SECONDS = 10.0
"""Until a pod that has become ready is seen so by every look: it is judged once, this long after."""
_TENTH = 1  # digits: as the status writes times, so that a restart forecasts the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The total's way: connections a second (median), and (rising - falling) / all pairs, from -1 to 1."""

    per_second: float
    agreement: float


def trend_of(samples: Sequence[Sample]) -> Trend | None:
    """The trend of samples in the order of their times; None of fewer than two.

    The median of the slopes between all pairs (Theil-Sen): a quarter of bad samples does not move it.
    """
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(samples, 2) if b[0] > a[0])
    if not slopes:
        return None
    falling, rising = bisect_left(slopes, 0), len(slopes) - bisect_right(slopes, 0)
    return Trend(per_second=median(slopes), agreement=(rising - falling) / len(slopes))


def with_total(rule: GrowthTrigger, history: History, time: float, total: int) -> History:
    """The history with one more total, kept apart from the last by the rule's step."""
    spans = _into_spans(history.spans, time, total, rule.peak_seconds)
    trend = tuple(one for one in history.trend if time - rule.window_seconds < one.time <= time)
    if not trend or time - trend[-1].time >= rule.step_seconds:
        trend = (*trend, Sample(round(time, _TENTH), total))
    return replace(history, trend=trend, spans=spans)


def with_starts(
    rule: GrowthTrigger, history: History, nodes: Iterable[NodeSample], time: float, before: float | None
) -> History:
    """The history with what nodes took from creation to ready, that became so since the last look.

    `before` is the last look's time. A pod that stumbled later in its life says nothing of a start.
    """
    since = -float("inf") if before is None or before > time else before - READY_SEEN_SECONDS
    until = time - READY_SEEN_SECONDS
    new = [
        round(node.pod_age_seconds - node.ready_seconds, _TENTH)
        for node in nodes
        if node.ready
        and node.ready_seconds is not None
        and since < time - node.ready_seconds <= until
        and 0 < node.pod_age_seconds - node.ready_seconds <= rule.longest_start_seconds
    ]
    return replace(history, starts=(*history.starts, *new)[-STARTS_KEPT:]) if new else history


def highest_after_drop(spans: Sequence[Span], now: float, rule: GrowthTrigger) -> int | None:
    """The last hour's peak where the total has dropped since; None without a drop.

    Who comes back after a drop is no growth: what was there before is the most to be expected.
    """
    kept = [one for one in spans if now - rule.peak_seconds < one.start <= now]
    if not kept:
        return None
    peak = max(one.highest for one in kept)
    last = max(place for place, one in enumerate(kept) if one.highest == peak)
    lowest = min((kept[last].lowest_since, *(one.lowest for one in kept[last + 1 :])))
    return peak if lowest < peak * (1 - rule.drop_percent / 100) else None


def highest_total(spans: Sequence[Span], now: float, seconds: float) -> int:
    """The highest total of the last so many seconds (whole spans, so up to one more)."""
    return max((one.highest for one in spans if now - seconds < one.start + SPAN_SECONDS), default=0)


def _into_spans(spans: tuple[Span, ...], time: float, total: int, keep_seconds: float) -> tuple[Span, ...]:
    start = time - time % SPAN_SECONDS
    kept = [one for one in spans if time - keep_seconds - SPAN_SECONDS < one.start <= start]
    if not kept or kept[-1].start != start:
        return (*kept, Span(start, total, total, total))
    last = kept.pop()
    if total >= last.highest:
        return (*kept, Span(start, total, min(last.lowest, total), total))
    lowest, since = min(last.lowest, total), min(last.lowest_since, total)
    return (*kept, Span(start, last.highest, lowest, since))
