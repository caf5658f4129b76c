"""A comparison for people and programs: figures as JSON values, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsfleet.simulate.run import Comparison, Run
from wsfleet.simulate.svg import Area, Curve, Panel, draw
from wsfleet.simulate.targets import Target

_OURS, _THEIRS, _ORACLE = "#1f6feb", "#d1242f", "#2f9e5f"


def figures(run: Run, oracle_node_hours: float) -> dict[str, Any]:
    """What one way of running the fleet came to; times in seconds, counts of clients."""
    totals = run.totals
    return {
        "rejections": totals.rejected,
        "rejectionsFull": totals.full,
        "rejectionsCpu": totals.cpu,
        "unreachable": totals.unreachable,
        "closes": totals.closed,
        "broken": totals.broken,
        "closesPerSecondHighest": run.most_returns,
        "waitedSeconds": round(totals.waited_seconds),
        "feedPausedNodeSeconds": round(totals.paused_seconds),
        "messagesMissed": totals.missed,
        "nodesHighest": run.most_nodes,
        "nodeHours": round(run.node_hours, 2),
        "nodeHoursToOracle": round(run.node_hours / oracle_node_hours, 3) if oracle_node_hours else None,
        "usd": round(run.usd, 2),
        "spreadPercent": round(run.spread_percent, 1),
        "turns": len(run.turns),
        "turnsAnHourHighest": run.turns_an_hour,
    }


def reached(found: Sequence[Target]) -> list[dict[str, Any]]:
    """The figures to reach as JSON values."""
    return [
        {"scenario": one.scenario, "figure": one.figure, "wanted": one.wanted, "reached": one.reached}
        | {"met": one.met}
        for one in found
    ]


def document(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    scenario = comparison.scenario
    runs = {"wsfleet": comparison.operator, "hpa": comparison.hpa}
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "seed": comparison.seed,
        "seconds": scenario.trace.seconds,
        **{name: figures(run, comparison.oracle_node_hours) for name, run in runs.items() if run is not None},
        "oracle": {
            "nodesHighest": max((nodes for _, nodes in comparison.oracle), default=0),
            "nodeHours": round(comparison.oracle_node_hours, 2),
            "usd": round(comparison.oracle_usd, 2),
        },
    }


def picture(comparison: Comparison) -> str:
    """Nodes, connections a node, rejections and closes over time, as an SVG."""
    runs = [(comparison.operator, _OURS), *([(comparison.hpa, _THEIRS)] if comparison.hpa else [])]
    seconds = [[one.seconds for one in run.records] for run, _ in runs]
    oracle = _changes(comparison.oracle)
    panels = [
        Panel(
            "Clients",
            [
                Curve(
                    "wanted",
                    seconds[0],
                    [one.wanted for one in comparison.operator.records],
                    _ORACLE,
                    dashed=True,
                ),
                *(
                    Curve(run.name, at, [one.connected for one in run.records], color)
                    for at, (run, color) in zip(seconds, runs, strict=True)
                ),
            ],
        ),
        Panel(
            "Nodes",
            [
                Curve("oracle", *oracle, _ORACLE, dashed=True, stepped=True),
                *(
                    Curve(run.name, at, [one.nodes for one in run.records], color, stepped=True)
                    for at, (run, color) in zip(seconds, runs, strict=True)
                ),
            ],
        ),
        Panel(
            "Connections a node (mean, least to most)",
            [
                Curve(run.name, at, [one.mean for one in run.records], color)
                for at, (run, color) in zip(seconds, runs, strict=True)
            ],
            [
                Area(at, [one.least for one in run.records], [one.most for one in run.records], color)
                for at, (run, color) in zip(seconds, runs, strict=True)
            ],
        ),
        _sums("Clients turned away, sum", "rejected", runs, seconds),
        _sums("Connections closed by us, sum", "closed", runs, seconds),
    ]
    scenario = comparison.scenario
    subtitle = (
        f"node-hours: wsfleet {comparison.operator.node_hours:,.1f}, "
        + (f"HPA {comparison.hpa.node_hours:,.1f}, " if comparison.hpa else "")
        + f"oracle {comparison.oracle_node_hours:,.1f}; seed {comparison.seed}"
    )
    return draw(f"{scenario.name}: {scenario.title}", subtitle, scenario.trace.seconds, panels)


def _sums(title: str, name: str, runs: list[tuple[Run, str]], seconds: list[list[float]]) -> Panel:
    curves = []
    for at, (run, color) in zip(seconds, runs, strict=True):
        total, values = 0, []
        for one in run.records:
            total += getattr(one, name)
            values.append(total)
        curves.append(Curve(run.name, at, values, color))
    return Panel(title, curves)


def _changes(steps: list[tuple[float, int]]) -> tuple[list[float], list[float]]:
    """Only the steps at which something changes."""
    kept = [one for before, one in zip([(0.0, -1), *steps], steps, strict=False) if before[1] != one[1]]
    return [at for at, _ in kept], [float(nodes) for _, nodes in kept]
