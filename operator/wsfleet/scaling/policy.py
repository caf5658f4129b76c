"""The numbers that scaling goes by, with the seed's defaults (its section Scaling Strategy).

Each number stands here once, with its unit in its name; no rule elsewhere carries one of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wsfleet.scaling.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsTrigger:
    """Seed, trigger 2: 8,000 of 10,000 connections; judged by the fleet's total."""

    target_percent: float = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTrigger:
    """Seed, trigger 1: CPU above 60 %, sustained for 5 minutes."""

    target_percent: float = 60.0
    sustained_seconds: float = 300.0
    sustained_share: float = 0.9
    """Share of the window's samples that must lie above the target."""
    paused_feed_percent: float = 80.0
    """A node whose feed is paused counts as at least this: pausing lowers CPU, not the need."""
    young_seconds: float = 60.0
    """Younger pods are left out: a ring that fills and clients that resume run hot."""
    reject_percent: float = 75.0
    """WS_CPU_REJECT_THRESHOLD. Where a node spends the target whatever it serves, no number of nodes leads to
    that; what CPU then needs is that nodes stay below this."""
    gain_share: float = 0.25
    """A step gained something if CPU fell by at least this share of what the step should have brought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionsTrigger:
    """Seed, trigger 3: clients turned away for CPU again and again."""

    per_minute: float = 10.0
    sustained_seconds: float = 30.0
    pause_seconds: float = 15.0
    """A quiet spell this long ends a run of rejections."""
    settle_seconds: float = 60.0
    """A node that was added must have been ready this long before rejections ask for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingClients:
    """Clients turned away because nodes are full come again: they count as if they were connected.

    A full fleet's connections say nothing of how many more there are. Full jitter between 1 and 30 s makes
    a try of a client in 15 s if it waits for long, three in 10 s if it has just come.
    """

    window_seconds: float = 10.0
    tries: float = 1.0
    """Tries in the window that are taken for one client."""
    most_percent: float = 100.0
    """Waiting clients and the rise to come count together up to this share of the connected ones: the step
    limit lets a fleet double, and the next look sees more."""
    rise_seconds: float = 20.0
    """The rise of so many seconds is taken to go on as long: a look, the start of a node, and its label."""

    @property
    def kept_seconds(self) -> float:
        """How long it is remembered how many were turned away: as long as a rise looks back."""
        return self.window_seconds + self.rise_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthTrigger:
    """Growth ahead of time: connections to come while a node starts count as if they were there."""

    enabled: bool = True
    window_seconds: float = 120.0
    """The slope is taken over this long."""
    step_seconds: float = 4.5
    """Samples are at least this far apart: one of each look, and at most 27."""
    least_samples: int = 6
    agreement: float = 0.5
    """(rising - falling) / all pairs of samples from which on the total rises. Noise alone gives that once in
    some thousand windows; a rise is seen once it fills 30 % of the window."""
    surge_percent: float = 10.0
    """A total this far above all of the window's samples is a surge,"""
    surge_spreads: float = 2.0
    """if it is so by more than this many times what the window's samples differ by,"""
    surge_floor_percent: float = 5.0
    """and by at least this share of one node's WS_MAX_CONNECTIONS."""
    surge_again: float = 2.0
    """It is taken to bring up to so many times as many clients again."""
    most_percent: float = 50.0
    """Growth counts up to this share of the total."""
    default_start_seconds: float = 30.0
    """What a node is taken to need until it is ready, while the fleet has not shown it."""
    least_start_seconds: float = 5.0
    most_start_seconds: float = 180.0
    longest_start_seconds: float = 600.0
    """A pod that was ready later than this after its creation has stumbled, and says nothing of a start."""
    peak_seconds: float = 3600.0
    drop_percent: float = 5.0
    """A total this far below the last hour's peak has dropped; a return is not foreseen above the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDown:
    """When a fleet may shrink."""

    stabilization_seconds: float = 300.0
    headroom_percent: float = 70.0
    """The nodes that stay must be below this share of WS_MAX_CONNECTIONS afterwards."""
    drop_percent: float = 30.0
    """A fall of the total by more than this within `drop_window_seconds`, not by our own closes, is taken for
    an outage before us."""
    drop_window_seconds: float = 300.0
    drop_floor_percent: float = 5.0
    """Falls smaller than this share of one node's WS_MAX_CONNECTIONS are noise."""
    outage_hold_seconds: float = 1800.0
    regret_windows: float = 12.0
    """A node given up and asked for again within so many stabilization windows (an hour) was given up in
    vain: for as long again no node goes."""
    regret_memory_windows: float = 72.0
    """And for this long the rest must have room for the last hour's peak, not for the present total alone. So
    it must whenever the fleet's last step was up: a load that swings about a threshold would else take a node
    there and back again and again. A total lower than the peak by `drop_percent` does not swing, it has gone.
    """

    @property
    def regret_seconds(self) -> float:
        """See `regret_windows`."""
        return self.regret_windows * self.stabilization_seconds

    @property
    def regret_memory_seconds(self) -> float:
        """See `regret_memory_windows`."""
        return self.regret_memory_windows * self.stabilization_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimit:
    """How fast a fleet may grow: at most `nodes` or a doubling, whichever is more, each `seconds`."""

    nodes: int = 4
    seconds: float = 15.0
    late_seconds: float = 5.0
    """A look that comes by so much after the end of these seconds counts as at their end: they follow each
    other, and no look's lateness is added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What counts as missing, and how long the last known figure stands in for it."""

    fresh_seconds: float = 15.0
    """Three scrapes; a figure older than this is missing."""
    late_seconds: float = 4.5
    """A round of scrapes takes less; a figure older than this is of an earlier one."""
    last_known_seconds: float = 60.0
    lost_seconds: float = 60.0
    """A node that served and has not been ready for longer is taken for lost: others come in its place."""
    lost_share: float = 0.5
    """While more than this share of the nodes are not ready, none is taken for lost: others would be too."""
    share: float = 0.10
    """Scale-in is held while more than max(1, this share) of the nodes are missing."""
    gap_seconds: float = 120.0
    """Nothing seen for longer than this: what was observed before no longer speaks for the present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """All that `decide` goes by for one fleet.

    `autoscaling` False: the size is `replicas`, or where that is None the present size. `max_connections` is
    the plan's WS_MAX_CONNECTIONS of one node.
    """

    max_connections: int
    autoscaling: bool = True
    replicas: int | None = None
    min_replicas: int = 1
    max_replicas: int = 10
    connections: ConnectionsTrigger = field(default_factory=ConnectionsTrigger)
    cpu: CpuTrigger = field(default_factory=CpuTrigger)
    rejections: RejectionsTrigger = field(default_factory=RejectionsTrigger)
    waiting: WaitingClients = field(default_factory=WaitingClients)
    growth: GrowthTrigger = field(default_factory=GrowthTrigger)
    schedules: tuple[Schedule, ...] = ()
    scale_down: ScaleDown = field(default_factory=ScaleDown)
    step: StepLimit = field(default_factory=StepLimit)
    missing: Missing = field(default_factory=Missing)
    paused: bool = False
    paused_scale_out: bool = False
    paused_scale_in: bool = False

    def __post_init__(self) -> None:
        if self.max_connections < 1:
            raise ValueError(f"max_connections ({self.max_connections}) must be at least 1")
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError(
                f"min_replicas ({self.min_replicas}) must lie in 0..max_replicas ({self.max_replicas})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirePolicy:
    """How a node is taken out of a fleet."""

    delay_seconds: float = 10.0
    """WS_DRAIN_DELAY: the node still accepts for this long."""
    timeout_seconds: float = 300.0
    """WS_DRAIN_TIMEOUT: after it the node itself cuts who is left."""
    margin_seconds: float = 15.0
    """Waited beyond the time-out before a drain that says nothing is taken as over."""
    admin_wait_seconds: float = 30.0
    """How long an admin port may stay silent before the pod is removed all the same; SIGTERM drains it."""
    terminating_seconds: float = 600.0
    """A pod terminating for longer than any grace period (540 s) is on a lost machine; it blocks nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How a change of shape goes through a fleet."""

    at_once: int = 1
    """Nodes that are replaced in one wave: so many new ones, and then so many old ones drained."""

    progress_deadline_seconds: float = 600.0
    min_ready_seconds: float = 0.0
    """A node counts as proven once it has been ready this long."""
    revision_history_limit: int = 3
    replace_cordoned: bool = True
    """Pods on cordoned machines are replaced too: surge, drain, shrink, so that `kubectl drain` ends."""
    retire: RetirePolicy = field(default_factory=RetirePolicy)


WAVE_SECONDS = 60.0
"""What a wave takes beside its closes: a new node's start, the drain's delay, the old one's end."""
_MOST_SHARE_AT_ONCE = 0.25


def nodes_at_once(nodes: int, connections: int, closes_a_second: float) -> int:
    """How many nodes a wave replaces, so that the closes and not the waiting take the time.

    As many as the budget empties in `WAVE_SECONDS`; at most a quarter of the fleet, at least one.
    """
    emptied = closes_a_second * WAVE_SECONDS * max(nodes, 1) / max(connections, 1)
    return max(1, int(min(emptied, nodes * _MOST_SHARE_AT_ONCE)))


def closes_per_second(total_connections: int, configured: float | None = None) -> float:
    """The fleet's budget of closes, all causes together: as configured, or max(100, connections / 1800)."""
    return configured if configured is not None else max(100.0, total_connections / 1800)
