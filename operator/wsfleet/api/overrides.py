"""`spec.overrides`: the node's settings that are the user's to set, made from the settings class itself.

Every setting is among them, save for those that the operator must decide itself. An override is the
last word: it also wins over the field of its own that some settings have in `spec.drain` and
`spec.nats.stream`, and a note of the plan says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

import annotated_types
from pydantic import Field, StringConstraints, create_model
from pydantic.fields import FieldInfo

from wsfleet.api.base import SpecModel
from wsfleet.api.override_rules import OVERRIDE_RULES
from wsfleet.api.quantities import BYTES, DURATION, Quantity
from wsnode.config import Settings, env_name

OWNED_BY_OPERATOR = frozenset(
    {
        "addr",
        "admin_addr",
        "admin_token_file",
        "settings_file",
        "tls_cert_file",
        "tls_key_file",
        "node_name",
        "processes",
        "nats_url",
        "nats_credentials_file",
        "js_stream_name",
        "js_stream_subjects",
    }
)
"""Settings that no override may touch: what the operator mounts and calls, and which stream is read."""
OVERRIDABLE = tuple(name for name in Settings.model_fields if name not in OWNED_BY_OPERATOR)
"""Settings fields that `spec.overrides` may set, in the order of the settings class."""

_BYTE_FIELDS = frozenset(name for name in OVERRIDABLE if name.endswith(("_bytes", "memory_limit")))


_SPEC_FIELDS = {
    "drain_delay": "spec.drain.delaySeconds",
    "drain_timeout": "spec.drain.timeoutSeconds",
    "js_stream_max_age": "spec.nats.stream.maxAge",
    "js_stream_max_msgs": "spec.nats.stream.maxMessages",
    "js_stream_max_bytes": "spec.nats.stream.maxBytes",
}
"""Settings that the resource has a field of its own for; an override wins over it."""

_LIMIT = (
    "applies to running nodes at once; above what spec.instance has available it raises the pods' own "
    "limit too, and that replaces them, one by one"
)
_STREAM = (
    "for a stream that a node creates, one that exists is left as it is; a change replaces the pods, "
    "one by one"
)
_WHEN = {
    "cpu_limit": _LIMIT,
    "memory_limit": _LIMIT,
    "drain_timeout": "not raised to what a full node needs; applies to running nodes at once",
    "js_stream_max_age": _STREAM,
    "js_stream_max_msgs": _STREAM,
    "js_stream_max_bytes": _STREAM,
    "republish_subject": _STREAM,
}


class OverridesBase(SpecModel):
    """Settings of the node that replace what the sizing rules and other parts of the spec give."""

    RULES: ClassVar = OVERRIDE_RULES

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


def _description(name: str, field: FieldInfo) -> str:
    extra = field.json_schema_extra
    live = isinstance(extra, dict) and extra["live"]
    by_kind = "applies to running nodes at once" if live else "a change replaces the pods, one by one"
    text = f"{env_name(name)}: {field.description}; {_WHEN.get(name, by_kind)}"
    return f"{text}; wins over {_SPEC_FIELDS[name]}" if name in _SPEC_FIELDS else text


def _override_field(name: str) -> tuple[Any, Any]:
    field = Settings.model_fields[name]
    return (
        _override_type(name, field) | None,
        Field(default=None, description=_description(name, field)),
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
