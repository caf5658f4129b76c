"""`spec.nats`, `spec.service`, `spec.tls`: where messages come from, and where clients come in."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from wsfleet.api.base import SpecModel, section
from wsfleet.api.quantities import BYTES, DURATION, Quantity
from wsfleet.api.template import AnnotationValue, QualifiedName, key_map, own_keys_refused

ObjectName = Annotated[str, StringConstraints(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]


class SecretKey(SpecModel):
    """One key of a Secret in the fleet's namespace."""

    name: ObjectName = Field(description="name of the Secret")
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = (
        Field(default="nats.creds", description="key that holds the credentials file")
    )


class Stream(SpecModel):
    """The JetStream stream. A node creates a missing one; a change here never changes one that exists."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$", max_length=255)] = Field(
        default="ODIN_TOKENS", description="name of the stream (JS_STREAM_NAME)"
    )
    subjects: list[
        Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*\.>$")]
    ] = Field(
        default=["odin.token.>"],
        min_length=1,
        max_length=1,
        description="subject of the stream, ending in >: what > matches is the channel",
    )
    max_age_seconds: Annotated[float, Quantity(DURATION, 1, 86_400)] = Field(
        default=30.0,
        alias="maxAge",
        description="age at which messages are forgotten; spec.overrides.jsStreamMaxAge wins over it",
        json_schema_extra={"default": "30s"},
    )
    max_messages: int = Field(
        default=100_000,
        ge=1,
        le=10**9,
        description="messages kept; spec.overrides.jsStreamMaxMsgs wins over it",
    )
    max_bytes: Annotated[int, Quantity(BYTES, 1024, 2**40)] = Field(
        default=50 * 2**20,
        description="bytes kept; spec.overrides.jsStreamMaxBytes wins over it",
        json_schema_extra={"default": "50Mi"},
    )


class Nats(SpecModel):
    """Where messages come from."""

    url: Annotated[
        str, StringConstraints(max_length=1024, pattern=r"^(nats|tls)://[^\s,@]+(,(nats|tls)://[^\s,@]+)*$")
    ] = Field(
        description="servers, comma-separated (nats://nats:4222); no password here, that is what "
        "credentialsSecret is for"
    )
    credentials_secret: SecretKey | None = Field(
        default=None, description="Secret with the NATS credentials file; absent connects without"
    )
    stream: Stream = section(Stream, "the JetStream stream that is read")


class Tls(SpecModel):
    """TLS ended in the nodes: clients come by wss:// and https://."""

    secret_name: ObjectName = Field(
        description="Secret with tls.crt (the chain) and tls.key, as cert-manager makes it; a renewed one is "
        "used for new connections without a restart"
    )


class ServiceSpec(SpecModel):
    """The Service that clients connect to."""

    RULES: ClassVar = (own_keys_refused("annotations"),)

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="kind of Service"
    )
    port: int = Field(default=80, ge=1, le=65_535, description="port of the Service")
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = Field(
        default=None, description="IP families; default the cluster's"
    )
    annotations: dict[QualifiedName, AnnotationValue] = key_map(
        "annotations, as a load balancer may want them"
    )
