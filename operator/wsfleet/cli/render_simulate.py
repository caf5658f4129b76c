"""Comparisons of `wsfleet simulate` as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from wsfleet.simulate.run import Comparison, Run
    from wsfleet.simulate.targets import Target

_WIDE = 132


def render_comparisons(comparisons: Sequence[Comparison], seed: int) -> None:
    """One table: a row for each scenario and way of running the fleet, the oracle's row below them."""
    console = _console()
    table = Table(title=f"Simulated fleets, seed {seed}", title_justify="left")
    table.add_column("scenario", no_wrap=True)
    table.add_column("run by")
    for name in (
        "turned away",
        "closed",
        "closes/s",
        "most nodes",
        "node-hours",
        "to oracle",
        "USD",
        "spread",
        "turns/h",
    ):
        table.add_column(name, justify="right")
    for one in comparisons:
        hours = one.oracle_node_hours
        table.add_row(one.scenario.name, "wsfleet", *_figures(one.operator, hours))
        if one.hpa is not None:
            table.add_row("", "HPA", *_figures(one.hpa, hours))
        most = max((nodes for _, nodes in one.oracle), default=0)
        table.add_row(
            "", "oracle", "", "", "", f"{most:,}", f"{hours:,.1f}", "1.00", f"{one.oracle_usd:,.2f}", "", ""
        )
        table.add_section()
    console.print(table)
    console.print(
        "turned away: tries that a node refused; closes/s: highest of any minute; spread: the fullest node "
        "above the mean, at the worst tenth of the time; turns/h: changes of direction in the worst hour",
        style="dim",
    )


def render_targets(found: Sequence[Target]) -> None:
    """The figures to reach as a table; what is missed is named below it."""
    console = _console()
    table = Table(title="Figures to reach", title_justify="left")
    for name in ("scenario", "figure", "wanted", "reached", ""):
        table.add_column(name)
    for one in found:
        table.add_row(one.scenario, one.figure, one.wanted, one.reached, "met" if one.met else "MISSED")
    console.print(table)
    missed = [one for one in found if not one.met]
    if not missed:
        console.print(f"All {len(found)} are met.")
    for one in missed:
        console.print(f"missed: {one.scenario}: {one.figure} {one.reached}, wanted {one.wanted}")


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    return console


def _figures(run: Run, oracle_hours: float) -> tuple[str, ...]:
    ratio = f"{run.node_hours / oracle_hours:.2f}" if oracle_hours else "-"
    return (
        f"{run.totals.rejected:,}",
        f"{run.totals.closed:,}",
        f"{run.most_returns:,}",
        f"{run.most_nodes:,}",
        f"{run.node_hours:,.1f}",
        ratio,
        f"{run.usd:,.2f}",
        f"{run.spread_percent:.0f} %",
        f"{run.turns_an_hour}",
    )
