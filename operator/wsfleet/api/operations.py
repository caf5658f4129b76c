"""`spec.rebalance`, `spec.disruption` and `spec.rollout`: what is done to nodes that run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, StringConstraints

from wsfleet.api.base import SpecModel


class Rebalance(SpecModel):
    """Evening out connections that are already there."""

    enabled: bool = Field(
        default=True,
        description="close some clients of the fuller nodes, within spec.reconnects, so that they come back "
        "to the emptier ones; the annotation wsfleet.io/rebalance asks for it once in any case",
    )
    tolerance_percent: int = Field(
        default=10, ge=5, le=100, description="how far above the mean a node may be, in %"
    )


class Disruption(SpecModel):
    """What others may do to the fleet's pods."""

    evictions: Literal["Never", "Paced"] = Field(
        default="Never",
        description="Never: a machine's drain waits while the operator replaces and drains the pod; Paced: "
        "one pod at a time may be evicted, and drains itself",
    )


def _is_cron(value: str) -> str:
    try:
        CronSim(value, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(
            f"{error}; five fields are allowed: minute, hour, day of month, month, day of week"
        ) from error
    return value


def _is_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:  # an unknown one is a KeyError
        raise ValueError("is not a time zone of the IANA database, such as UTC or Europe/Berlin") from error
    return value


class MaintenanceWindow(SpecModel):
    """A time in which a rollout may begin."""

    cron: Annotated[
        str,
        StringConstraints(max_length=100, pattern=r"^\s*\S+(\s+\S+){4}\s*$"),
        AfterValidator(_is_cron),
    ] = Field(description="when it opens: minute, hour, day of month, month, day of week")
    time_zone: Annotated[
        str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$"), AfterValidator(_is_time_zone)
    ] = Field(default="UTC", description="time zone of `cron`, such as Europe/Berlin")
    duration_minutes: int = Field(default=60, ge=5, le=10_080, description="minutes it stays open")


class Rollout(SpecModel):
    """How nodes are replaced when their shape changes: new ones first, then old ones drained, and so on."""

    progress_deadline_seconds: int = Field(
        default=600,
        ge=30,
        le=86_400,
        description="seconds a new pod has to become ready; then nothing more moves",
    )
    revision_history_limit: int = Field(
        default=3, ge=0, le=10, description="empty ReplicaSets of earlier shapes kept for rollback"
    )
    maintenance_windows: list[MaintenanceWindow] = Field(
        default_factory=list,
        max_length=16,
        description="when a rollout may begin; one that has begun is finished. Empty: at any time",
    )
