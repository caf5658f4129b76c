"""The nodes of one look, measured against their mean: who has too many, who has room, and for how many."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from wsfleet.scaling.rebalance_model import RebalancePolicy
from wsfleet.scaling.samples import NodeSample
from wsfleet.scaling.steering import FULL_SHARE
from wsfleet.scaling.words import counted

_HARMLESS_REJECTIONS = frozenset({"draining", "address", "origin"})
_ROUNDING = 1e-6
_NOISE_DEVIATIONS = 3.0
"""How far above its mean share chance may send clients to one node; 3 standard deviations."""


def most_in_order(mean: float, tolerance: float) -> int:
    """The most connections of a node that are in order, where a node has so many on average.

    `tolerance` is a share of the mean; of few connections it is always one more than the mean.
    """
    # 100 x 1.15 is 114.99999999999999 in floats.
    return max(math.ceil(mean), math.floor(mean * (1 + tolerance) + _ROUNDING))


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceView:
    """The nodes of one look, measured against their mean."""

    policy: RebalancePolicy
    present: tuple[NodeSample, ...]
    known: tuple[NodeSample, ...]
    """Nodes that serve and gave fresh figures."""
    mean: float
    limit: int
    """The most connections of a node that are in order."""
    fill: int
    """Up to here a node is filled: half the tolerance stays free for what arrives besides."""
    obstacle: str

    @staticmethod
    def of(policy: RebalancePolicy, nodes: Iterable[NodeSample]) -> BalanceView:
        """The view of all nodes, terminating ones included."""
        all_nodes = tuple(nodes)
        present = tuple(node for node in all_nodes if not node.terminating)
        leaving = [
            node
            for node in all_nodes
            if node.terminating and (node.terminating_seconds or 0.0) < policy.terminating_seconds
        ]
        emptied = [node for node in present if node.marked or node.draining]
        ready = [node for node in present if node.ready and not (node.marked or node.draining)]
        known = tuple(
            sorted(
                (node for node in ready if node.has_figures(policy.fresh_seconds)),
                key=lambda node: (-(node.connections or 0), node.uid),
            )
        )
        mean = sum(node.connections or 0 for node in known) / len(known) if known else 0.0
        return BalanceView(
            policy=policy,
            present=present,
            known=known,
            mean=mean,
            limit=most_in_order(mean, policy.tolerance),
            fill=most_in_order(mean, policy.tolerance / 2),
            obstacle=_obstacle(policy, present, [*emptied, *leaving], ready, known),
        )

    @property
    def donors(self) -> tuple[NodeSample, ...]:
        return tuple(node for node in self.known if self.over(node) > 0)

    def over(self, node: NodeSample) -> int:
        """Connections above the limit."""
        return max(0, (node.connections or 0) - self.limit)

    @property
    def excess(self) -> int:
        return sum(self.over(node) for node in self.known)

    @property
    def uneven(self) -> bool:
        return any((node.connections or 0) > self.fill for node in self.known)

    def worth_it(self, least: int) -> bool:
        return any(self.over(node) and (node.connections or 0) - self.mean >= least for node in self.known)

    @property
    def rejections(self) -> dict[str, int]:
        """By pod UID: clients turned away since the node started, for want of room or CPU."""
        return {node.uid: _rejections(node) for node in self.present if node.rejections}

    @property
    def serving(self) -> frozenset[str]:
        return frozenset(node.uid for node in self.known if node.serving)

    @property
    def filling(self) -> frozenset[str]:
        """The nodes that take new clients and still have room; all that take them, where none has room."""
        return frozenset(node.uid for node in self.takers(self.serving)) or self.serving

    @property
    def emptier(self) -> frozenset[str]:
        """Nodes with room; the others take no new clients. All, where none has room."""
        some = frozenset(node.uid for node in self.known if self.room(node) > 0)
        return some or frozenset(node.uid for node in self.known)

    def room(self, node: NodeSample) -> int:
        """Connections that may still be sent to a node."""
        full = int((node.max_connections or self.policy.max_connections) * FULL_SHARE)
        return min(self.fill, full) - (node.connections or 0)

    def spare(self, node: NodeSample) -> int:
        """The mean share that fits in a node's room even where chance sends it more than its share."""
        room = self.room(node)
        full = int((node.max_connections or self.policy.max_connections) * FULL_SHARE)
        most = min(self.limit, full) - (node.connections or 0)
        if room <= 0 or most <= 0:
            return 0
        half = _NOISE_DEVIATIONS / 2
        share = (math.sqrt(most + half * half) - half) ** 2  # share + deviations * sqrt(share) = most
        return max(1, min(room, int(share)))

    def takers(self, uids: frozenset[str]) -> list[NodeSample]:
        """Those of the nodes that have room."""
        return [node for node in self.known if node.uid in uids and self.room(node) > 0]

    def held_by(self, takers: list[NodeSample]) -> int:
        """Clients that the takers hold together, spread at random: no more than their number of the least."""
        least = min((self.spare(node) for node in takers), default=0)
        return least * len(takers) if least > 1 else least

    def choose_receivers(self) -> tuple[frozenset[str], int]:
        """The nodes that together take the most clients sent to them at random, and how many."""
        emptiest = [node for node in reversed(self.known) if self.room(node) > 0]
        sizes = [(self.held_by_least(emptiest, number), number) for number in range(1, len(emptiest) + 1)]
        if not sizes:
            return frozenset(), 0
        need = self.excess
        enough = [number for most, number in sizes if most >= need]
        # Where few would do, as many as do it: reconnects are spread wider.
        number = max(enough) if enough else max(sizes)[1]
        return frozenset(node.uid for node in emptiest[:number]), max(sizes)[0]

    def held_by_least(self, emptiest: list[NodeSample], number: int) -> int:
        """As `held_by`, of the first so many of a list in which room falls."""
        least = self.spare(emptiest[number - 1])
        return least * number if least > 1 else least


def _obstacle(
    policy: RebalancePolicy,
    present: tuple[NodeSample, ...],
    emptied: list[NodeSample],
    ready: list[NodeSample],
    known: tuple[NodeSample, ...],
) -> str:
    """What in the nodes themselves forbids to shed now; empty if nothing does."""
    if emptied:
        return f"{emptied[0].name} is being emptied"
    coming = [node for node in present if not node.ready and _may_come(node, policy.start_seconds)]
    if coming:
        return f"{coming[0].name} is not ready yet"
    missing = len(ready) - len(known)
    if missing > int(len(ready) * policy.missing_share):
        return f"{counted(missing, 'node')} without figures"
    return ""


def _rejections(node: NodeSample) -> int:
    return sum(count for reason, count in node.rejections.items() if reason not in _HARMLESS_REJECTIONS)


def _may_come(node: NodeSample, start_seconds: float) -> bool:
    """Whether a node that is not ready may be so soon."""
    waited = node.pod_age_seconds if node.unready_seconds is None else node.unready_seconds
    return not node.unschedulable and waited <= start_seconds
