"""From a snapshot and what is remembered to the figures that decisions go by, and the memory of them.

Every figure exists twice where something is missing: as scale-out sees it (the last known value for 60 s,
then left out) and as scale-in sees it (missing is full).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wsfleet.scaling.history import (
    REJECTION_EVENTS_KEPT,
    CpuBucket,
    Event,
    History,
    LastKnown,
    add_to_minute,
    into_cpu,
    into_minutes,
)
from wsfleet.scaling.policy import ScalingPolicy
from wsfleet.scaling.samples import NodeSample, Snapshot
from wsfleet.scaling.schedule import Minimum
from wsfleet.scaling.trend import with_starts, with_total

NEVER = LastKnown(None, 0.0, None, 0.0, None, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The fleet's figures at one instant.

    `connections` and `cpu_percent` are as scale-out takes them, the `full_` ones as scale-in does:
    `full_demand` sums CPU % over all running nodes. `cpu_nodes` are the ready nodes old enough to be judged.
    `capacity` counts nodes that serve or will: ready, starting, pending; not those that no machine takes.
    """

    connections: int
    full_connections: int
    left_out: int
    cpu_percent: float | None
    cpu_nodes: int
    full_demand: float
    full_nodes: int
    nodes: int
    ready: int
    pending: int
    unschedulable: int
    capacity: int
    missing: int
    new_rejections: int
    new_turned_away: int
    own_closes: int
    emptying: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that one decision goes by: what was seen and is remembered, size and minimum in force, the time."""

    policy: ScalingPolicy
    snapshot: Snapshot
    load: Load
    history: History
    now: float
    current: int
    fixed_percent: float
    minimum: Minimum


def counted_twice(look: Look) -> int:
    """The most connections that may be twice in the total.

    A node that did not answer the last round counts with what it last had. If its machine is gone, its
    clients are connected elsewhere by now, or on their way.
    """
    rule, now = look.policy.missing, look.snapshot.time
    return sum(
        last.connections or 0
        for last in look.history.last_known.values()
        if rule.late_seconds < now - last.connections_time <= rule.last_known_seconds
    )


class _Tally:
    """Sums over the nodes of one snapshot; lives only inside `measure`."""

    def __init__(self, policy: ScalingPolicy, time: float, known: Mapping[str, LastKnown]) -> None:
        self.policy = policy
        self.time = time
        self.oldest = time - policy.missing.last_known_seconds
        self.fresh_from = time - policy.missing.fresh_seconds
        self.known = known
        self.last_known: dict[str, LastKnown] = {}
        self.connections = self.full_connections = self.left_out = 0
        self.cpu_sum = self.full_demand = 0.0
        self.cpu_known = self.cpu_nodes = self.full_nodes = 0
        self.nodes = self.ready = self.pending = self.unschedulable = self.capacity = self.missing = 0
        self.new_rejections = self.new_turned_away = self.own_closes = self.emptying = 0

    def add(self, node: NodeSample) -> None:
        """Take one node in."""
        before = self.known.get(node.uid, NEVER)
        last = self._remember(node, before)
        self.last_known[node.uid] = last
        expected = self._count_pod(node, before)
        oldest, fresh_from = self.oldest, self.fresh_from
        connections = last.connections if last.connections_time >= oldest else None
        cpu = last.cpu_percent if last.cpu_time >= oldest else None
        self.connections += connections or 0
        if not expected:
            self.full_connections += connections or 0
            return
        if connections is None:
            self.left_out += 1
        connections_fresh = last.connections is not None and last.connections_time >= fresh_from
        cpu_fresh = last.cpu_percent is not None and last.cpu_time >= fresh_from
        self.missing += not (connections_fresh and cpu_fresh)
        full = node.max_connections or self.policy.max_connections
        self.full_connections += (
            last.connections if connections_fresh and last.connections is not None else full
        )
        if node.feed_paused:
            floor = self.policy.cpu.paused_feed_percent
            cpu = floor if cpu is None else max(cpu, floor)
        self.full_nodes += 1
        self.full_demand += cpu if cpu_fresh and cpu is not None else 100.0
        if node.ready and node.pod_age_seconds >= self.policy.cpu.young_seconds:
            self.cpu_nodes += 1
            if cpu is not None:
                self.cpu_sum += cpu
                self.cpu_known += 1

    def _remember(self, node: NodeSample, before: LastKnown) -> LastKnown:
        """The node's last known figures; notes what we closed and whom it turned away since the last look."""
        emptying = node.marked or node.draining or node.shedding
        self.emptying += emptying
        age = node.sample_age_seconds
        if age is None or age > self.policy.missing.last_known_seconds:
            return before._replace(emptying=emptying)
        seen = self.time - age
        connections, cpu, rejections = node.connections, node.cpu_percent, node.cpu_rejections
        if emptying and connections is not None and before.connections is not None:
            self.own_closes += max(0, before.connections - connections)
        self.new_rejections += _new(rejections, before.rejections)
        full = node.full_rejections
        self.new_turned_away += _new(full, before.turned_away)
        return LastKnown(
            before.connections if connections is None else connections,
            before.connections_time if connections is None else seen,
            before.cpu_percent if cpu is None else cpu,
            before.cpu_time if cpu is None else seen,
            before.rejections if rejections is None else rejections,
            emptying,
            before.turned_away if full is None else full,
        )

    def _count_pod(self, node: NodeSample, before: LastKnown) -> bool:
        """Count the pod by its state; whether figures are expected of it."""
        if node.terminating:
            return False
        self.nodes += 1
        self.ready += node.ready
        if node.pending:
            self.pending += not node.unschedulable
            self.unschedulable += node.unschedulable
            self.capacity += not node.unschedulable
            return False
        never_answered = node.sample_age_seconds is None and before is NEVER
        starting = not node.ready and node.pod_age_seconds < self.policy.cpu.young_seconds
        self.capacity += node.ready or starting
        return not (starting and never_answered)


