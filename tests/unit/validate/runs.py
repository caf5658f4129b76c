"""Runs of a validation test, made by hand: quiet ones, in which single things can be made to go wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from wsnode.config import Settings
from wsnode.config.expectations import MIB, TestName
from wsnode.load_figures import Snapshot
from wsnode.validate_plan import Plan, Wishes, make_plan
from wsnode.validate_samples import NodeFigures, Phase, Run, Sample

CHANNELS = ("BTC.trade", "ETH.trade")


def plan_of(name: TestName, settings: Settings | None = None, **wishes: Any) -> Plan:
    """The plan of a test on the document's machine, unless told otherwise."""
    return make_plan(name, Wishes(channels=CHANNELS, **wishes), settings or Settings())


def node_at(connections: int, second: int = 0, **changes: Any) -> NodeFigures:
    """A node with so many clients that get two messages a second each; CPU 5 %, 50 MB."""
    values: dict[str, Any] = {
        "name": "node-a",
        "uptime_seconds": 100.0 + second,
        "ready": True,
        "connections": connections,
        "cpu_percent": 5.0,
        "memory_bytes": 50 * MIB,
        "goroutines": 2 * connections + 256 + 6,
        "messages_out": 7_000 + 2 * connections * second,
        "rejections": {"connections": 0, "cpu": 0},
    }
    return NodeFigures(**values | changes)


def run_of(
    plan: Plan,
    *,
    admin: bool = True,
    seconds: int = 10,
    change: Callable[[int, NodeFigures], NodeFigures | None] = lambda second, node: node,
    before: dict[str, Any] | None = None,
    published: bool = True,
    subscribed: Callable[[int], int] | None = None,
    **clients: Any,
) -> Run:
    """A run whose clients are all in after 2 s and stay; `change` alters the node at a second."""
    full = plan.test.final_connections
    count = subscribed or (lambda second: full * min(second, 2) // 2)
    samples = []
    for second in range(seconds + 1):
        phase: Phase = "ramp" if second < 2 else "hold"
        samples.append(
            Sample(
                at_seconds=float(second),
                phase=phase,
                open=count(second),
                subscribed=count(second),
                messages=4 * second,
                deliveries=2 * full * second,
                published=4 * second if published else None,
                node=change(second, node_at(count(second), second)) if admin else None,
            )
        )
    values: dict[str, Any] = {
        "wanted": plan.test.connections,
        "open": full,
        "subscribed": full,
        "opened_total": full,
        "messages": 4 * seconds,
        "deliveries": 2 * full * seconds,
        "checked": True,
        "nodes": {"node-a": {"open": full, "first_seen": 0.0}},
    }
    first = dataclasses.replace(node_at(0), **(before or {})) if admin else None
    return Run(first, tuple(samples), Snapshot(**values | clients))
