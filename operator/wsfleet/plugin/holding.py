"""What keeps a fleet from changing its size: pauses, and what the operator says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wsfleet.kube.kinds import Object
from wsfleet.plugin.reading import at, mapping
from wsfleet.reconcile.prepare import pauses_of
from wsfleet.resources import names

# Reasons of ScalingActive that hold something back; others only explain the size.
_HOLDING = (
    "Stabilization",
    "Headroom",
    "ConnectionsDropped",
    "FiguresMissing",
    "CPUNotScalable",
    "NotObservedLongEnough",
)


class Told(Protocol):
    """A condition."""

    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Pauses:
    """Which scaling is paused, and by what."""

    scaling: bool = False
    scale_in: bool = False
    scale_out: bool = False
    by_spec: bool = False

    @classmethod
    def of(cls, fleet: Object) -> Pauses:
        """The pauses of a fleet, read as the operator reads them."""
        annotations = mapping(fleet, "metadata", "annotations")
        found = pauses_of({str(name): str(value) for name, value in annotations.items()})
        return cls(
            scaling=found["paused"],
            scale_in=found["paused_scale_in"],
            scale_out=found["paused_scale_out"],
            by_spec=at(fleet, "spec", "autoscaling", "paused") is True,
        )

    @property
    def any(self) -> bool:
        """Whether anything is paused."""
        return self.scaling or self.scale_in or self.scale_out or self.by_spec

    def sentences(self) -> list[str]:
        """What is paused, and by what."""
        found = []
        if self.by_spec:
            found.append("scaling is paused by spec.autoscaling.paused")
        if self.scaling:
            found.append(f"scaling is paused by the annotation {names.PAUSED_ANNOTATION}")
        if self.scale_out:
            found.append(f"scale-out is paused by the annotation {names.PAUSED_SCALE_OUT_ANNOTATION}")
        if self.scale_in:
            found.append(f"scale-in is paused by the annotation {names.PAUSED_SCALE_IN_ANNOTATION}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "scaling": self.scaling,
            "scaleIn": self.scale_in,
            "scaleOut": self.scale_out,
            "bySpec": self.by_spec,
        }


def holding(
    pauses: Pauses, conditions: Mapping[str, Told], told: Sequence[str] | None = None
) -> tuple[str, ...]:
    """What holds the size now, in sentences; none where the fleet is free to follow its load.

    `told` is what the operator itself says of it; None for one of a release that does not, whose conditions
    say most of it.
    """
    found = pauses.sentences()
    stalled, active, limited = (
        conditions.get(name) for name in ("Stalled", "ScalingActive", "ScalingLimited")
    )
    if stalled is not None and stalled.status == "True":
        found.append(stalled.message)
    if told is not None:
        found += told
    elif active is not None and (active.reason in _HOLDING or active.reason == "Paused"):
        found.append(active.message)
    if limited is not None and limited.status == "True":
        found.append(limited.message)
    return tuple(dict.fromkeys(one for one in found if one))
