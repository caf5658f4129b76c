"""What the node must reach, each figure beside what it is held against. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.bench.cases import BEST_GO, FLOOR, OWN, UWEBSOCKETS


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


_COST, _P99, _BYTES = "us_per_delivery", "p99_ms", "bytes_per_delivery"
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
    Target("storm", "idle_kb", Against.AT_MOST, 1.0),
    Target("W3-patterns", "idle_kb", Against.AT_MOST, 2.0),
    Target("W2", "resident_kb", Against.AT_MOST, 1.5),
    Target("storm", "us_per_connect", Against.AT_MOST, 60.0),
    Target("storm", "connects_per_second", Against.AT_LEAST, 12_000.0),
    Target("live", "busy_p99_ms", Against.RATIO, 2.0, OWN, reference_metric="quiet_p99_ms"),
    Target("W1-deflate", _COST, Against.RATIO, 1.25, OWN, reference_case="W1"),
    Target("W1-deflate", _BYTES, Against.RATIO, 0.72, OWN, reference_case="W1"),
    Target("W2-delta", _BYTES, Against.RATIO, 0.5, OWN, reference_metric="plain_bytes"),
    Target("resumes", "resumed_seconds", Against.AT_MOST, 5.0),
    Target("resumes", "lost", Against.AT_MOST, 0.0),
    Target("resumes", "doubled", Against.AT_MOST, 0.0),
    Target("resumes", "busy_p99_ms", Against.RATIO, 2.0, OWN, reference_metric="quiet_p99_ms"),
    Target("resumes", "peak_kb", Against.AT_MOST, 16.0),
    Target("resumes", "paused", Against.AT_MOST, 0.0),
    Target("drops", "delivered_percent", Against.AT_LEAST, 100.0),
    Target("drops", "doubled", Against.AT_MOST, 0.0),
    Target("W4-two", "times_one", Against.AT_LEAST, 1.8),
)


def needed_every_run(server: str, case: str, go: bool) -> bool:
    """Whether a target looks at this server's figures of the case: others are measured once, to be seen."""
    if server == OWN:
        return True
    return any(
        target.case == case and (target.reference == server or (go and target.reference == BEST_GO))
        for target in TARGETS
    )
