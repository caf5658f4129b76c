"""Nodes that cost what a test says, seen through their counters."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from wsfleet.costs import Interval, NodeCount


@dataclass
class TrueCosts:
    """What a node really spends, in microseconds."""

    idle_us: float = 3000.0
    message_us: float = 12.0
    read_us: float = 40.0

    def cpu_us(self, deliveries: float, reads: float) -> float:
        return self.idle_us + self.message_us * deliveries + self.read_us * reads


def intervals(
    costs: TrueCosts,
    count: int,
    seed: int,
    *,
    noise: float = 0.03,
    outliers: float = 0.0,
    reads: tuple[float, float] = (1.0, 400.0),
    deliveries: tuple[float, float] = (50.0, 20_000.0),
) -> list[Interval]:
    """Intervals of varied load with relative noise; a share of them are wild."""
    dice = random.Random(seed)
    made = []
    for at in range(count):
        out, taken = dice.uniform(*deliveries), dice.uniform(*reads)
        cpu = costs.cpu_us(out, taken) * dice.gauss(1.0, noise)
        if at < outliers * count:
            cpu *= dice.choice((0.1, 3.0, 8.0, 30.0))
        made.append(Interval(1_000_000.0 + at, max(0.0, cpu), out, taken, out / 2))
    dice.shuffle(made)
    return made


@dataclass
class CountingNode:
    """A node whose counters grow as told; `look` shows them."""

    uid: str
    costs: TrueCosts = field(default_factory=TrueCosts)
    readers: int = 1
    taken: float = 0.0
    uptime: float = 600.0
    cpu: float = 50.0
    out: float = 0.0
    replayed: float = 0.0
    read: float = 0.0
    connections: int = 1000
    steady: bool = True

    def run(self, seconds: float, deliveries: float, published: float) -> None:
        """Serve for a while, at rates a second."""
        self.taken += seconds
        self.uptime += seconds
        self.cpu += seconds * self.costs.cpu_us(deliveries, published * self.readers) / 1e6
        self.out += deliveries * seconds
        self.read += published * seconds

    def look(self) -> NodeCount:
        return NodeCount(
            uid=self.uid,
            taken=self.taken,
            uptime_seconds=self.uptime,
            cpu_seconds=self.cpu,
            deliveries=self.out,
            replayed=self.replayed,
            messages_in=self.read,
            readers=self.readers,
            connections=self.connections,
            steady=self.steady,
        )
