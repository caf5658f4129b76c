"""What is measured, and what it must reach. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FLOOR, UWEBSOCKETS, BEST_GO, OWN = "floor", "uwebsockets", "best Go", "wsnode"
DENSE_STEPS = (100, 200, 400, 1000, 2000, 3000, 3500, 4000, 5000, 6000, 8000)
"""Messages a second of W4, one step after another until one is not held, each to 1,000 clients."""
DENSE_BETWEEN = {200: (150,), 400: (250, 300), 1000: (600, 800), 2000: (1400, 1700), 3000: (2300, 2600)}
"""What is tried below a step that was not held."""
DENSE_COMPARED = 3500
"""The step that W4 is judged at, or the highest that holds."""


class Kind(Enum):
    """How the case is run."""

    STEADY = "a window of steady traffic"
    STORM = "all connections as fast as they go, then memory"
    LIVE = "live clients while others storm in"
    DENSE = "the rate raised step by step"


@dataclass(frozen=True)
class Case:
    """One case. Cases of one `group` use the same server, started once, in this order."""

    name: str
    title: str
    group: str
    kind: Kind
    connections: int
    channels: int = 1
    each: int = 1
    """Channels or patterns of one client."""
    rate: float = 0.0
    """Messages a second over all channels."""
    patterns: bool = False
    deflate: bool = False

    @property
    def own(self) -> bool:
        """The node is held against itself: peers have no such thing, or another."""
        return self.patterns or self.deflate

    def channel_names(self) -> list[str]:
        """What is published to."""
        return [f"S{number}.trade" for number in range(self.channels)]

    def subscriptions(self) -> list[list[str]]:
        """What clients subscribe to, in turn: neighbours, so that each channel has as many clients."""
        names = [f"S{number}.*" for number in range(self.channels)] if self.patterns else self.channel_names()
        return [names[first : first + self.each] for first in range(0, self.channels, self.each)]


CASES = (
    Case("storm", "10,000 connect and subscribe at once", "broad", Kind.STORM, 10_000),
    Case("W1", "10,000 connections, 1 channel, 2 msg/s", "broad", Kind.STEADY, 10_000, rate=2),
    Case("W2", "10,000 connections, 1 channel, 4 msg/s", "broad", Kind.STEADY, 10_000, rate=4),
    Case("W3", "5,000 connections, 100 channels, 1,000 msg/s", "W3", Kind.STEADY, 5_000, 100, rate=1000),
    Case(
        "W3-patterns",
        "W3 with 8 patterns a client",
        "W3-patterns",
        Kind.STEADY,
        5_000,
        800,
        each=8,
        rate=1000,
        patterns=True,
    ),
    Case("W4", "1,000 connections, 1 channel, rate raised until full", "W4", Kind.DENSE, 1_000),
    Case("live", "1,000 live clients while 10,000 storm in", "live", Kind.LIVE, 10_000, rate=10),
    Case("W1-deflate", "W1 with deflate", "W1-deflate", Kind.STEADY, 10_000, rate=2, deflate=True),
)
LIVE_CLIENTS = 1_000


class Against(Enum):
    """How a figure is held against its bound."""

    RATIO = "x"
    ABOVE_BY = "+"
    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True)
class Target:
    """A figure of the node, what it is compared with, and the bound."""

    case: str
    metric: str
    against: Against
    bound: float
    reference: str = ""
    """A server, BEST_GO or OWN; empty for a bound on the figure itself."""
    reference_case: str = ""
    """Another case of the reference; empty for the same."""
    reference_metric: str = ""
    """Another metric of the reference; empty for the same."""


_COST, _P99 = "us_per_delivery", "p99_ms"
TARGETS = (
    Target("W1", _COST, Against.RATIO, 1.12, FLOOR),
    Target("W1", _COST, Against.RATIO, 0.85, UWEBSOCKETS),
    Target("W1", _COST, Against.RATIO, 0.7, BEST_GO),
    Target("W1", _P99, Against.RATIO, 1.2, FLOOR),
    Target("W2", _COST, Against.RATIO, 1.12, FLOOR),
    Target("W2", _COST, Against.RATIO, 0.85, UWEBSOCKETS),
    Target("W2", _COST, Against.RATIO, 0.7, BEST_GO),
    Target("W3", _COST, Against.RATIO, 1.25, FLOOR),
    Target("W3", _COST, Against.RATIO, 0.6, BEST_GO),
    Target("W3", _P99, Against.ABOVE_BY, 10.0, FLOOR),
    Target("W3-patterns", _COST, Against.RATIO, 1.1, OWN, reference_case="W3"),
    Target("W4", "core_percent", Against.AT_MOST, 50.0),
    Target("W4", _COST, Against.RATIO, 0.6, UWEBSOCKETS),
    Target("W4", _P99, Against.AT_MOST, 80.0),
    Target("storm", "us_per_connect", Against.AT_MOST, 60.0),
    Target("storm", "connects_per_second", Against.AT_LEAST, 12_000.0),
    Target("storm", "idle_kb", Against.AT_MOST, 1.0),
    Target("W2", "resident_kb", Against.AT_MOST, 1.5),
    Target("live", "storm_p99_ms", Against.RATIO, 2.0, OWN, reference_metric="quiet_p99_ms"),
    Target("W1-deflate", _COST, Against.RATIO, 1.25, OWN, reference_case="W1"),
    Target("W1-deflate", "bytes_per_delivery", Against.RATIO, 0.72, OWN, reference_case="W1"),
)
