"""What scaling remembers between two looks at a fleet: bounded, immutable, kept in the resource's status.

Each update takes a history and gives a new one. `history_codec` writes it as JSON values and reads it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from wsfleet.scaling.decision import Decision

MINUTE_SECONDS = 60.0
DECISIONS_KEPT = 10
REJECTION_EVENTS_KEPT = 24
CPU_STEPS_KEPT = 3


class CpuBucket(NamedTuple):
    """CPU samples of a twentieth of the sustained window (`cpu_bucket_seconds`): how many, how many above the
    target, and sums to take means from.

    `percents` sums the mean over the nodes, `demand` sums mean x nodes (what the fleet needs together),
    `nodes` sums the nodes that had figures.
    """

    start: float
    samples: int
    above: int
    percents: float
    demand: float
    nodes: int


class Minute(NamedTuple):
    """The highest value seen in one minute."""

    start: float
    value: int


class Sample(NamedTuple):
    """The fleet's total of connections at one moment."""

    time: float
    value: int


class Span(NamedTuple):
    """The total within five minutes: highest, lowest, and lowest since the highest."""

    start: float
    highest: int
    lowest: int
    lowest_since: int


class LastKnown(NamedTuple):
    """A node's last figures, when each was true (epoch seconds), and whether we were emptying it then."""

    connections: int | None
    connections_time: float
    cpu_percent: float | None
    cpu_time: float
    rejections: int | None
    emptying: bool
    turned_away: int | None = None
    """By WS_MAX_CONNECTIONS; `rejections` are those for CPU."""


class Event(NamedTuple):
    """So many of something between the last snapshot and this one."""

    time: float
    number: int


class CpuStep(NamedTuple):
    """The fleet when CPU asked for a node: nodes asked for before it, mean CPU %, connections a node."""

    time: float
    nodes: int
    percent: float
    connections_per_node: float


class Growth(NamedTuple):
    """The last step up: when, from which size it is counted, to which, and by which trigger."""

    time: float
    base: int
    size: int
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that `decide` knows beside the snapshot; an empty one is a fleet never seen before.

    `desired` is the size last decided on. Times are epoch seconds. `starts` are seconds that the last nodes
    took from creation to ready; `shrunk` is when the fleet gave up a node last, `regretted` when it had to
    grow again soon after.
    """

    desired: int | None = None
    observed_since: float | None = None
    last_seen: float | None = None
    cpu: tuple[CpuBucket, ...] = ()
    cpu_steps: tuple[CpuStep, ...] = ()
    recommendations: tuple[Minute, ...] = ()
    totals: tuple[Minute, ...] = ()
    own_closes: tuple[Minute, ...] = ()
    rejecting_since: float | None = None
    rejections: tuple[Event, ...] = ()
    turned_away: tuple[Event, ...] = ()
    outage_until: float | None = None
    growth: Growth | None = None
    trend: tuple[Sample, ...] = ()
    spans: tuple[Span, ...] = ()
    starts: tuple[float, ...] = ()
    shrunk: float | None = None
    regretted: float | None = None
    last_known: Mapping[str, LastKnown] = field(default_factory=lambda: MappingProxyType({}))
    decisions: tuple[Decision, ...] = ()

    def with_decision(self, decision: Decision) -> History:
        """The history after a decision; kept among the last ones only if it moved the size."""
        kept = (*self.decisions, decision)[-DECISIONS_KEPT:] if decision.changes else self.decisions
        return replace(self, desired=decision.desired, decisions=kept)

    def to_status(self) -> dict[str, Any]:
        """As JSON values for `status.memory` (about 3 KB); all but the decisions."""
        from wsfleet.scaling.history_codec import history_to_status

        return history_to_status(self)

    def decisions_to_status(self) -> list[dict[str, Any]]:
        """The last decisions for `status.scaling`, newest first."""
        from wsfleet.scaling.history_codec import decision_to_status

        return [decision_to_status(one) for one in reversed(self.decisions)]

    @staticmethod
    def from_status(memory: Mapping[str, Any] | None, decisions: Iterable[Mapping[str, Any]] = ()) -> History:
        """From `status.memory` and `status.scaling`; what is missing or not understood is not remembered."""
        from wsfleet.scaling.history_codec import history_from_status

        return history_from_status(memory, decisions)


def into_minutes(
    minutes: tuple[Minute, ...], time: float, value: int, keep_seconds: float
) -> tuple[Minute, ...]:
    """One-minute maxima with one more value, without minutes that ended before `keep_seconds`."""
    start = time - time % MINUTE_SECONDS
    kept = [one for one in minutes if time - keep_seconds - MINUTE_SECONDS < one.start <= start]
    if kept and kept[-1].start == start:
        kept[-1] = Minute(start, max(kept[-1].value, value))
    else:
        kept.append(Minute(start, value))
    return tuple(kept)


def add_to_minute(
    minutes: tuple[Minute, ...], time: float, value: int, keep_seconds: float
) -> tuple[Minute, ...]:
    """One-minute sums with one more value; see `into_minutes`."""
    start = time - time % MINUTE_SECONDS
    kept = [one for one in minutes if time - keep_seconds - MINUTE_SECONDS < one.start <= start]
    if kept and kept[-1].start == start:
        kept[-1] = Minute(start, kept[-1].value + value)
    elif value:
        kept.append(Minute(start, value))
    return tuple(kept)


def cpu_bucket_seconds(sustained_seconds: float) -> float:
    """Length of a CPU bucket: the window keeps 20 of them, none shorter than a scrape takes to come round."""
    return max(5.0, sustained_seconds / 20)


def into_cpu(
    buckets: tuple[CpuBucket, ...], time: float, sample: CpuBucket, sustained_seconds: float
) -> tuple[CpuBucket, ...]:
    """The CPU window with one more sample (a bucket of one).

    Of the buckets before the window only the last is kept: it shows that the window was watched from its
    start.
    """
    started = [one for one in buckets if time - 2 * sustained_seconds < one.start <= time]
    before = [one for one in started if one.start <= time - sustained_seconds]
    kept = [*before[-1:], *started[len(before) :]]
    if kept and time - kept[-1].start < cpu_bucket_seconds(sustained_seconds):
        last = kept[-1]
        kept[-1] = CpuBucket(
            last.start,
            last.samples + sample.samples,
            last.above + sample.above,
            last.percents + sample.percents,
            last.demand + sample.demand,
            last.nodes + sample.nodes,
        )
    else:
        kept.append(sample._replace(start=time))
    return tuple(kept)
