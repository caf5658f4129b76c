"""The minimum by schedule: which entries are in force at a moment. Pure; local time by the zone's own rules.

An entry with a duration is in force from each of its times for so long. Entries without one replace each
other: that whose time came last is in force until the next one's comes. Of all in force the highest counts,
and `minReplicas` is never undercut. Times that a change to summer time skips come right after it, times that
a change back repeats come once (cronsim, as Debian's cron).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MINUTE_SECONDS = 60.0
CHANGE_SECONDS = 4 * 3600.0
"""Longer than any change of the clock and the hour it repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A minimum from each time of `cron` (five fields) in `time_zone` on; see the module."""

    cron: str
    time_zone: str
    min_replicas: int
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Minimum:
    """The fewest nodes a fleet may have now, and by which rule."""

    nodes: int
    reason: str
    scheduled: bool = False


def minimum_in_force(schedules: Iterable[Schedule], min_replicas: int, now: float) -> Minimum:
    """The minimum at `now` (epoch seconds), from the schedules and `minReplicas`."""
    highest = Minimum(min_replicas, f"minReplicas is {min_replicas}")
    for one in _in_force(tuple(schedules), now):
        if one.min_replicas > highest.nodes:
            rule = f"the schedule {one.cron} ({one.time_zone}) sets minReplicas to {one.min_replicas}"
            highest = Minimum(one.min_replicas, rule, scheduled=True)
    return highest


def _in_force(schedules: tuple[Schedule, ...], now: float) -> Iterator[Schedule]:
    latest: tuple[float, Schedule] | None = None
    for one in schedules:
        began = last_time(one.cron, one.time_zone, now - now % MINUTE_SECONDS)
        if began is None:
            continue
        if one.duration_seconds is not None:
            if now < began + one.duration_seconds:
                yield one
        # Of two at the same minute the later in the list replaces the earlier.
        elif latest is None or began >= latest[0]:
            latest = (began, one)
    if latest is not None:
        yield latest[1]


@lru_cache(maxsize=4096)
def last_time(cron: str, time_zone: str, minute: float) -> float | None:
    """The last time at or before a minute's start that an entry names; None if there is none, or it is no
    entry at all.

    Remembered for each minute: every look at a fleet asks.
    """
    try:
        zone = ZoneInfo(time_zone)
        # Backwards from within an hour that comes twice the library misses the first of the two, so from
        # before any change of the clock, and then forwards.
        start = datetime.fromtimestamp(minute - CHANGE_SECONDS, UTC).astimezone(zone)
        last = next(CronSim(cron, start, reverse=True))
        for time in CronSim(cron, last):
            if time.timestamp() > minute:
                break
            last = time
        return float(last.timestamp())
    except (CronSimError, StopIteration, KeyError, ValueError, OSError):
        return None
