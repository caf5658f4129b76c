"""How far a fleet that is sized by measured costs may move: by at most 20 %, at most once a day.

A wrong measurement then costs a fifth of a node's size before somebody sees it, and nothing at all rolls:
what follows from costs are live settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

STEP_SECONDS = 86_400.0
STEP_FACTOR = 1.2
DEAD_BAND = 0.05
"""A figure that is off by less than this is left alone."""
_LEAST_MEMORY_BYTES = 256.0
_LEAST_MESSAGE_US = 0.1
_IDLE_STEP_US = 10_000.0  # a hundredth of a core: from 0 no factor leads away


@dataclass(frozen=True, slots=True, kw_only=True)
class CostFigures:
    """Costs that a node is sized by: CPU in microseconds (idle: a second), memory in bytes."""

    message_us: float
    intake_us: float
    """Of a message published, for the whole node, all of its processes together."""
    idle_us: float
    memory_bytes: float

    @property
    def usable(self) -> bool:
        values = [getattr(self, one.name) for one in fields(self)]
        return (
            all(map(math.isfinite, values)) and min(values) >= 0 and self.message_us > 0 < self.memory_bytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The costs in force, and when they last moved (epoch seconds; None: never)."""

    figures: CostFigures
    moved_at: float | None = None


def advance(applied: Applied, wanted: CostFigures | None, now: float, *, only_down: bool = False) -> Applied:
    """The costs in force after this moment: a step towards `wanted` if one is due, else as they were.

    `only_down`: what is wanted is an upper bound, so that a lower figure than the present one is a gain and a
    higher one says nothing. A clock that was set back does not hurry: the day counts from what is written.
    """
    if wanted is None or not wanted.usable:
        return applied
    if applied.moved_at is not None and now - applied.moved_at < STEP_SECONDS:
        return applied
    present = applied.figures
    if only_down and wanted.message_us > present.message_us:
        return applied  # its other parts are in the cost of a message, and stay in force beside this one
    message = _step(present.message_us, max(wanted.message_us, _LEAST_MESSAGE_US))
    moved = CostFigures(
        message_us=message,
        intake_us=_shift(present.intake_us, wanted.intake_us, message * (STEP_FACTOR - 1)),
        idle_us=_shift(present.idle_us, wanted.idle_us, _IDLE_STEP_US),
        memory_bytes=_step(present.memory_bytes, max(wanted.memory_bytes, _LEAST_MEMORY_BYTES)),
    )
    if moved == present:
        return applied
    return Applied(figures=moved, moved_at=now)


def _step(present: float, wanted: float) -> float:
    """Towards what is wanted by a factor of at most 1.2."""
    if abs(wanted - present) <= DEAD_BAND * present:
        return present
    return min(max(wanted, present / STEP_FACTOR), present * STEP_FACTOR)


def _shift(present: float, wanted: float, least: float) -> float:
    """The same for a figure that may be 0: by at most a fifth of it, or by `least`."""
    room = max(present * (STEP_FACTOR - 1), least)
    if abs(wanted - present) <= DEAD_BAND * room:
        return present
    return min(max(wanted, present - room), present + room)
