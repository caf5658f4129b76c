"""What is measured. Values only; what it must reach stands in `targets`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

FLOOR, UWEBSOCKETS, BEST_GO, OWN = "floor", "uwebsockets", "best Go", "wsnode"
DENSE_STEPS = (200, 500, 1000, 2000, 3500, 5000, 7000, 9000, 12_000)
"""Messages a second of W4, one step after another until one is not held, each to 1,000 clients."""
DENSE_BETWEEN = {
    200: (100, 150),
    500: (300, 400),
    1000: (700, 850),
    2000: (1400, 1700),
    3500: (2500, 3000),
    5000: (4000, 4500),
    7000: (6000,),
    9000: (8000,),
    12_000: (10_500,),
}
"""What is tried below a step that was not held."""
DENSE_COMPARED = 3500
"""The step that W4 is judged at, or the highest that holds."""
USUAL_SECONDS = 8.0
"""A window of steady traffic."""
LIVE_CLIENTS = 1_000
RESUMED_EACH = 60
"""Messages that each resuming client has missed."""
THRESHOLDS = {"WS_CPU_REJECT_THRESHOLD": "75", "WS_CPU_PAUSE_THRESHOLD": "80"}
"""The node's own: where it is asked whether it protects itself in time, these are not out of the way."""


class Kind(Enum):
    """How the case is run."""

    STEADY = "a window of steady traffic"
    STORM = "all connections as fast as they go, then memory"
    LIVE = "live clients while others storm in"
    DENSE = "the rate raised step by step"
    RESUMES = "all come back at once and get what they missed"
    DROPS = "each is cut again and again"
    TWOFOLD = "two processes of the node beside one"


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
    dialect: str = ""
    """What its clients ask for, where that is not the server's usual."""
    ticks: str = "ticks"
    """The kind of messages: a name of `ticks.KINDS`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the node."""
    seconds: float = 0.0
    """How long it runs, where windows of the usual length are not enough."""

    @property
    def own(self) -> bool:
        """The node is held against itself: peers have no such thing, or another."""
        return self.patterns or bool(self.dialect) or self.kind in _OWN_KINDS

    def channel_names(self) -> list[str]:
        """What is published to."""
        return [f"S{number}.trade" for number in range(self.channels)]

    def subscriptions(self) -> list[list[str]]:
        """What clients subscribe to, in turn: neighbours, so that each channel has as many clients."""
        names = [f"S{number}.*" for number in range(self.channels)] if self.patterns else self.channel_names()
        return [names[first : first + self.each] for first in range(0, self.channels, self.each)]


_OWN_KINDS = (Kind.LIVE, Kind.RESUMES, Kind.DROPS, Kind.TWOFOLD)


def _steady(name: str, title: str, group: str, connections: int, rate: float, **more: object) -> Case:
    return Case(name, title, group, Kind.STEADY, connections, rate=rate, **more)  # type: ignore[arg-type]


CASES = (
    Case("storm", "10,000 connect and subscribe at once", "broad", Kind.STORM, 10_000),
    _steady("W1", "10,000 connections, 1 channel, 2 msg/s", "broad", 10_000, 2),
    _steady("W2", "10,000 connections, 1 channel, 4 msg/s", "broad", 10_000, 4),
    _steady("W3", "5,000 connections, 100 channels, 1,000 msg/s", "W3", 5_000, 1000, channels=100),
    _steady(
        "W3-patterns",
        "W3 with 8 patterns a client",
        "W3-patterns",
        5_000,
        1000,
        channels=800,
        each=8,
        patterns=True,
    ),
    Case("W4", "1,000 connections, 1 channel, rate raised until full", "W4", Kind.DENSE, 1_000),
    Case("live", "1,000 live clients while 10,000 storm in", "live", Kind.LIVE, 10_000, rate=10),
    _steady("W1-deflate", "W1 with deflate", "W1-deflate", 10_000, 2, dialect="deflate"),
    _steady(
        "W2-delta", "W2 with delta, a market's ticker", "W2-delta", 10_000, 4, dialect="delta", ticks="market"
    ),
    Case(
        "resumes",
        f"10,000 resume {RESUMED_EACH} messages each at once, beside 1,000 live clients",
        "resumes",
        Kind.RESUMES,
        10_000,
        channels=10,
        rate=10,
        settings=THRESHOLDS,
    ),
    Case(
        "drops",
        "10,000 clients, 1 msg/s, each cut at random every 5-15 s",
        "drops",
        Kind.DROPS,
        10_000,
        rate=1,
        settings=THRESHOLDS,
        seconds=120.0,
    ),
    Case(
        "W4-two",
        "W4 with two processes on two cores, twice the clients",
        "W4-two",
        Kind.TWOFOLD,
        1_000,
        rate=60,
    ),
)
