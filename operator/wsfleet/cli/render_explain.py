"""A fleet's decisions for people. No input or output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from wsfleet.cli.words import age
from wsfleet.plugin.sentences import decision_sentences, figures_line, size_sentences
from wsfleet.plugin.view import DecisionView, FleetView


def explain_parts(view: FleetView, decisions: Sequence[DecisionView]) -> Iterable[RenderableType]:
    """Why the fleet has its size now, and the decisions, newest first."""
    yield Text(view.name, style="bold").append(f"  namespace {view.namespace}", style="not bold dim")
    yield from (Text(line) for line in size_sentences(view))
    if not decisions:
        yield Text("\nNo decision has changed its size yet.")
        return
    for one in decisions:
        yield Text(f"\n{age(one.age_seconds)} ago", style="bold").append(
            f"  {one.time or ''}", style="not bold dim"
        )
        yield from (Padding(Text(line), (0, 0, 0, 2)) for line in decision_sentences(one))
        if one.figures:
            line = Text(f"figures: {figures_line(one.figures.items())}", style="dim")
            yield Padding(line, (0, 0, 0, 2))
