"""What `make up` shows of a fleet: a picture on a terminal, a line a change elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

FLEET_LABEL = "wsfleet.io/fleet"
SERVING_LABEL = "wsfleet.io/serving"
BAR_WIDTH = 32


@dataclass(frozen=True)
class NodeRow:
    """One pod of the fleet."""

    name: str
    state: str
    serving: bool


@dataclass(frozen=True)
class View:
    """The fleet at one moment, from its resource, its pods and what the load client printed last."""

    phase: str
    ready: int
    desired: int
    connections: int
    capacity: int
    cpu_percent: float | None
    trigger_at: int
    decision: str
    nodes: tuple[NodeRow, ...]
    clients: str

    @property
    def key(self) -> tuple[object, ...]:
        """What makes a new line worth printing where nothing can be redrawn."""
        states = tuple((row.name, row.state, row.serving) for row in self.nodes)
        return self.phase, self.ready, self.desired, self.decision, states, self.connections // 1000


def pod_state(pod: Mapping[str, Any]) -> str:
    """A pod's state in one word, as people ask for it."""
    if pod["metadata"].get("deletionTimestamp"):
        return "leaving"
    conditions = pod.get("status", {}).get("conditions", [])
    if any(item["type"] == "Ready" and item["status"] == "True" for item in conditions):
        return "ready"
    return "starting" if pod.get("status", {}).get("phase") in (None, "Pending") else "not ready"


def view_of(fleet: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], clients: str) -> View:
    """The view of a WsFleet object, its pods and the load client's last line; missing figures are zero."""
    status = fleet.get("status", {})
    limit = int(status.get("nodeSettings", {}).get("values", {}).get("WS_MAX_CONNECTIONS", 0))
    percent = fleet["spec"].get("autoscaling", {}).get("connections", {}).get("targetPercent", 80)
    rows = (
        NodeRow(
            pod["metadata"]["name"],
            pod_state(pod),
            pod["metadata"].get("labels", {}).get(SERVING_LABEL) == "true",
        )
        for pod in pods
    )
    return View(
        phase=status.get("phase", "new"),
        ready=status.get("readyReplicas", 0),
        desired=status.get("desiredReplicas", 0),
        connections=status.get("connections", 0),
        capacity=status.get("capacity", 0),
        cpu_percent=status.get("cpuPercent"),
        trigger_at=limit * percent // 100,
        decision=status.get("lastDecision", "none yet"),
        nodes=tuple(sorted(rows, key=lambda row: row.name)),
        clients=clients.strip(),
    )


def line(view: View) -> str:
    """The view in one line, for logs and pipes."""
    cpu = "-" if view.cpu_percent is None else f"{view.cpu_percent:.0f} %"
    nodes = ", ".join(f"{row.name} {row.state}" for row in view.nodes) or "no node yet"
    return (
        f"{view.phase}: {view.ready}/{view.desired} nodes ready, {view.connections:,} connections of "
        f"{view.capacity:,}, CPU {cpu} | {nodes} | clients: {view.clients or 'not yet'} | {view.decision}"
    )


def bar(value: int, whole: int, mark: int) -> str:
    """A bar of ``value`` in ``whole``, with a tick at ``mark`` (where the fleet grows)."""
    if whole <= 0:
        return "·" * BAR_WIDTH
    filled = min(BAR_WIDTH, round(BAR_WIDTH * value / whole))
    cells = ["█"] * filled + ["·"] * (BAR_WIDTH - filled)
    tick = BAR_WIDTH * mark // whole
    if 0 < tick < BAR_WIDTH and tick >= filled:
        cells[tick] = "│"
    return "".join(cells)


def picture(name: str, view: View) -> RenderableType:
    """The view as a panel that a terminal redraws."""
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    growth = view.trigger_at * max(1, view.ready)
    cpu = "-" if view.cpu_percent is None else f"{view.cpu_percent:.0f} %"
    table.add_row("phase", f"[cyan]{view.phase}[/]")
    table.add_row("nodes", f"{view.ready} ready of {view.desired} wished for")
    table.add_row(
        "connections",
        f"{bar(view.connections, view.capacity, growth)} {view.connections:,} of {view.capacity:,}"
        + (f", grows above {growth:,}" if growth else ""),
    )
    table.add_row("CPU", cpu)
    colours = {"ready": "green", "starting": "yellow", "not ready": "yellow", "leaving": "magenta"}
    for index, row in enumerate(view.nodes):
        steered = "" if row.serving else "  (gets no new clients)"
        table.add_row(
            "pods" if not index else "", f"{row.name}  [{colours[row.state]}]{row.state}[/]{steered}"
        )
    table.add_row("clients", view.clients or "not yet")
    table.add_row("last decision", view.decision)
    return Panel(table, title=f"WsFleet {name}", border_style="blue", expand=False)
