"""A fleet under rebalance: nodes that shed at a rate, clients that come back at random to labelled nodes."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from wsfleet.scaling import DrainState, NodeSample, RebalanceMemory, RebalancePolicy, Shed, rebalance, steer

LOOK_SECONDS = 5
LABEL_LAG_SECONDS = 2


@dataclass
class Node:
    uid: str
    connections: int
    serving: bool = True
    routed: bool = True
    label_at: int = 0
    target: int = 0
    left: int = 0
    rate: float = 0.0
    owed: float = 0.0
    shed_id: str = ""
    rejections: int = 0
    full: int = 100_000

    def sample(self, **more: object) -> NodeSample:
        figures: dict[str, object] = {
            "ready": True,
            "ready_seconds": 600.0,
            "drain": DrainState.NONE,
            "connections": self.connections,
            "max_connections": self.full,
            "cpu_percent": 10.0,
            "sample_age_seconds": 0.0,
            "serving": self.serving,
            "rejections": {"connections": self.rejections},
            "pod_age_seconds": 600.0,
        }
        return NodeSample(uid=self.uid, name=self.uid, shape="a", **(figures | more))  # type: ignore[arg-type]


@dataclass
class Fleet:
    """Time goes by seconds; the operator looks each 5."""

    nodes: list[Node]
    chance: random.Random
    budget: float = 100.0
    policy: RebalancePolicy = field(default_factory=RebalancePolicy)
    memory: RebalanceMemory = field(default_factory=RebalanceMemory)
    now: int = 1_000_000
    closes: int = 0
    sent: list[Shed] = field(default_factory=list)
    away: list[int] = field(default_factory=list)
    labels: int = 0
    most_closes_a_second: int = 0
    busy: str = ""
    soon: str = ""

    @staticmethod
    def of(connections: list[int], seed: int, budget: float = 100.0, **policy: object) -> Fleet:
        nodes = [Node(f"n{index:03d}", one) for index, one in enumerate(connections)]
        return Fleet(nodes, random.Random(seed), budget, RebalancePolicy(**policy))  # type: ignore[arg-type]

    @property
    def spread(self) -> float:
        counts = [node.connections for node in self.nodes]
        return max(counts) * len(counts) / max(1, sum(counts))

    def look(self, **more: object) -> None:
        samples = [node.sample(**more) for node in self.nodes]
        asked = (self.policy, samples, self.memory, self.now, self.budget, self.busy, self.soon)
        found, self.memory = rebalance(*asked)
        by_uid = {node.uid: node for node in self.nodes}
        for change in steer(samples, 100_000, receivers=found.receivers):
            node = by_uid[change.uid]
            node.serving, node.label_at = change.serving, self.now
            self.labels += 1
        for shed in found.sheds:
            self.sent.append(shed)
            node = by_uid[shed.uid]
            if node.shed_id != shed.id:
                node.shed_id, node.target, node.rate, node.owed = shed.id, shed.target, shed.rate, 0.0
                node.left = max(0, node.connections - shed.target)

    def second(self, arrivals: int = 0, share_leaving: float = 0.0) -> None:
        self.now += 1
        before = self.closes
        for node in self.nodes:
            if self.now - node.label_at >= LABEL_LAG_SECONDS:
                node.routed = node.serving
            node.owed = min(node.owed + node.rate, float(node.left))
            many = min(int(node.owed), max(0, node.connections - node.target), node.left)
            node.owed -= many
            node.left = 0 if node.connections - many <= node.target else node.left - many
            node.connections -= many
            self.closes += many
            self.away += [self.now + self.chance.randint(1, 2) for _ in range(many)]
            if share_leaving:
                mean = node.connections * share_leaving
                leaving = round(self.chance.gauss(mean, math.sqrt(mean)))
                node.connections -= min(node.connections, max(0, leaving))
        self.most_closes_a_second = max(self.most_closes_a_second, self.closes - before)
        back = sum(1 for when in self.away if when <= self.now)
        self.away = [when for when in self.away if when > self.now]
        routed = [node for node in self.nodes if node.routed] or self.nodes
        for node in self.chance.choices(routed, k=back + arrivals):
            node.connections += 1

    def run(self, seconds: int, arrivals: int = 0, share_leaving: float = 0.0) -> None:
        for passed in range(seconds):
            if passed % LOOK_SECONDS == 0:
                self.look()
            self.second(arrivals, share_leaving)
