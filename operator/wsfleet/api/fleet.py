"""The resource as a whole, and errors in it as people read them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from wsfleet.api.base import Time
from wsfleet.api.spec import WsFleetSpec
from wsfleet.api.status import WsFleetStatus

GROUP = "wsfleet.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "WsFleet"
PLURAL = "wsfleets"

MAX_NAME_LENGTH = 47
"""Characters of a fleet's name: a ReplicaSet's pods are named `<name>-<hash 10>-<5>`, a label of 63."""
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


class InvalidFleetError(ValueError):
    """A WsFleet that the models refuse; `problems` holds a line for each, naming the field's path."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class ObjectMeta(BaseModel):
    """What the operator reads of an object's metadata."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN)
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class WsFleet(BaseModel):
    """A fleet of WebSocket nodes."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )

    api_version: Literal["wsfleet.io/v1alpha1"] = "wsfleet.io/v1alpha1"
    kind: Literal["WsFleet"] = "WsFleet"
    metadata: ObjectMeta
    spec: WsFleetSpec
    status: WsFleetStatus = Field(default_factory=WsFleetStatus)

    @classmethod
    def parse(cls, document: Any) -> WsFleet:
        """A fleet from the API server's or a file's object.

        Raises:
            InvalidFleetError: with a line for each problem, `spec.autoscaling.maxReplicas: Field required`.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InvalidFleetError([_problem(item) for item in error.errors()]) from error


def _problem(item: Any) -> str:
    path = ""
    for part in item["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    path += item.get("ctx", {}).get("path", "")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown field"
    return f"{path.lstrip('.') or 'object'}: {message}"
