"""One refresh of `top` for people. No input or output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.text import Text

from wsfleet.cli.render_status import fleets_table, nodes_table, phase_text
from wsfleet.cli.words import count, percent
from wsfleet.plugin.view import FleetView


def nodes_parts(view: FleetView, clock: str, width: int | None) -> Iterable[RenderableType]:
    """A fleet's nodes under a line about the fleet."""
    line = Text(f"{clock}  ", style="dim").append(view.name, style="bold not dim").append("  ")
    line.append_text(phase_text(view)).stylize("not dim", len(clock))
    nodes = f"{count(view.ready)}/{count(view.desired)} nodes"
    connections = f"{count(view.now_connections)}/{count(view.capacity)} connections"
    facts = f"  {nodes}  {connections}  CPU "
    yield line.append(facts + percent(view.now_cpu_percent), style="not dim")
    if view.nodes:
        yield nodes_table(view.nodes, view.shape, width)
    yield from (Text(f"held by: {hold}", style="yellow") for hold in view.holds)
    yield from (Text(f"! {remark}", style="yellow") for remark in view.remarks)


def fleets_parts(views: Sequence[FleetView], clock: str, *, namespaces: bool) -> Iterable[RenderableType]:
    """All fleets under a line with their sums."""
    sums = sum(view.connections or 0 for view in views), sum(view.capacity or 0 for view in views)
    fleets = f"{len(views)} fleet" + ("" if len(views) == 1 else "s")
    yield Text(f"{clock}  ", style="dim").append(
        f"{fleets}  {count(sums[0])} of {count(sums[1])} connections", style="not dim"
    )
    if views:
        yield fleets_table(views, namespaces=namespaces)
