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
    NODE_LOSS = "NodeLoss"
    MIN_REPLICAS = "MinReplicas"
    SCHEDULE = "Schedule"
    MAX_REPLICAS = "MaxReplicas"
    LOW_LOAD = "LowLoad"
    REPLICAS = "Replicas"


BY_WORD = (
    Trigger.MIN_REPLICAS,
    Trigger.MAX_REPLICAS,
    Trigger.SCHEDULE,
    Trigger.REPLICAS,
    Trigger.NODE_LOSS,
)
"""Steps that somebody's word or a dead machine asks for, not the load: they say nothing of whether a step was
right."""


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


_HOLDS_OF_TIME = frozenset({HoldKind.NOT_OBSERVED, HoldKind.STABILIZATION, HoldKind.DRAIN, HoldKind.ROLLOUT})
"""What is over by itself within minutes."""


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
    def shrinks_soon(self) -> bool:
        """Whether the fleet is about to give up a node: its load asks for fewer, and only time is waited for.

        With a hold of another kind it may never come to that.
        """
        least = max(self.wish, int(self.figures.get("minReplicas", 1)))
        kinds = {hold.kind for hold in self.holds}
        return self.autoscaling and least < self.current and kinds <= _HOLDS_OF_TIME

    @property
    def changes(self) -> bool:
        """Whether the size moves."""
        return self.desired != self.current

    def held(self, kind: HoldKind) -> bool:
        """Whether something was held back for this reason."""
        return any(hold.kind is kind for hold in self.holds)
