"""What rebalance goes by, what it asks for, and what one look leaves to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

NO_SHED = 1_000_000
"""The largest target that a node takes: it ends a shed, since every node is below it."""

_NOT_KEPT = frozenset({"counts", "refused"})
"""Of the memory: what a restart does without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalancePolicy:
    """When and how a fleet is evened out; `tolerance` is a share of the mean."""

    enabled: bool = True
    tolerance: float = 0.10
    max_connections: int = 10_000
    """The plan's, for nodes that do not tell theirs."""
    least_connections: int = 500
    """A run begins only for a node this far above the mean; one that was asked for, for any."""
    patience_seconds: float = 30.0
    """Steering alone has this long, and again as long while it takes a fifth of the excess away."""
    most_patience_seconds: float = 300.0
    label_seconds: float = 3.0
    """From a changed label until all routes know it."""
    round_seconds: float = 30.0
    settle_seconds: float = 12.0
    """Two scrapes after the last close: the clients are back and counted."""
    ease_seconds: float = 300.0
    """After a run new clients go on being sent only to nodes with room."""
    rejections_per_minute: float = 10.0
    """So many clients turned away within a minute end a run: single ones say nothing of room."""
    rejection_hold_seconds: float = 120.0
    soon_seconds: float = 600.0
    """A run waits at most this long for a node that is about to go."""
    fresh_seconds: float = 15.0
    missing_share: float = 0.10
    start_seconds: float = 600.0
    """A pod that is not ready for longer will hardly be so soon; it is not waited for."""
    terminating_seconds: float = 600.0
    """A pod terminating for longer is on a lost machine; it closes nobody any more."""
    requested: str = ""
    """The value of the annotation that asks for one run."""


class RebalancePhase(StrEnum):
    """Where a fleet stands between one run and the next."""

    IDLE = "Idle"
    STEERING = "Steering"
    LABELS = "Labels"
    CLOSING = "Closing"
    EASING = "Easing"
    HELD = "Held"


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceMemory:
    """What one look leaves to the next: a dozen figures for any fleet. Times are epoch seconds."""

    phase: RebalancePhase = RebalancePhase.IDLE
    since: float = 0.0
    """When the phase began."""
    first: float = 0.0
    """When the imbalance was first seen."""
    excess: int = 0
    """Connections above the limit when steering's present chance began."""
    until: float = 0.0
    """When the round is over and can be judged, or the hold ends."""
    round: int = 0
    closes: int = 0
    """Closes asked for in this run."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """By pod UID the clients that its node has turned away since it started."""
    refused: tuple[tuple[float, int], ...] = ()
    """When so many more were turned away; of the last minute."""
    done: str = ""
    """The request that was carried out last."""

    def to_status(self) -> dict[str, Any]:
        """As JSON; what is as in a new memory is left out.

        So are the rejections: they would be written for each client that is turned away.
        """
        new = RebalanceMemory()
        return {
            one.name: value
            for one in fields(self)
            if one.name not in _NOT_KEPT and (value := getattr(self, one.name)) != getattr(new, one.name)
        }

    @classmethod
    def from_status(cls, value: object) -> RebalanceMemory:
        """From JSON; what can't be read is as in a new memory."""
        if not isinstance(value, Mapping):
            return cls()
        new = cls()
        read: dict[str, Any] = {}
        for one in fields(cls):
            if one.name in _NOT_KEPT:
                continue
            found, default = value.get(one.name), getattr(new, one.name)
            if isinstance(default, RebalancePhase):
                if found in list(RebalancePhase):
                    read[one.name] = RebalancePhase(str(found))
            elif isinstance(default, str):
                if isinstance(found, str):
                    read[one.name] = found[:64]
            elif isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 2**53:
                read[one.name] = float(found) if isinstance(default, float) else int(found)
        return cls(**read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """`PUT /shed` at one node: down to `target`, `rate` closes a second. The same `id` again changes nothing.

    It closes no more than `connections - target` of the moment it arrives; a later one replaces it.
    """

    uid: str
    pod: str
    id: str
    target: int
    rate: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance:
    """What to do now: sheds, who takes new clients (None: steering decides), and a word for people."""

    sheds: tuple[Shed, ...] = ()
    receivers: frozenset[str] | None = None
    note: str = ""
    event: str = ""
    """Said once: a run that began, ended or was stopped."""
