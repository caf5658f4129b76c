"""`spec.autoscaling`: when a node is added, and when one is taken away.

Defaults are the seed document's triggers ("Scaling Strategy"): 80 % of the connection limit, CPU
above 60 % for five minutes, repeated rejections for CPU.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, StringConstraints, field_validator

from wsfleet.api.base import Rule, SpecModel, section

MOST_NODES = 5000
"""Of one fleet: the most machines that Kubernetes answers for [its documentation, "Considerations for large
clusters"]."""


def _cron_field(value: str, suffix: str = "") -> str:
    """The pattern of one field: values, ranges, lists of both, steps."""
    one = rf"(\*|({value})(-({value}))?)(/[0-9]{{1,2}})?{suffix}"
    return f"{one}(,{one})*"


def _names(names: str) -> str:
    return "|".join((names, names.lower()))


_MONTHS = _names("JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC")
_DAYS = _names("SUN|MON|TUE|WED|THU|FRI|SAT")
_CRON = " ".join(
    (
        _cron_field("[0-5]?[0-9]"),
        _cron_field("[01]?[0-9]|2[0-3]"),
        _cron_field("0?[1-9]|[12][0-9]|3[01]"),
        _cron_field(f"0?[1-9]|1[0-2]|{_MONTHS}"),
        _cron_field(f"[0-7]|{_DAYS}"),
    )
)
Cron = Annotated[str, StringConstraints(min_length=9, max_length=100, pattern=f"^{_CRON}$")]
TimeZone = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern="^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"),
]


class ConnectionsTrigger(SpecModel):
    """Nodes by the fleet's total of connections."""

    target_percent: int = Field(
        default=80, ge=10, le=100, description="connections a node is filled to, in % of WS_MAX_CONNECTIONS"
    )


class CpuTrigger(SpecModel):
    """Nodes by the mean CPU of those that are ready."""

    target_percent: int = Field(default=60, ge=10, le=95, description="CPU above which nodes are added, in %")
    sustained_seconds: int = Field(default=300, ge=10, le=3600, description="seconds that it must stay above")


class RejectionsTrigger(SpecModel):
    """One node more when nodes refuse clients for CPU."""

    per_minute: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="rejections a minute, in the whole fleet, above which it counts",
    )
    sustained_seconds: int = Field(default=30, ge=5, le=3600, description="seconds that it must stay above")


class ScaleDown(SpecModel):
    """When a node is taken away, always one at a time and drained first."""

    stabilization_seconds: int = Field(
        default=300, ge=0, le=3600, description="seconds whose highest recommendation is followed"
    )
    headroom_percent: int = Field(
        default=70,
        ge=5,
        le=95,
        description="connections that the rest must stay below after it, in % of WS_MAX_CONNECTIONS",
    )


class GrowthTrigger(SpecModel):
    """Nodes ahead of time, by how fast the total of connections rises."""

    enabled: bool = Field(
        default=True,
        description="connections that will have come by the time a new node is ready, at the present rate,"
        " count as if they were there",
    )
    max_percent: int = Field(
        default=50, ge=1, le=50, description="growth that counts at most, in % of the connections there are"
    )


class Schedule(SpecModel):
    """A minimum of nodes from given times on."""

    cron: Cron = Field(
        description="times from which it holds: minute, hour, day of month, month, day of week (0 and 7 are"
        " Sunday; names, ranges, lists and steps as in crontab). Times that a change to summer time skips"
        " come right after it, times that a change back repeats come once"
    )
    time_zone: TimeZone = Field(
        default="UTC",
        description="time zone of the IANA database that the times are in, such as Europe/Berlin",
    )
    min_replicas: int = Field(
        ge=1,
        le=MOST_NODES,
        description="fewest nodes while it holds; the higher one of this and minReplicas counts",
    )
    duration_seconds: int | None = Field(
        default=None,
        ge=60,
        le=604_800,
        description="seconds that it holds from each of its times. Left out, it holds until the time of"
        " another entry without a duration comes, which replaces it",
    )

    @field_validator("cron")
    @classmethod
    def _comes(cls, cron: str) -> str:
        """What the pattern can't say: ranges that run backwards, days that no month has."""
        try:
            next(CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(f"{cron!r} is no time: {error}") from error
        except StopIteration as error:
            raise ValueError(f"{cron!r} never comes") from error
        return cron

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, time_zone: str) -> str:
        # Not a rule in the schema: an API server without the database would refuse every zone.
        try:
            ZoneInfo(time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                f"{time_zone!r} is no time zone of the IANA database, such as Europe/Berlin or UTC"
            ) from error
        return time_zone


class Autoscaling(SpecModel):
    """Scaling by the fleet's own figures."""

    RULES: ClassVar = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            lambda own: own.min_replicas <= own.max_replicas,
            "minReplicas must not be above maxReplicas",
            ".minReplicas",
        ),
        Rule(
            "!has(self.schedules) || self.schedules.all(one, one.minReplicas <= self.maxReplicas)",
            lambda own: all(one.min_replicas <= own.max_replicas for one in own.schedules),
            "a schedule's minReplicas must not be above maxReplicas",
            ".schedules",
        ),
    )

    min_replicas: int = Field(default=1, ge=1, le=MOST_NODES, description="fewest nodes")
    max_replicas: int = Field(ge=1, le=MOST_NODES, description="most nodes")
    connections: ConnectionsTrigger = section(ConnectionsTrigger, "nodes by the total of connections")
    cpu: CpuTrigger = section(CpuTrigger, "nodes by CPU")
    rejections: RejectionsTrigger = section(RejectionsTrigger, "nodes by refused clients")
    growth: GrowthTrigger = section(GrowthTrigger, "nodes ahead of time")
    schedules: list[Schedule] = Field(
        default_factory=list,
        max_length=24,
        description="minima by schedule; of all that hold the highest counts",
    )
    scale_down: ScaleDown = section(ScaleDown, "when a node is taken away")
    paused: bool = Field(default=False, description="decisions are computed and shown, and not carried out")
