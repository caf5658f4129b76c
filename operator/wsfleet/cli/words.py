"""Figures of running fleets as people read them; a dash for what nobody knows."""

from __future__ import annotations

DASH = "-"
MIB = 2**20


def count(value: int | None) -> str:
    """10,000."""
    return DASH if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Whole from 10 on, one digit below."""
    if value is None:
        return DASH
    return f"{value:.0f} %" if value >= 10 else f"{value:.1f} %"


def megabytes(value: int | None) -> str:
    """Bytes as MB of 2**20, as sizing has it."""
    return DASH if value is None else f"{value / MIB:,.0f} MB"


def age(seconds: float | None) -> str:
    """As kubectl shows ages: 45s, 12m, 5h, 3d."""
    if seconds is None:
        return DASH
    whole = int(seconds)
    for unit, size, least in (("d", 86_400, 2 * 86_400), ("h", 3_600, 2 * 3_600), ("m", 60, 120)):
        if whole >= least:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def of(part: int | None, whole: int | None) -> str:
    """8,123 of 30,000; the whole only where it is known."""
    return count(part) if whole is None else f"{count(part)} of {count(whole)}"


def yes(value: bool) -> str:
    """yes or no."""
    return "yes" if value else "no"