def _new(count: int | None, before: int | None) -> int:
    """What a counter counted since the last look; one that fell began anew."""
    if count is None or before is None:
        return 0
    return count if count < before else count - before


def measure(policy: ScalingPolicy, snapshot: Snapshot, history: History) -> tuple[Load, dict[str, LastKnown]]:
    """The figures of a snapshot, and the last known ones of its pods."""
    tally = _Tally(policy, snapshot.time, history.last_known)
    for node in snapshot.nodes:
        tally.add(node)
    own_closes = tally.own_closes + sum(
        last.connections or 0
        for uid, last in history.last_known.items()
        if last.emptying and uid not in tally.last_known
    )
    load = Load(
        connections=tally.connections,
        full_connections=tally.full_connections,
        left_out=tally.left_out,
        cpu_percent=tally.cpu_sum / tally.cpu_known if tally.cpu_known else None,
        cpu_nodes=tally.cpu_nodes,
        full_demand=tally.full_demand,
        full_nodes=tally.full_nodes,
        nodes=tally.nodes,
        ready=tally.ready,
        pending=tally.pending,
        unschedulable=tally.unschedulable,
        capacity=tally.capacity,
        missing=tally.missing,
        new_rejections=tally.new_rejections,
        new_turned_away=tally.new_turned_away,
        own_closes=own_closes,
        emptying=tally.emptying,
    )
    return load, tally.last_known


def observe(policy: ScalingPolicy, snapshot: Snapshot, history: History) -> tuple[Load, History]:
    """The figures of a snapshot and the history that has them; the same snapshot twice is remembered once."""
    load, last_known = measure(policy, snapshot, history)
    time = snapshot.time
    if history.last_seen == time:
        return load, history
    since = history.observed_since
    gap = history.last_seen is None or not 0 <= time - history.last_seen <= policy.missing.gap_seconds
    remembered = replace(
        history,
        last_seen=time,
        observed_since=time if since is None or gap or since > time else since,
        last_known=last_known,
    )
    remembered = _with_rejections(policy, load, _with_cpu(policy, load, remembered))
    remembered = with_starts(policy.growth, remembered, snapshot.nodes, time, history.last_seen)
    if not load.left_out:  # figures that come back would look like growth
        remembered = with_total(policy.growth, remembered, time, load.connections)
    return load, _with_outage(policy, load, remembered)


def _with_cpu(policy: ScalingPolicy, load: Load, history: History) -> History:
    """One more CPU sample; without a node old enough to be judged the clock neither counts nor resets."""
    time = history.last_seen or 0.0
    if load.cpu_percent is None:
        return history
    above = load.cpu_percent > policy.cpu.target_percent
    demand = load.cpu_percent * load.cpu_nodes
    sample = CpuBucket(time, 1, int(above), load.cpu_percent, demand, load.cpu_nodes)
    return replace(history, cpu=into_cpu(history.cpu, time, sample, policy.cpu.sustained_seconds))


def _with_rejections(policy: ScalingPolicy, load: Load, history: History) -> History:
    """A run of rejections starts with the first and ends with a quiet spell."""
    time = history.last_seen or 0.0
    events = tuple(one for one in history.rejections if time - 60.0 < one.time <= time)
    since = history.rejecting_since
    if not events or time - events[-1].time > policy.rejections.pause_seconds:
        since = None
    if load.new_rejections:
        since = time if since is None else since
        events = (*events, Event(time, load.new_rejections))[-REJECTION_EVENTS_KEPT:]
    away = tuple(one for one in history.turned_away if time - policy.waiting.kept_seconds < one.time <= time)
    if load.new_turned_away:
        away = (*away, Event(time, load.new_turned_away))[-REJECTION_EVENTS_KEPT:]
    return replace(history, rejections=events, rejecting_since=since, turned_away=away)


def _with_outage(policy: ScalingPolicy, load: Load, history: History) -> History:
    """Totals and our own closes by the minute; a fall that they don't explain starts a hold of scale-in.

    Figures left out would look like a fall, so such a snapshot says nothing about one.
    """
    time = history.last_seen or 0.0
    down = policy.scale_down
    closes = add_to_minute(history.own_closes, time, load.own_closes, down.drop_window_seconds)
    if load.left_out:
        return replace(history, own_closes=closes)
    totals = into_minutes(history.totals, time, load.connections, down.drop_window_seconds)
    peak = max(one.value for one in totals)
    fall = peak - load.connections - sum(one.value for one in closes)
    floor = policy.max_connections * down.drop_floor_percent / 100
    until = history.outage_until
    if fall > peak * down.drop_percent / 100 and fall > floor and (until is None or until <= time):
        until = time + down.outage_hold_seconds
    return replace(history, own_closes=closes, totals=totals, outage_until=until)
