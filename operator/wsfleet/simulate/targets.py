"""The figures that the operator has promised to reach on the named traces, and whether it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from wsfleet.scaling import History, NodeSample, ScalingPolicy, Snapshot, decide
from wsfleet.simulate.control import EPOCH
from wsfleet.simulate.run import Comparison
from wsfleet.simulate.traffic import Outage

OF_THE_HPA = 0.1
OF_THE_ORACLE = 1.10
OF_THE_BUDGET = 1.2
TURNS_AN_HOUR = 1
DECIDE_NODES, DECIDE_MILLISECONDS = 2000, 20.0
_LOOKS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One figure: what was promised of it, and what it came to."""

    scenario: str
    figure: str
    wanted: str
    reached: str
    met: bool


def targets(comparisons: Iterable[Comparison]) -> list[Target]:
    """The figures to reach on these traces; none for a trace of one's own."""
    return [one for comparison in comparisons for one in _of_scenario(comparison)]


def decide_target() -> Target:
    """The CPU that one decision takes for a fleet of 2,000 nodes, on this machine and now."""
    took = decide_milliseconds(DECIDE_NODES)
    return Target(
        scenario="-",
        figure=f"a decision for {DECIDE_NODES:,} nodes",
        wanted=f"below {DECIDE_MILLISECONDS:g} ms",
        reached=f"{took:.1f} ms",
        met=took < DECIDE_MILLISECONDS,
    )


def decide_milliseconds(nodes: int) -> float:
    """CPU milliseconds, the median of a few decisions for so many nodes."""
    policy = ScalingPolicy(max_connections=10_000, max_replicas=2 * nodes)
    samples = tuple(_sample(number) for number in range(nodes))
    history, took = History(), []
    for look in range(_LOOKS):
        now = EPOCH + 5.0 * look
        snapshot = Snapshot.of(now, samples, nodes)
        began = time.process_time()  # what else runs here does not count
        _, history = decide(policy, snapshot, history, now)
        took.append(time.process_time() - began)
    return 1000 * median(took)


def _sample(number: int) -> NodeSample:
    return NodeSample(
        uid=f"pod-{number}",
        name=f"pod-{number}",
        shape="a",
        machine=f"machine-{number}",
        ready=True,
        ready_seconds=3600.0,
        connections=7000 + number % 500,
        max_connections=10_000,
        cpu_percent=40.0,
        rejections={"cpu": 0, "connections": number % 3},
        sample_age_seconds=1.0,
        pod_age_seconds=3600.0,
    )


def _of_scenario(found: Comparison) -> Iterator[Target]:
    for judge in (*_JUDGES.get(found.scenario.name, ()), *(_EVERYWHERE if _is_named(found) else ())):
        one = judge(found)
        if one is not None:
            yield one


def _is_named(found: Comparison) -> bool:
    return found.scenario.name in _JUDGES


def _nobody_turned_away(found: Comparison) -> Target:
    rejected = found.operator.totals.rejected
    return _target(found, "clients turned away", "0", f"{rejected:,}", rejected == 0)


def _fewer_than_the_hpa(found: Comparison) -> Target | None:
    if found.hpa is None:
        return None
    ours, theirs = found.operator.totals.rejected, found.hpa.totals.rejected
    wanted = f"at most {OF_THE_HPA * 100:g} % of the HPA's {theirs:,}"
    return _target(found, "clients turned away", wanted, f"{ours:,}", ours <= OF_THE_HPA * theirs)


def _near_the_oracle(found: Comparison) -> Target | None:
    if not found.oracle_node_hours:
        return None
    ratio = found.operator.node_hours / found.oracle_node_hours
    wanted = f"at most {OF_THE_ORACLE:.2f} x the oracle's {found.oracle_node_hours:,.1f}"
    reached = f"{ratio:.2f} x ({found.operator.node_hours:,.1f})"
    return _target(found, "node-hours", wanted, reached, ratio <= OF_THE_ORACLE)


def _few_turns(found: Comparison) -> Target:
    turns = found.operator.turns_an_hour
    wanted = f"at most {TURNS_AN_HOUR}"
    return _target(found, "changes of direction in an hour", wanted, f"{turns}", turns <= TURNS_AN_HOUR)


def _enough_at_the_return(found: Comparison) -> Target | None:
    ends = [one.end for one in found.scenario.incidents if isinstance(one, Outage)]
    if not ends:
        return None
    ready, needed = found.operator.ready_at(ends[0]), found.oracle_at(ends[0])
    figure = "nodes ready when the clients return"
    return _target(found, figure, f"at least {needed:,}", f"{ready:,}", ready >= needed)


def _within_the_budget(found: Comparison) -> Target:
    most, budget = found.operator.most_returns, found.closes_per_second
    wanted = f"at most {OF_THE_BUDGET:g} x {budget:,.0f}"
    return _target(found, "closes a second", wanted, f"{most:,}", most <= OF_THE_BUDGET * budget)


def _target(found: Comparison, figure: str, wanted: str, reached: str, met: bool) -> Target:
    return Target(scenario=found.scenario.name, figure=figure, wanted=wanted, reached=reached, met=met)


_Judge = Callable[[Comparison], Target | None]
_EVERYWHERE: tuple[_Judge, ...] = (_within_the_budget,)
_JUDGES: dict[str, tuple[_Judge, ...]] = {
    "daily-wave": (_nobody_turned_away, _near_the_oracle),
    "flash-crowd": (_fewer_than_the_hpa,),
    "reconnect-storm": (_fewer_than_the_hpa,),
    "node-loss": (),
    "ingress-outage": (_enough_at_the_return,),
    "rollout": (_nobody_turned_away,),
    "drift": (_nobody_turned_away,),
    "noise": (_few_turns,),
    "missing-metrics": (),
    "message-rate": (),
}
