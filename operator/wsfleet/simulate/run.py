"""One trace through one fleet: the loop, and what is written down of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from wsfleet.scaling import closes_per_second
from wsfleet.simulate.control import Control, OperatorControl
from wsfleet.simulate.deployment import HpaControl
from wsfleet.simulate.fleet import Fleet
from wsfleet.simulate.hpa import HpaPolicy
from wsfleet.simulate.nodes import Totals
from wsfleet.simulate.oracle import nodes_needed, oracle_nodes
from wsfleet.simulate.scenarios import Scenario
from wsfleet.simulate.setup import Setup
from wsfleet.simulate.traffic import Cut, NewShape, NodesLost, Outage, Silence

_RECORDS = 480
_FIRST_SHAPE, _NEXT_SHAPE = "first", "second"
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Record:
    """The fleet at one time: sums and extremes since the record before where they are counts."""

    seconds: float
    wanted: int
    connected: int
    desired: int
    nodes: int
    ready: int
    least: int
    mean: float
    most: int
    rejected: int
    closed: int
    cpu_percent: float


@dataclass(slots=True)
class Run:
    """What came of a trace with one way of running the fleet."""

    name: str
    totals: Totals
    records: list[Record] = field(default_factory=list)
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """Each change of the size decided on, the first size before them; seconds and nodes."""
    spread_percent: float = 0.0
    """How far the fullest ready node was above their mean, at the worst tenth of the time."""
    most_returns: int = 0
    """The most closes of our own in any one second, as the mean of a minute."""
    usd: float = 0.0

    @property
    def node_hours(self) -> float:
        """Hours of all nodes together, from a pod's creation until it is gone."""
        return self.totals.node_seconds / 3600

    @property
    def most_nodes(self) -> int:
        """The most nodes there were at once."""
        return max((one.nodes for one in self.records), default=0)

    def size_at(self, seconds: float) -> int:
        """The size decided on at a time."""
        return [size for at, size in self.sizes if at <= seconds][-1]

    def ready_at(self, seconds: float) -> int:
        """The ready nodes at a time, as they were written down last before it."""
        return [one.ready for one in self.records if one.seconds <= seconds][-1]

    @property
    def turns(self) -> list[float]:
        """Times at which the size began to move the other way."""
        found, way = [], 0
        for (_, before), (at, after) in zip(self.sizes, self.sizes[1:], strict=False):
            now = (after > before) - (after < before)
            if way and now != way:
                found.append(at)
            way = now
        return found

    @property
    def turns_an_hour(self) -> int:
        """The most changes of direction within any hour."""
        return max(
            (sum(1 for other in self.turns if at <= other < at + 3600) for at in self.turns), default=0
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario with all who ran it, and what the oracle would have paid."""

    scenario: Scenario
    seed: int
    operator: Run
    hpa: Run | None
    oracle: list[tuple[float, int]]
    oracle_node_hours: float
    oracle_usd: float
    closes_per_second: float
    """The fleet's budget of closes at its most connections."""

    def oracle_at(self, seconds: float) -> int:
        """The nodes that the oracle pays for at a time."""
        return [nodes for at, nodes in self.oracle if at <= seconds][-1]


def compare(
    scenario: Scenario, setup: Setup, seed: int, progress: Progress | None = None, with_hpa: bool = True
) -> Comparison:
    """Run a scenario by the operator's policy and by an HPA; `progress` is told the share that is done."""
    if scenario.cpu_noise is not None:
        setup = replace(setup, watching=replace(setup.watching, cpu_noise=scenario.cpu_noise))
    nodes = nodes_needed(setup, scenario.trace.at(0))
    share = 0.5 if with_hpa else 1.0
    tell = progress or (lambda _: None)
    operator = simulate(
        scenario,
        setup,
        OperatorControl(_FIRST_SHAPE, nodes, seed + 1),
        seed,
        "wsfleet",
        lambda done: tell(done * share),
    )
    hpa = None
    if with_hpa:
        policy = HpaPolicy(
            connections=setup.policy.max_connections * setup.policy.connections.target_percent / 100,
            cpu_percent=setup.policy.cpu.target_percent,
            min_replicas=max(1, setup.policy.min_replicas),
            max_replicas=setup.policy.max_replicas,
        )
        control = HpaControl(_FIRST_SHAPE, nodes, seed + 1, policy)
        hpa = simulate(
            scenario,
            setup,
            control,
            seed,
            "HPA",
            lambda done: tell(share + done * share),
            closes_at_once=True,
        )
    step = scenario.step_seconds
    steps = int(scenario.trace.seconds / step)
    times = [number * step for number in range(steps)]
    paid = oracle_nodes(setup, [scenario.trace.at(at) for at in times], step)
    hours = sum(paid) * step / 3600
    return Comparison(
        scenario,
        seed,
        operator,
        hpa,
        list(zip(times, paid, strict=True)),
        hours,
        hours * setup.node.price_usd_per_hour,
        closes_per_second(round(scenario.trace.most_connections), setup.closes_per_second),
    )


def simulate(
    scenario: Scenario,
    setup: Setup,
    control: Control,
    seed: int,
    name: str,
    progress: Progress | None = None,
    closes_at_once: bool = False,
) -> Run:
    """Run a scenario with one way of running the fleet; the same seed gives the same run."""
    step, trace = scenario.step_seconds, scenario.trace
    fleet = Fleet(setup, step, seed, closes_at_once)
    start = trace.at(0)
    fleet.start_with(nodes_needed(setup, start), round(start.connections), _FIRST_SHAPE)
    fleet.rate = start.rate
    run = Run(name, fleet.totals, sizes=[(0.0, control.desired)])
    steps = int(trace.seconds / step)
    each = max(1, math.ceil(steps / _RECORDS))
    spreads: list[float] = []
    minute = max(1, round(60 / step))
    closed_before = closed_recorded = rejected_recorded = 0
    for number in range(1, steps + 1):
        before, now = (number - 1) * step, number * step
        _incidents(scenario, fleet, control, before, now)
        point = trace.at(now)
        fleet.step(round(point.connections), point.rate)
        control.act(fleet)
        if control.desired != run.sizes[-1][1]:
            run.sizes.append((now, control.desired))
        if number % minute == 0:
            run.most_returns = max(run.most_returns, round((fleet.totals.closed - closed_before) / 60))
            closed_before = fleet.totals.closed
        if number % each == 0 or number == steps:
            record = _record(fleet, control, round(point.connections), rejected_recorded, closed_recorded)
            rejected_recorded, closed_recorded = fleet.totals.rejected, fleet.totals.closed
            run.records.append(record)
            if record.mean:
                spreads.append(100 * (record.most / record.mean - 1))
            if progress is not None:
                progress(number / steps)
    spreads.sort()
    run.spread_percent = spreads[int(0.9 * (len(spreads) - 1))] if spreads else 0.0
    run.usd = run.node_hours * setup.node.price_usd_per_hour
    return run


def _incidents(scenario: Scenario, fleet: Fleet, control: Control, before: float, now: float) -> None:
    """What begins or ends between two steps."""

    def happens(at: float) -> bool:
        return before < at <= now

    for one in scenario.incidents:
        if isinstance(one, Outage):
            if happens(one.start):
                fleet.way_cut = True
                fleet.cut(fleet.clients)
            elif happens(one.end):
                fleet.way_cut = False
        elif isinstance(one, Silence):
            if happens(one.start):
                control.silence(one.share)
            elif happens(one.end):
                control.silence(0.0)
        elif happens(one.at):
            if isinstance(one, Cut):
                fleet.cut(one.connections)
            elif isinstance(one, NodesLost):
                fleet.lose(one.share)
            elif isinstance(one, NewShape):
                control.new_shape(fleet, _NEXT_SHAPE)


def _record(fleet: Fleet, control: Control, wanted: int, rejected: int, closed: int) -> Record:
    ready = [pod.slot for pod in fleet.pods if pod.ready and pod.lost_at is None]
    each = fleet.connections[ready] if ready else fleet.connections[:0]
    return Record(
        seconds=fleet.now,
        wanted=wanted,
        connected=int(fleet.connections.sum()),
        desired=control.desired,
        nodes=len(fleet.pods),
        ready=len(ready),
        least=int(each.min()) if ready else 0,
        mean=float(each.mean()) if ready else 0.0,
        most=int(each.max()) if ready else 0,
        rejected=fleet.totals.rejected - rejected,
        closed=fleet.totals.closed - closed,
        cpu_percent=float(fleet.cpu[ready].mean()) if ready else 0.0,
    )
