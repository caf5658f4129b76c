"""Which nodes new clients are sent to: the serving label that the Service selects.

Never by readiness, since the ReplicaSet controller deletes unready pods first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wsfleet.scaling.samples import NodeSample

FULL_SHARE = 0.90
ROOM_AGAIN_SHARE = 0.85
FLOOR_SHARE = 0.01
"""Nodes that differ by less than this share of WS_MAX_CONNECTIONS are alike; tiny fleets are not steered."""


@dataclass(frozen=True, slots=True)
class LabelChange:
    """The serving label of one pod should become this."""

    uid: str
    pod: str
    serving: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Limits:
    """Above `high` a node loses the label, up to `low` it gets it back; between them it keeps what it has."""

    high: float
    low: float
    max_connections: int

    def wants_off(self, node: NodeSample) -> bool:
        """Whether a node should take no new clients; one without figures keeps what it has."""
        if node.connections is None:
            return not node.serving
        limit, share = (self.high, FULL_SHARE) if node.serving else (self.low, ROOM_AGAIN_SHARE)
        full = node.max_connections or self.max_connections
        return node.connections > limit or node.connections > full * share

    def has_room(self, node: NodeSample) -> bool:
        """Whether new clients may go to a node; nothing is known of one without figures."""
        full = (node.max_connections or self.max_connections) * FULL_SHARE
        return node.connections is not None and node.connections <= min(self.high, full)


def steer(
    nodes: Iterable[NodeSample],
    max_connections: int,
    tolerance: float = 0.10,
    takeover: bool = False,
    receivers: frozenset[str] | None = None,
) -> tuple[LabelChange, ...]:
    """The serving labels that should change; none where all stand as they should.

    Off: victims, nodes that drain or shed; and while others have room, nodes above the mean by `tolerance` (a
    share) or above 90 % full, the fullest first and at most half of them. Given back at half the tolerance
    and 85 %. A fleet of one gets its label back. `takeover` True (a new operator): all are given back but
    those that are being emptied. `receivers`, where given, take all new clients: a rebalance has chosen them.
    """
    present = [node for node in nodes if not node.terminating]
    emptied = {node.uid for node in present if node.marked or node.draining or node.shedding}
    choosable = [node for node in present if node.ready and node.uid not in emptied]
    if takeover:
        off = set()
    elif receivers is not None and any(node.uid in receivers for node in choosable):
        off = {node.uid for node in choosable if node.uid not in receivers and _may_go_off(node)}
    else:
        off = _too_full(choosable, max_connections, tolerance)
    changes = []
    for node in present:
        serving = node.uid not in emptied and node.uid not in off
        if serving != node.serving:
            changes.append(
                LabelChange(node.uid, node.name, serving, _reason(node, node.uid in emptied, serving))
            )
    return tuple(changes)


def _too_full(choosable: list[NodeSample], max_connections: int, tolerance: float) -> set[str]:
    """Nodes that should take no new clients: the fullest, at most half, while one of the rest has room."""
    known = [node.connections for node in choosable if node.connections is not None]
    if len(choosable) < 2 or not known:
        return set()
    mean = sum(known) / len(known)
    floor = max_connections * FLOOR_SHARE
    limits = _Limits(
        high=mean + max(mean * tolerance, floor),
        low=mean + max(mean * tolerance / 2, floor / 2),
        max_connections=max_connections,
    )
    if not any(limits.has_room(node) for node in choosable):
        return set()
    wanting = [node for node in choosable if limits.wants_off(node)]
    # Those without the label first among equals: a label that comes and goes moves nobody and costs writes.
    wanting.sort(key=lambda node: (-(node.connections or 0), node.serving, node.uid))
    return {node.uid for node in wanting[: len(choosable) // 2]}


def _may_go_off(node: NodeSample) -> bool:
    """A node without figures keeps what it has."""
    return node.connections is not None or not node.serving


def _reason(node: NodeSample, emptied: bool, serving: bool) -> str:
    if emptied:
        return f"{node.name} is being emptied"
    connections = "unknown" if node.connections is None else f"{node.connections:,}"
    if serving:
        return f"{node.name} takes new clients again ({connections} connections)"
    return f"{node.name} is fuller than the others ({connections} connections); new clients go to those"
