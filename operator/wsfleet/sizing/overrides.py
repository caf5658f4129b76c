"""Overrides: settings given by name in place of what the rules compute, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wsfleet.sizing.errors import SizingError
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
    adapter: TypeAdapter[Any] = TypeAdapter(Settings.model_fields[field].rebuild_annotation())
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ").replace("Input should", "must")
        raise SizingError(f"overrides.{override_name(field)}", value, message) from error
