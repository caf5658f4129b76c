"""How many nodes a fleet should have: one pure function of policy, snapshot, history and time."""

from __future__ import annotations

from wsfleet.scaling.decision import Decision
from wsfleet.scaling.history import History
from wsfleet.scaling.policy import ScalingPolicy
from wsfleet.scaling.samples import Snapshot


def decide(
    policy: ScalingPolicy, snapshot: Snapshot, history: History, now: float, fixed_percent: float = 0.0
) -> tuple[Decision, History]:
    """Decide the size of a fleet."""
    raise NotImplementedError
