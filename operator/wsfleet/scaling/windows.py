"""When a rollout may begin: maintenance windows, and which shape a fleet keeps until one opens. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from wsfleet.scaling.samples import NodeSample
from wsfleet.scaling.world import SetView


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Opens at each time of `cron` (five fields) in `time_zone`, for so many minutes."""

    cron: str
    time_zone: str = "UTC"
    minutes: int = 60

    def open_at(self, now: float) -> bool:
        """Whether it is open at a moment (epoch seconds)."""
        opened = _next(self.cron, self._local(now - self.minutes * 60))
        return opened is not None and opened.timestamp() <= now

    def next_opening(self, now: float) -> datetime | None:
        """When it opens next; None if never again."""
        return _next(self.cron, self._local(now))

    def _local(self, now: float) -> datetime:
        return datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(self.time_zone))


def _next(cron: str, after: datetime) -> datetime | None:
    try:
        return next(CronSim(cron, after), None)
    except (CronSimError, ValueError, OverflowError):
        return None


def closed_until(windows: Iterable[Window], now: float) -> str:
    """Why no rollout may begin now, with the next opening; empty if one may."""
    all_windows = tuple(windows)
    if not all_windows or any(one.open_at(now) for one in all_windows):
        return ""
    openings = [when for one in all_windows if (when := one.next_opening(now)) is not None]
    if not openings:
        return "outside the maintenance windows, and none opens again"
    return f"the next maintenance window opens at {min(openings).strftime('%Y-%m-%d %H:%M %Z')}"


def shape_to_keep(sets: Sequence[SetView], pods: Iterable[NodeSample], wanted: str) -> str | None:
    """The shape that a fleet keeps while its rollout may not begin.

    None where there is nothing to wait with: it has its shape, the rollout has begun and is finished in any
    case, or nothing serves that could be spared.
    """
    if any(one.shape == wanted and one.replicas for one in sets):
        return None
    ready: dict[str, int] = {}
    for pod in pods:
        if pod.ready and not pod.terminating and pod.shape != wanted:
            ready[pod.shape] = ready.get(pod.shape, 0) + 1
    kept = [one for one in sets if one.replicas and one.shape in ready]
    best = max(kept, key=lambda one: (ready[one.shape], one.created, one.name), default=None)
    return None if best is None else best.shape
