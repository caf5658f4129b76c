"""The operator's own settings: variables WSFLEET_*, with the flags of `wsfleet operator` over them."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wsfleet.resources.context import PROMETHEUS

PREFIX = "WSFLEET_"
_PEER = {"namespaceSelector", "podSelector", "ipBlock"}


class OptionsError(ValueError):
    """A variable has a value that is not allowed; `problems` holds a line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _peers(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        peers = json.loads(value)
    except ValueError:
        peers = None
    if not isinstance(peers, list) or not all(isinstance(one, dict) and one.keys() <= _PEER for one in peers):
        raise ValueError("must be a JSON list of objects with namespaceSelector, podSelector or ipBlock")
    return tuple(peers)


class OperatorOptions(BaseModel):
    """Settings of one operator process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node_image: str = Field(
        default="wsfleet.local/wsnode:dev", min_length=1, description="image of fleets that name none"
    )
    namespaces: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        default=(), description="namespaces whose fleets are run, comma-separated; empty is all"
    )
    operator_namespace: str = Field(
        default="",
        description="namespace the operator runs in, let through to nodes' admin ports; empty is outside",
    )
    admin_peers: Annotated[tuple[Mapping[str, Any], ...], BeforeValidator(_peers)] = Field(
        default=(PROMETHEUS,),
        description="who else may reach nodes' admin ports: peers of a NetworkPolicy, a JSON list",
    )
    liveness: str = Field(
        default="http://0.0.0.0:8081/healthz", description="address of the liveness endpoint; empty is none"
    )
    metrics_port: int = Field(default=8080, ge=0, le=65_535, description="port of /metrics; 0 is none")
    tick_seconds: float = Field(default=5.0, ge=0.2, le=10, description="seconds between looks at a fleet")
    scrape_timeout_seconds: float = Field(
        default=2.0, ge=0.1, le=30, description="seconds a node has to answer"
    )
    scrape_round_seconds: float = Field(
        default=4.0, ge=0.1, le=60, description="seconds all nodes of a fleet have to answer"
    )
    reconcile_seconds: float = Field(
        default=60.0, ge=5, le=600, description="seconds after which a look at a fleet is given up"
    )
    rollouts_at_once: int = Field(
        default=5, ge=1, le=1000, description="fleets whose nodes may be replaced at the same time"
    )
    admin_via_proxy: bool = Field(
        default=False, description="reach nodes through the API server's pod proxy: for use from outside"
    )
    lease: str = Field(
        default="",
        max_length=63,
        description="name of the Lease, in the operator's namespace, whose holder acts; empty: this is the "
        "only operator",
    )
    lease_seconds: float = Field(
        default=10.0,
        ge=2,
        le=120,
        description="seconds after which another operator takes over from one that went without a word",
    )
    instance: str = Field(
        default_factory=socket.gethostname, min_length=1, description="name of this process in events"
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="least level logged"
    )
    log_format: str = Field(default="json", pattern="^(json|text)$", description="form of log lines")

    @model_validator(mode="after")
    def _lease_has_a_namespace(self) -> Self:
        if self.lease and not self.operator_namespace:
            raise ValueError(f"{PREFIX}LEASE={self.lease!r} needs {PREFIX}OPERATOR_NAMESPACE: where it is")
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **flags: Any) -> OperatorOptions:
        """Options of an environment; `flags` that are not None or empty win.

        Variables that look like ours and are not are left alone: Kubernetes puts WSFLEET_SERVICE_HOST
        and its like there for a Service named wsfleet.

        Raises:
            OptionsError: with a line for each problem, naming variable and value.
        """
        given = {name: environ[PREFIX + name.upper()] for name in cls.model_fields if _is_set(environ, name)}
        given |= {name: value for name, value in flags.items() if value not in (None, (), [])}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise OptionsError([_problem(item) for item in error.errors()]) from error


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(PREFIX + name.upper(), "") != ""


def _problem(item: Any) -> str:
    if not item["loc"]:
        return str(item["msg"])
    name = PREFIX + str(item["loc"][0]).upper()
    return f"{name}={item['input']!r}: {item['msg']}"
