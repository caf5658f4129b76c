"""What all models of the resource share: names as Kubernetes writes them, closed to unknown fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError


@dataclass(frozen=True)
class Rule:
    """A rule between fields, written twice: for the API server (CEL) and for Python.

    `path` is the field, from the object that bears the rule, that the message is about.
    """

    cel: str
    holds: Callable[[Any], bool]
    message: str
    path: str


class SpecModel(BaseModel):
    """A part of what the user writes; an unknown field is an error that names it."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in self.RULES:
            if not rule.holds(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message, "path": rule.path})
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        reference = handler(schema)
        if cls.RULES:
            handler.resolve_ref_schema(reference)["x-kubernetes-validations"] = [
                {
                    "rule": rule.cel,
                    "message": rule.message,
                    "fieldPath": rule.path,
                    "reason": "FieldValueInvalid",
                }
                for rule in cls.RULES
            ]
        return reference


class StatusModel(BaseModel):
    """A part of what the operator writes; fields of another release's operator are dropped."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True
    )


def section(model: type[BaseModel], description: str) -> Any:
    """A field that is there with all its defaults when the user leaves it out.

    `default: {}` in the schema makes the API server fill in the defaults of the fields inside.
    """
    return Field(default_factory=model, description=description, json_schema_extra={"default": {}})


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[
    datetime,
    PlainSerializer(_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment, to the second, as Kubernetes writes it (`2026-01-31T08:00:00Z`)."""
