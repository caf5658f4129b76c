"""The order in which nodes and fleets are shown. Pure; what is not known comes last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wsfleet.plugin.nodes import Node
from wsfleet.plugin.view import FleetView


def sorted_nodes(view: FleetView, order: str) -> FleetView:
    """The fleet with its nodes sorted by `connections`, `cpu`, `age` (youngest first) or `name`."""
    if view.nodes is None:
        return view

    def key(node: Node) -> tuple[float, str]:
        return _rank(order, node.connections, node.cpu_percent, node.age_seconds), node.pod

    return replace(view, nodes=tuple(sorted(view.nodes, key=key)))


def sorted_fleets(views: Sequence[FleetView], order: str) -> list[FleetView]:
    """Fleets in the same orders, by namespace and name among equals."""

    def key(view: FleetView) -> tuple[float, str, str]:
        rank = _rank(order, view.connections, view.cpu_percent, view.age_seconds)
        return rank, view.namespace, view.name

    return sorted(views, key=key)


def _rank(order: str, connections: float | None, cpu: float | None, age: float | None) -> float:
    """Low comes first."""
    figure = {"connections": connections, "cpu": cpu, "age": None if age is None else -age}.get(order, 0.0)
    return float("inf") if figure is None else -figure
