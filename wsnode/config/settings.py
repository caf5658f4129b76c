"""Every setting of a node, typed, with bounds and units; the seed document's variables keep their names.

Sources: the seed's "Final Configuration" for the WS_*, JS_* and LOG_* variables it names; the
others are this node's own. A field's variable is WS_ + its name, save for the JS_, NATS_ and
LOG_ families, which go without the prefix.
"""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from wsnode.config.quantities import Address, Bytes, CommaList, OnOff, Seconds

_UNPREFIXED_FAMILIES = ("js_", "nats_", "log_")
_SUBJECT = re.compile(r"[^\s.*>]+(?:\.[^\s.*>]+)*\.>")


class SettingsError(ValueError):
    """A setting has a value that is not allowed; `problems` holds a line for each, naming its variable."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def _live(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"live": True}, **bounds)


def _fixed(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"live": False}, **bounds)


class Settings(BaseModel):
    """All settings of one node. Immutable: a changed file gives a new object."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # Limits of the instance (seed, "Instance resource limits").
    cpu_limit: float = _live(
        1.8, "CPU the node may use, in cores; CPU percentages are of this", gt=0, le=1024
    )
    memory_limit: Bytes = _live(1879048192, "memory the node may use, in bytes", ge=32 * 2**20, le=2**50)

    # Capacity (seed, sections 1 to 4).
    max_connections: int = _live(10_000, "client connections accepted at most", ge=1, le=1_000_000)
    worker_pool_size: int = _live(256, "shards that one broadcast is cut into", ge=1, le=65_536)
    worker_queue_size: int = _live(25_600, "broadcast jobs that may wait", ge=1, le=10_000_000)
    max_goroutines: int = _live(
        25_000,
        "units of concurrent work at most: two a connection, one a shard, one a task",
        ge=4,
        le=4_000_000,
    )

    # Rates and thresholds (seed, sections 5 to 8).
    max_nats_rate: float = _live(
        0, "messages taken from NATS a second at most; 0 is unlimited", ge=0, le=10**9
    )
    max_broadcast_rate: float = _live(
        0, "frames sent to clients a second at most; 0 is unlimited", ge=0, le=10**9
    )
    cpu_reject_threshold: float = _live(75.0, "CPU % above which new connections are refused", ge=1, le=94)
    cpu_pause_threshold: float = _live(80.0, "CPU % above which reading from NATS pauses", ge=2, le=99)
    max_connections_per_address: int = _live(
        0, "connections of one client address (IPv6: of a /64) at most; 0 is no limit", ge=0, le=1_000_000
    )

    # What one client may do.
    max_channels: int = _live(100, "channels one client may subscribe to", ge=1, le=10_000)
    max_message_bytes: Bytes = _live(
        65_536, "largest payload of a message, and largest frame of a client, in bytes", ge=1024, le=2**24
    )
    client_rate_burst: int = _live(100, "messages one client may send at once", ge=1, le=100_000)
    client_rate_per_second: float = _live(10.0, "messages a second one client may send", gt=0, le=100_000)
    client_buffer_bytes: Bytes = _live(131_072, "bytes that may wait for one slow client", ge=4096, le=2**28)
    client_buffer_total_bytes: Bytes = _live(
        268_435_456, "bytes that may wait for all slow clients together", ge=65_536, le=2**40
    )
    deflate: OnOff = _live(True, "compression for clients that offer it, made once for all of them")
    allowed_origins: CommaList = _live(
        (), "origins of pages that may connect, comma-separated; empty allows all"
    )

    # Signs of life.
    ping_interval: Seconds = _live(27.0, "seconds between pings to a client", ge=1, le=3600)
    ping_timeout: Seconds = _live(
        60.0, "seconds without a sign of life after which a client is gone", ge=2, le=7200
    )
    position_interval: Seconds = _live(5.0, "seconds between position messages", ge=1, le=300)
    handshake_timeout: Seconds = _live(10.0, "seconds a client has for its handshake", ge=0.5, le=300)
    close_timeout: Seconds = _live(2.0, "seconds a client has to answer a close frame", ge=0.1, le=60)

    # Drain.
    drain_delay: Seconds = _live(
        10.0, "seconds a draining node goes on accepting, until endpoints forget it", ge=0, le=300
    )
    drain_rate: float = _live(
        100.0, "closes a second of a drain whose caller names no rate", gt=0, le=100_000
    )
    drain_timeout: Seconds = _live(300.0, "seconds after which a drain cuts who is left", ge=1, le=500)

    # Logging.
    log_level: Literal["debug", "info", "warning", "error"] = _live("info", "least level logged")
    log_format: Literal["json", "text"] = _fixed("json", "form of log lines")

    # Stream (seed, "JetStream config").
    feed: Literal["jetstream", "core"] = _fixed(
        "jetstream", "where messages come from: a JetStream stream, or core NATS, without resume elsewhere"
    )
    nats_url: str = _fixed("nats://127.0.0.1:4222", "servers of the broker, comma-separated", min_length=1)
    nats_credentials_file: str = _fixed("", "NATS credentials file; empty connects without")
    js_stream_name: str = _fixed(
        "ODIN_TOKENS", "JetStream stream read by the node", pattern=r"^[A-Za-z0-9_-]{1,255}$"
    )
    js_stream_subjects: CommaList = _fixed(
        ("odin.token.>",), "subjects of the stream, each ending in >; what > matches is the channel"
    )
    js_consumer_name: str = _fixed(
        "ws-server", "prefix of the node's consumer name in NATS", pattern=r"^[A-Za-z0-9_-]{1,64}$"
    )
    js_stream_max_age: Seconds = _fixed(30.0, "age at which the stream forgets messages", ge=1, le=86_400)
    js_stream_max_msgs: int = _fixed(100_000, "messages the stream keeps", ge=1, le=10**9)
    js_stream_max_bytes: Bytes = _fixed(52_428_800, "bytes the stream keeps", ge=1024, le=2**40)
    republish_subject: str = _fixed(
        "",
        "subject ending in > on which the stream republishes, read there by many nodes; empty for none",
        pattern=r"^([^\s.*>]+(\.[^\s.*>]+)*\.>)?$",
        max_length=255,
    )
    js_stream_replicas: int = _fixed(1, "copies of a stream that the node creates", ge=1, le=5)

    # Ports, files and processes.
    addr: Address = _fixed(":3002", "address of the client port")
    admin_addr: Address = _fixed(":9102", "address of the admin port")
    admin_token_file: str = _fixed(
        "", "file with the tokens that may drain and shed, one a line; empty allows nobody"
    )
    tls_cert_file: str = _fixed(
        "", "PEM file with the client port's certificate and its chain, watched; empty serves without TLS"
    )
    tls_key_file: str = _fixed("", "PEM file with the key of that certificate, watched")
    tls_min_version: Literal["1.2", "1.3"] = _fixed("1.2", "oldest version of TLS that clients may speak")
    settings_file: str = _fixed("", "file with live settings, watched; empty watches none")
    node_name: str = _fixed(socket.gethostname(), "name told in hello and logs", min_length=1, max_length=253)
    processes: int = _fixed(
        0, "processes that share the client port; 0 is one for each core begun of WS_CPU_LIMIT", ge=0, le=64
    )

    @field_validator("js_stream_subjects")
    @classmethod
    def _subjects_end_in_wildcard(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        if not subjects:
            raise ValueError("must name at least one subject")
        for subject in subjects:
            if not _SUBJECT.fullmatch(subject):
                raise ValueError(f"{subject!r} must be literal tokens followed by .>, such as odin.token.>")
        if len(set(subjects)) > 1:
            raise ValueError(
                "two subjects could give two streams of messages the same channel name: name one"
            )
        return subjects

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cpu_pause_threshold < self.cpu_reject_threshold:
            raise ValueError(
                f"WS_CPU_PAUSE_THRESHOLD ({self.cpu_pause_threshold:g}) must not be below "
                f"WS_CPU_REJECT_THRESHOLD ({self.cpu_reject_threshold:g})"
            )
        least = 2 * self.max_connections + self.worker_pool_size + 20
        if self.max_goroutines < least:
            raise ValueError(
                f"WS_MAX_GOROUTINES ({self.max_goroutines}) must be at least {least}: twice "
                f"WS_MAX_CONNECTIONS + WS_WORKER_POOL_SIZE + 20"
            )
        if self.ping_timeout <= self.ping_interval:
            raise ValueError(
                f"WS_PING_TIMEOUT ({self.ping_timeout:g}) must be above WS_PING_INTERVAL "
                f"({self.ping_interval:g})"
            )
        if self.drain_timeout < self.drain_delay:
            raise ValueError(
                f"WS_DRAIN_TIMEOUT ({self.drain_timeout:g}) must not be below WS_DRAIN_DELAY "
                f"({self.drain_delay:g})"
            )
        self._check_republishing()
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            missing = "WS_TLS_KEY_FILE" if self.tls_cert_file else "WS_TLS_CERT_FILE"
            raise ValueError(f"{missing} is missing: a certificate and its key go together")
        if self.client_buffer_total_bytes < self.client_buffer_bytes:
            raise ValueError("WS_CLIENT_BUFFER_TOTAL_BYTES must not be below WS_CLIENT_BUFFER_BYTES")
        return self

    def _check_republishing(self) -> None:
        if not self.republish_subject:
            return
        if self.feed == "core":
            raise ValueError("WS_REPUBLISH_SUBJECT needs the stream that WS_FEED=core does without")
        target = self.republish_subject.removesuffix(">")
        for subject in self.js_stream_subjects:
            source = subject.removesuffix(">")
            if source.startswith(target) or target.startswith(source):
                raise ValueError(
                    f"WS_REPUBLISH_SUBJECT ({self.republish_subject}) must not overlap JS_STREAM_SUBJECTS "
                    f"({subject}): messages would go in a circle"
                )

    def process_count(self, cores: int) -> int:
        """Processes that serve clients, on a machine of so many cores: more than those would not help."""
        return self.processes or max(1, min(math.ceil(self.cpu_limit), cores))

    def to_env(self, *, live: bool | None = None) -> dict[str, str]:
        """Variable -> text; `live` picks the live (True) or the fixed (False) ones, None all."""
        return {
            env_name(name): format_value(value)
            for name, value in self.model_dump().items()
            if live is None or (name in LIVE_FIELDS) is live
        }


def env_name(field: str) -> str:
    """The variable of a settings field: `max_connections` -> WS_MAX_CONNECTIONS, `log_level` -> LOG_LEVEL."""
    return field.upper() if field.startswith(_UNPREFIXED_FAMILIES) else "WS_" + field.upper()


def override_name(field: str) -> str:
    """The field's name in a WsFleet's `overrides`: `max_connections` -> maxConnections."""
    return to_camel(field)


def format_value(value: Any) -> str:
    """A value as it stands in a settings file; `settings_from_env` reads it back the same."""
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.1f}" if value == int(value) and 0 < value < 1000 else f"{value:.12g}"
    return str(value)


LIVE_FIELDS = frozenset(
    name
    for name, field in Settings.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["live"]
)
_FIELD_BY_ENV = {env_name(name): name for name in Settings.model_fields}


def settings_from_env(environ: Mapping[str, str], *, strict: bool = False) -> Settings:
    """Settings of an environment (or of a settings file's lines).

    `strict` refuses variables that look like ours and are not: right for a settings file; an
    environment may carry others' (Kubernetes puts NATS_PORT there for a Service named nats).

    Raises:
        SettingsError: with one line a problem: variable, value, what is allowed.
    """
    values = {field: environ[env] for env, field in _FIELD_BY_ENV.items() if env in environ}
    problems = [
        f"{name} is not a setting of this node"
        for name in sorted(environ)
        if strict and name not in _FIELD_BY_ENV
    ]
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [_problem_line(item) for item in error.errors()]
        raise SettingsError(problems) from error
    if problems:
        raise SettingsError(problems)
    return settings


def _problem_line(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:] if message.startswith("Input") else message
    if not error["loc"]:
        return str(message)
    return f"{env_name(str(error['loc'][0]))}={error['input']!r}: {message}"
