"""Overrides: settings given by name in place of what the rules compute, checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import Inputs
from wsnode.config import Settings, env_name, override_name

_FIELD_BY_NAME = {
    name: field for field in Settings.model_fields for name in (field, override_name(field), env_name(field))
}


def read_overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings field -> value, from names as in a WsFleet (`maxConnections`), fields or variables.

    Raises:
        SizingError: for an unknown name, or a value out of the setting's own bounds.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _FIELD_BY_NAME:
            near = get_close_matches(name, [override_name(field) for field in Settings.model_fields], n=1)
            raise SizingError("overrides", name, "is not a setting" + (f"; meant {near[0]}?" if near else ""))
        field = _FIELD_BY_NAME[name]
        values[field] = _checked(field, value)
    return values


def _checked(field: str, value: Any) -> Any:
    try:
        return _adapter(field).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ").replace("Input should", "must")
        raise SizingError(f"overrides.{override_name(field)}", value, message) from error


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    return TypeAdapter(Settings.model_fields[field].rebuild_annotation())


# Setting -> the field of the spec that says the same, its value, and how it is shown.
_SPEC_FIELDS: dict[str, tuple[str, Callable[[Inputs], float], str]] = {
    "drain_delay": ("drain.delaySeconds", lambda inputs: inputs.drain.delay_seconds, "{:g} s"),
    "drain_timeout": ("drain.timeoutSeconds", lambda inputs: inputs.drain.timeout_seconds, "{:g} s"),
    "js_stream_max_age": ("nats.stream.maxAge", lambda inputs: inputs.stream.max_age_seconds, "{:g} s"),
    "js_stream_max_msgs": ("nats.stream.maxMessages", lambda inputs: inputs.stream.max_messages, "{:,}"),
    "js_stream_max_bytes": ("nats.stream.maxBytes", lambda inputs: inputs.stream.max_bytes, "{:,} bytes"),
}


def overruled(inputs: Inputs, overrides: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each override that wins over another value given elsewhere in the spec.

    The API server fills in defaults, so a field that holds its default counts as not given.
    """
    unsaid = Inputs()
    for field, (path, value_of, shown) in _SPEC_FIELDS.items():
        given = value_of(inputs)
        if field in overrides and given not in (overrides[field], value_of(unsaid)):
            wins, loses = shown.format(overrides[field]), shown.format(given)
            yield f"overrides.{override_name(field)} ({wins}) wins over {path} ({loses})"
