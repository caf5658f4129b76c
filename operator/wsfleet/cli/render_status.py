"""A running fleet for people: its state, what holds it, its conditions and its nodes. No input or output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.text import Text

from wsfleet.cli.render_parts import fitting, heading, pairs, table
from wsfleet.cli.words import DASH, age, count, megabytes, of, percent, yes
from wsfleet.plugin.nodes import Node
from wsfleet.plugin.view import ConditionView, DecisionView, FleetView

# What a condition says when it holds and when it does not, and whether holding is good.
_CONDITION_WORDS: dict[str, tuple[str, str, bool | None]] = {
    "Ready": ("ready", "not ready", True),
    "Progressing": ("moving", "at rest", None),
    "Degraded": ("degraded", "nothing wrong", False),
    "ScalingActive": ("follows its load", "does not follow its load", None),
    "ScalingLimited": ("wants another size", "has the size it wants", None),
    "FeedConnected": ("reads from NATS", "cut from NATS", True),
    "StreamDiffers": ("stream differs from the spec", "stream as in the spec", False),
    "Reconciling": ("reconciling", "reconciled", None),
    "Stalled": ("stalled", "not stalled", False),
}
# The same as Progressing, for tools that read kstatus.
_ONLY_WIDE = ("Reconciling",)
_SETTINGS_SHOWN = {
    "WS_MAX_CONNECTIONS": "connections",
    "WS_MAX_GOROUTINES": "goroutines",
    "WS_MAX_NATS_RATE": "NATS msg/s",
    "WS_CPU_REJECT_THRESHOLD": "% CPU rejects",
    "WS_CPU_PAUSE_THRESHOLD": "% CPU pauses the feed",
}
_PHASE_STYLES = {"Running": "green", "Degraded": "red", "Pending": "yellow", "Paused": "yellow"}

Parts = Iterable[RenderableType]


def status_parts(view: FleetView, width: int | None, *, wide: bool = False) -> Parts:
    """One fleet in full, for so many columns of the screen; None for as many as it takes."""
    yield _title(view)
    yield pairs(_facts(view, wide))
    if view.conditions:
        yield heading("Conditions")
        yield _conditions(view.conditions, wide)
    if wide and view.settings.values:
        yield heading("Settings", "of each node, in force as soon as it has read them")
        yield pairs(sorted(view.settings.values.items()))
        yield from (Text(f"- {note}") for note in view.settings.notes)
    if view.nodes is not None:
        yield heading("Nodes")
        yield (
            nodes_table(view.nodes, view.shape, width, wide=wide) if view.nodes else Text("none", style="dim")
        )
    yield from (Text(f"! {remark}", style="yellow") for remark in view.remarks)


def fleets_table(views: Sequence[FleetView], *, namespaces: bool) -> RenderableType:
    """Fleets, one a line."""
    columns = ("fleet", "phase", ">nodes", ">connections", ">full", ">CPU", "*holds", ">age")
    rows = [
        (
            f"{view.namespace}/{view.name}" if namespaces else view.name,
            phase_text(view),
            f"{count(view.ready)}/{count(view.desired)}",
            count(view.connections),
            percent(view.connections_percent),
            percent(view.cpu_percent),
            view.holds[0] if view.holds else "",
            age(view.age_seconds),
        )
        for view in views
    ]
    return table(columns, rows)


def nodes_table(
    nodes: Sequence[Node], shape: str | None, width: int | None, *, wide: bool = False
) -> RenderableType:
    """Nodes, one a line; whether they have the shape of the spec is said by new and old."""
    columns = ["pod", "shape", "machine", ">connections", ">CPU", "serving", "state", ">age"]
    if wide:
        columns += [">memory", "version", "settings"]
    rows = [_node_row(node, shape, wide) for node in nodes]
    return fitting(columns, rows, width, ("machine", "shape", "serving", "age"))


def _node_row(node: Node, shape: str | None, wide: bool) -> list[str | Text]:
    connections = DASH if node.connections is None else count(node.connections)
    if node.max_connections is not None:
        connections += f"/{count(node.max_connections)}"
    which = DASH if shape is None or node.shape is None else "new" if node.shape == shape else "old"
    shown_shape = (node.shape or DASH) if wide else which
    row: list[str | Text] = [
        node.pod,
        shown_shape,
        node.machine or DASH,
        connections,
        percent(node.cpu_percent),
        yes(node.serving),
        Text(node.state, style="" if node.state == "serving" else "yellow"),
        age(node.age_seconds),
    ]
    if wide:
        row += [megabytes(node.memory_bytes), node.version or DASH, (node.settings_hash or DASH)[:12]]
    return row


def phase_text(view: FleetView) -> Text:
    """The phase, coloured."""
    return Text(view.phase or "not seen", style=_PHASE_STYLES.get(view.phase or "", ""))


def _title(view: FleetView) -> Text:
    title = Text(view.name, style="bold").append(f"  namespace {view.namespace}  ", style="not bold dim")
    return title.append_text(phase_text(view))


def _facts(view: FleetView, wide: bool) -> Iterable[tuple[str, str]]:
    if not view.is_seen:
        yield "operator", "none has looked at this fleet yet: does one run, and does it watch this namespace?"
        return
    if not view.is_current:
        yield "operator", "it has not acted on the last change of the spec yet"
    surge = "" if view.present in (None, view.desired) else f" ({count(view.present)} there)"
    yield "nodes", f"{of(view.ready, view.desired)} ready{surge}"
    full = "" if view.connections_percent is None else f" ({percent(view.connections_percent)})"
    yield "connections", of(view.connections, view.capacity) + full
    yield "CPU", f"{percent(view.cpu_percent)} (mean of the ready nodes)"
    yield "settings", _settings(view)
    if view.settings.refused:
        yield "refused", view.settings.refused
    yield "last decision", _decision(view.last_decision)
    for number, hold in enumerate(view.holds):
        yield ("held by" if number == 0 else ""), hold
    if view.rollout.rolling or view.rollout.message:
        yield "rollout", _rollout(view)
    if view.rebalance:
        yield "rebalance", view.rebalance
    if view.recommendation:
        yield "advice", view.recommendation
    if wide:
        yield "image", view.image or DASH
        yield "shape", view.shape or DASH
        yield "age", age(view.age_seconds)


def _settings(view: FleetView) -> str:
    values = view.settings.values
    shown = [f"{_grouped(values[name])} {what}" for name, what in _SETTINGS_SHOWN.items() if name in values]
    in_force = f"in force on {of(view.settings.in_force, view.present)}"
    return f"{in_force}: {', '.join(shown)}" if shown else in_force


def _grouped(value: str) -> str:
    """Thousands separated where it is a whole number."""
    return f"{int(value):,}" if value.isascii() and value.isdigit() else value


def _decision(last: DecisionView | None) -> str:
    if last is None:
        return "none yet"
    move = f"{count(last.before)} to {count(last.after)} nodes ({last.trigger}), {age(last.age_seconds)} ago"
    return f"{move}: {'; '.join(last.reasons)}" if last.reasons else move


def _rollout(view: FleetView) -> str:
    rollout = view.rollout
    if not rollout.rolling or view.nodes is None:
        return rollout.message or "under way"
    text = f"{of(rollout.new_ready, view.desired)} new nodes ready, {count(rollout.old_nodes)} old left"
    return f"{text}; {rollout.message}" if rollout.message else text


def _conditions(conditions: Sequence[ConditionView], wide: bool) -> RenderableType:
    rows = [_condition(one, wide) for one in conditions if wide or one.type not in _ONLY_WIDE]
    columns = ["", ">for", "*why"]
    return table(["condition", "status", "reason", *columns[1:]] if wide else columns, rows)


def _condition(one: ConditionView, wide: bool) -> list[str | Text]:
    holds, does_not, good = _CONDITION_WORDS.get(one.type, (one.type, f"not {one.type}", None))
    words = {"True": holds, "False": does_not}.get(one.status, f"{one.type} unknown")
    is_good = None if good is None or one.status == "Unknown" else (one.status == "True") == good
    style = {True: "green", False: "red", None: ""}[is_good]
    rest: list[str | Text] = [age(one.since_seconds), one.message or one.reason]
    if wide:
        return [one.type, Text(one.status, style=style), one.reason, *rest]
    return [Text(words, style=style), *rest]
