"""`spec.overrides`: the node's settings that are the user's to set, made from the settings class itself.

A setting that the operator decides (ports, files, names), or that the resource has a field of its
own for (`spec.nats`, `spec.drain`), is not among them: one concept has one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

import annotated_types
from pydantic import Field, StringConstraints, create_model
from pydantic.fields import FieldInfo

from wsfleet.api.base import Rule, SpecModel
from wsfleet.api.quantities import BYTES, DURATION, Quantity
from wsnode.config import Settings, env_name

OWNED_BY_OPERATOR = frozenset(
    {"addr", "admin_addr", "admin_token_file", "settings_file", "node_name", "processes"}
)
OWNED_BY_SPEC = frozenset(
    {
        "nats_url",
        "nats_credentials_file",
        "js_stream_name",
        "js_stream_subjects",
        "js_stream_max_age",
        "js_stream_max_msgs",
        "js_stream_max_bytes",
        "drain_delay",
        "drain_timeout",
    }
)
OVERRIDABLE = tuple(name for name in Settings.model_fields if name not in OWNED_BY_OPERATOR | OWNED_BY_SPEC)
"""Settings fields that `spec.overrides` may set, in the order of the settings class."""

_BYTE_FIELDS = frozenset(name for name in OVERRIDABLE if name.endswith(("_bytes", "memory_limit")))


def _not_above(low: float | None, high: float | None) -> bool:
    return low is None or high is None or low <= high


def _goroutines_needed(own: Any) -> int | None:
    if own.max_connections is None:
        return None
    return 2 * int(own.max_connections) + int(own.worker_pool_size or 0) + 20


class OverridesBase(SpecModel):
    """Settings of the node that replace what the sizing rules compute."""

    RULES: ClassVar = (
        Rule(
            "!has(self.cpuRejectThreshold) || !has(self.cpuPauseThreshold) || "
            "self.cpuRejectThreshold <= self.cpuPauseThreshold",
            lambda own: _not_above(own.cpu_reject_threshold, own.cpu_pause_threshold),
            "cpuRejectThreshold must not be above cpuPauseThreshold",
            ".cpuRejectThreshold",
        ),
        Rule(
            "!has(self.maxGoroutines) || !has(self.maxConnections) || self.maxGoroutines >= "
            "2 * self.maxConnections + (has(self.workerPoolSize) ? self.workerPoolSize : 0) + 20",
            lambda own: _not_above(_goroutines_needed(own), own.max_goroutines),
            "maxGoroutines must be at least twice maxConnections + workerPoolSize + 20",
            ".maxGoroutines",
        ),
    )

    def settings(self) -> dict[str, Any]:
        """Settings field -> value, of those that the user set."""
        return {name: getattr(self, name) for name in OVERRIDABLE if getattr(self, name) is not None}


def _bounds(field: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in field.metadata:
        for kind, key in ((annotated_types.Ge, "ge"), (annotated_types.Gt, "gt"), (annotated_types.Le, "le")):
            if isinstance(item, kind):
                found[key] = getattr(item, key)
        if isinstance(item, annotated_types.Interval):
            found |= {key: getattr(item, key) for key in ("ge", "gt", "le") if getattr(item, key) is not None}
    return found


def _pattern(field: FieldInfo) -> str | None:
    return next((item.pattern for item in field.metadata if getattr(item, "pattern", None)), None)


def _is_duration(field: FieldInfo) -> bool:
    return any(
        getattr(getattr(item, "func", None), "__name__", "") == "parse_duration" for item in field.metadata
    )


def _override_type(name: str, field: FieldInfo) -> Any:
    """The type of an override: a quantity for bytes and durations, else the setting's own with its bounds."""
    bounds = _bounds(field)
    if name in _BYTE_FIELDS:
        return Annotated[int, Quantity(BYTES, bounds["ge"], bounds["le"])]
    if _is_duration(field):
        return Annotated[float, Quantity(DURATION, bounds["ge"], bounds["le"])]
    if get_origin(field.annotation) is tuple:
        return Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=253)]], Field(max_length=64)
        ]
    if get_origin(field.annotation) is Literal:
        return Literal[get_args(field.annotation)]
    if field.annotation is str:
        return Annotated[str, StringConstraints(max_length=255, pattern=_pattern(field))]
    return Annotated[field.annotation, Field(**bounds)]


def _override_field(name: str) -> tuple[Any, Any]:
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    live = isinstance(extra, dict) and extra["live"]
    when = "applies to running nodes at once" if live else "a change replaces the pods, one by one"
    return (
        _override_type(name, field) | None,
        Field(default=None, description=f"{env_name(name)}: {field.description}; {when}"),
    )


if TYPE_CHECKING:
    Overrides = OverridesBase
else:
    Overrides = create_model(
        "Overrides",
        __base__=OverridesBase,
        __doc__=OverridesBase.__doc__,
        **{name: _override_field(name) for name in OVERRIDABLE},
    )
"""The model of `spec.overrides`: a field a setting, all absent by default."""
