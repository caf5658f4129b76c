"""A book and the costs in force as JSON values, for the memory of the resource's status, and back.

Read leniently, as everything there: what can't be understood is not remembered, and nothing fails by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from wsfleet.costs.book import INTERVALS_KEPT, CostBook
from wsfleet.costs.fit import Estimate
from wsfleet.costs.meter import Interval
from wsfleet.costs.steps import Applied, CostFigures

_FIGURES = ("message_us", "intake_us", "idle_us", "memory_bytes")


def book_to_status(book: CostBook, applied: Applied | None) -> dict[str, Any]:
    """What is worth keeping over a restart."""
    kept: dict[str, Any] = {
        "measured": book.measured,
        "readers": book.readers,
        "reads": round(book.reads, 2),
        "intervals": [[round(value, 1) for value in one] for one in book.intervals],
    }
    if math.isfinite(book.fitted_at):
        kept["fittedAt"] = round(book.fitted_at, 1)
        kept["estimate"] = _estimate_to_status(book.estimate)
    if book.memory_bytes is not None:
        kept["memoryBytes"] = round(book.memory_bytes, 1)
    if applied is not None:
        kept["applied"] = [round(getattr(applied.figures, name), 3) for name in _FIGURES]
        if applied.moved_at is not None:
            kept["movedAt"] = round(applied.moved_at, 1)
    return kept


def book_from_status(memory: object, now: float) -> tuple[CostBook, Applied | None]:
    """The book and the costs in force that `book_to_status` wrote."""
    book = CostBook()
    if not isinstance(memory, Mapping):
        return book, None
    intervals = [
        one for value in _list(memory.get("intervals")) if (one := _interval(value, now)) is not None
    ]
    book.measured = int(_number(memory.get("measured")) or len(intervals))
    book.readers = max(1, int(_number(memory.get("readers")) or 1))
    book.reads = _number(memory.get("reads")) or 0.0
    book.memory_bytes = _number(memory.get("memoryBytes")) or None
    book.intervals = sorted(intervals, key=lambda one: one.time)
    fitted_at, estimate = _number(memory.get("fittedAt")), _estimate(memory.get("estimate"))
    if fitted_at is not None and estimate is not None:
        book.estimate, book.fitted_at = estimate, min(fitted_at, now)
    return book, _applied(memory, now)


def _estimate_to_status(estimate: Estimate) -> dict[str, Any]:
    """Numbers and flags by name; what is unknown or infinite is left out."""
    values = {one.name: getattr(estimate, one.name) for one in fields(estimate)}
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _estimate(value: object) -> Estimate | None:
    if not isinstance(value, Mapping):
        return None
    found: dict[str, Any] = {}
    for one in fields(Estimate):
        kept = value.get(one.name)
        if one.name in ("split", "read_known"):
            found[one.name] = kept is True
        elif (number := _number(kept)) is not None:
            found[one.name] = int(number) if one.name in ("intervals", "outliers") else number
    return Estimate(**found)


def _applied(memory: Mapping[str, Any], now: float) -> Applied | None:
    values = [_number(one) for one in _list(memory.get("applied"))]
    if len(values) != len(_FIGURES) or None in values:
        return None
    figures = CostFigures(**dict(zip(_FIGURES, values, strict=True)))  # type: ignore[arg-type]
    if not figures.usable:
        return None
    moved_at = _number(memory.get("movedAt"))
    return Applied(figures=figures, moved_at=None if moved_at is None else min(moved_at, now))


def _interval(value: object, now: float) -> Interval | None:
    numbers = [_number(one) for one in _list(value)]
    if len(numbers) != len(Interval._fields) or any(one is None for one in numbers):
        return None
    interval = Interval(*(one for one in numbers if one is not None))
    return interval if interval.time <= now + 60 else None


def _list(value: object) -> Sequence[Any]:
    return value[:INTERVALS_KEPT] if isinstance(value, list) else ()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
