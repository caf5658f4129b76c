"""What a decision and a step mean, as conditions that a person understands."""

from __future__ import annotations

from dataclasses import dataclass

from wsfleet.scaling.decision import Decision
from wsfleet.scaling.world import Step


@dataclass(frozen=True, slots=True)
class ConditionText:
    """A condition as scaling sees it; the reconciler adds times and the generation."""

    type: str
    status: bool
    reason: str
    message: str


def scaling_conditions(decision: Decision) -> tuple[ConditionText, ...]:
    """ScalingActive and ScalingLimited."""
    raise NotImplementedError


def progress_conditions(step: Step) -> tuple[ConditionText, ...]:
    """Progressing, Reconciling and Stalled."""
    raise NotImplementedError
