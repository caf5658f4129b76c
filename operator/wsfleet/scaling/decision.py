"""A decision about the size of a fleet: a value with its reasons, to be acted on, logged, shown and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Trigger(StrEnum):
    """What moved the wish; the text is what status and events show."""

    STEADY = "Steady"
    CONNECTIONS = "Connections"
    GROWTH = "Growth"
    WAITING = "WaitingClients"
    CPU = "Cpu"
    REJECTIONS = "Rejections"
    MIN_REPLICAS = "MinReplicas"
    SCHEDULE = "Schedule"
    MAX_REPLICAS = "MaxReplicas"
    LOW_LOAD = "LowLoad"
    REPLICAS = "Replicas"


BY_WORD = (Trigger.MIN_REPLICAS, Trigger.MAX_REPLICAS, Trigger.SCHEDULE, Trigger.REPLICAS)
"""Steps that somebody's word asks for, not the load: they say nothing of whether a step was right."""


class HoldKind(StrEnum):
    """Why something that was wished for is not done now."""

    NOT_OBSERVED = "NotObservedLongEnough"
    STABILIZATION = "Stabilization"
    HEADROOM = "Headroom"
    ROLLOUT = "RolloutInProgress"
    DRAIN = "DrainInProgress"
    MISSING = "FiguresMissing"
    OUTAGE = "ConnectionsDropped"
    REGRET = "GrewAgain"
    STEP = "StepLimit"
    SETTLING = "NodeStarting"
    UNSCHEDULABLE = "Unschedulable"
    CPU_NOT_SCALABLE = "CPUNotScalable"
    PAUSED = "Paused"
    PAST = "Past"
    """Of a decision read back from the status, which keeps the text alone."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Something held back, and a sentence a person understands."""

    kind: HoldKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many nodes a fleet should have now, and why.

    `desired` is to be carried out. `recommended` is what would be without a pause; `wish` is what the load
    asks for before bounds, step limits and holds. `limited` is "MinReplicas" or "MaxReplicas" where a bound
    cut the wish, and `minimum_reason` which rule made the lower one. `figures` are the numbers the reasons
    speak of, by camelCase name.
    """

    time: float
    current: int
    desired: int
    recommended: int
    wish: int
    trigger: Trigger
    reasons: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    limited: Trigger | None = None
    minimum_reason: str = ""
    autoscaling: bool = True
    cpu_not_scalable: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether the size moves."""
        return self.desired != self.current

    def held(self, kind: HoldKind) -> bool:
        """Whether something was held back for this reason."""
        return any(hold.kind is kind for hold in self.holds)
