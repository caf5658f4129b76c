"""Every bound of the settings, and the lines that a user reads when one is broken."""

from __future__ import annotations

import math
from typing import Any

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wsnode.config import LIVE_FIELDS, Settings, SettingsError, env_name, override_name, settings_from_env

# Field -> least and most, both allowed; None where only the type bounds it. Literal on purpose: a
# changed bound has to be changed here too.
BOUNDS: dict[str, tuple[float, float]] = {
    "cpu_limit": (0.000001, 1024),
    "memory_limit": (33_554_432, 2**50),
    "max_connections": (1, 1_000_000),
    "worker_pool_size": (1, 65_536),
    "worker_queue_size": (1, 10_000_000),
    "max_goroutines": (4, 4_000_000),
    "max_nats_rate": (0, 1e9),
    "max_broadcast_rate": (0, 1e9),
    "cpu_reject_threshold": (1, 94),
    "cpu_pause_threshold": (2, 99),
    "max_connections_per_address": (0, 1_000_000),
    "max_channels": (1, 10_000),
    "max_message_bytes": (1024, 2**24),
    "client_rate_burst": (1, 100_000),
    "client_rate_per_second": (0.000001, 100_000),
    "client_buffer_bytes": (4096, 2**28),
    "client_buffer_total_bytes": (65_536, 2**40),
    "ping_interval": (1, 3600),
    "ping_timeout": (2, 7200),
    "position_interval": (1, 300),
    "handshake_timeout": (0.5, 300),
    "close_timeout": (0.1, 60),
    "drain_delay": (0, 300),
    "drain_rate": (0.000001, 100_000),
    "drain_timeout": (1, 500),
    "js_stream_max_age": (1, 86_400),
    "js_stream_max_msgs": (1, 10**9),
    "js_stream_max_bytes": (1024, 2**40),
    "js_stream_replicas": (1, 5),
    "processes": (0, 64),
}
# What has to go with a value at its edge, so that only the bound itself is tested.
COMPANIONS: dict[str, dict[str, Any]] = {
    "max_connections": {"max_goroutines": 4_000_000},
    "worker_pool_size": {"max_goroutines": 4_000_000},
    "max_goroutines": {"max_connections": 1, "worker_pool_size": 1},
    "cpu_reject_threshold": {"cpu_pause_threshold": 99},
    "cpu_pause_threshold": {"cpu_reject_threshold": 1},
    "client_buffer_bytes": {"client_buffer_total_bytes": 2**40},
    "client_buffer_total_bytes": {"client_buffer_bytes": 4096},
    "ping_interval": {"ping_timeout": 7200},
    "ping_timeout": {"ping_interval": 1},
    "drain_delay": {"drain_timeout": 500},
    "drain_timeout": {"drain_delay": 0},
}
# The least value of max_goroutines is never enough: 2 connections' worth + a shard + 20.
CROSS_LIMITED = {("max_goroutines", 4)}


def build(field: str, value: Any) -> Settings:
    return Settings.model_validate({**COMPANIONS.get(field, {}), field: value})


@pytest.mark.parametrize(("field", "least", "most"), [(k, *v) for k, v in BOUNDS.items()])
def test_each_bound_is_allowed_and_what_lies_beyond_is_not(field: str, least: float, most: float) -> None:
    step = 1 if Settings.model_fields[field].annotation is int else 1e-7
    for edge, beyond in ((least, least - max(step, 1e-6)), (most, most + max(step, 1e-6))):
        if (field, edge) not in CROSS_LIMITED:
            assert getattr(build(field, edge), field) == edge
        with pytest.raises(ValidationError) as refused:
            build(field, beyond)
        assert {error["loc"] for error in refused.value.errors()} == {(field,)}


def test_the_table_of_bounds_names_every_number() -> None:
    numeric = {
        name
        for name, field in Settings.model_fields.items()
        if any(
            isinstance(m, annotated_types.Ge | annotated_types.Gt | annotated_types.Le)
            for m in field.metadata
        )
    }
    assert numeric == set(BOUNDS)


@pytest.mark.parametrize("field", sorted(BOUNDS))
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "", "many", "1e400"])
def test_what_is_no_usable_number_is_refused_by_name(field: str, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from_env({env_name(field): text})
    assert any(problem.startswith(f"{env_name(field)}={text!r}: ") for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"WS_MAX_CONNECTIONS": "abc"},
            "WS_MAX_CONNECTIONS='abc': input should be a valid integer, unable to parse string as an integer",
        ),
        ({"WS_MAX_CONNECTIONS": "0"}, "WS_MAX_CONNECTIONS='0': input should be greater than or equal to 1"),
        ({"WS_CPU_LIMIT": "0"}, "WS_CPU_LIMIT='0': input should be greater than 0"),
        ({"WS_PROCESSES": "65"}, "WS_PROCESSES='65': input should be less than or equal to 64"),
        (
            {"LOG_LEVEL": "loud"},
            "LOG_LEVEL='loud': input should be 'debug', 'info', 'warning' or 'error'",
        ),
        ({"WS_DEFLATE": "gzip"}, "WS_DEFLATE='gzip': must be on or off"),
        (
            {"WS_DRAIN_DELAY": "10 parsecs"},
            "WS_DRAIN_DELAY='10 parsecs': must be a duration such as 30s, 500ms or 1m30s",
        ),
        (
            {"JS_STREAM_MAX_BYTES": "50 mbit"},
            "JS_STREAM_MAX_BYTES='50 mbit': must be a number of bytes such as 52428800, 50Mi or 50M",
        ),
        ({"WS_ADDR": "3002"}, "WS_ADDR='3002': must be host:port or :port, with a port from 0 to 65535"),
        ({"WS_ADDR": ":65536"}, "WS_ADDR=':65536': must be host:port or :port, with a port from 0 to 65535"),
        (
            {"JS_STREAM_SUBJECTS": "odin.token.*"},
            "JS_STREAM_SUBJECTS='odin.token.*': 'odin.token.*' must be literal tokens followed by .>, "
            "such as odin.token.>",
        ),
        (
            {"JS_STREAM_SUBJECTS": "a.>,b.>"},
            "JS_STREAM_SUBJECTS='a.>,b.>': two subjects could give two streams of messages the same "
            "channel name: name one",
        ),
        ({"JS_STREAM_SUBJECTS": ","}, "JS_STREAM_SUBJECTS=',': must name at least one subject"),
        (
            {"WS_CPU_REJECT_THRESHOLD": "85"},
            "WS_CPU_PAUSE_THRESHOLD (80) must not be below WS_CPU_REJECT_THRESHOLD (85)",
        ),
        (
            {"WS_MAX_CONNECTIONS": "20000"},
            "WS_MAX_GOROUTINES (25000) must be at least 40276: twice WS_MAX_CONNECTIONS + "
            "WS_WORKER_POOL_SIZE + 20",
        ),
        ({"WS_PING_TIMEOUT": "27"}, "WS_PING_TIMEOUT (27) must be above WS_PING_INTERVAL (27)"),
        ({"WS_DRAIN_TIMEOUT": "5"}, "WS_DRAIN_TIMEOUT (5) must not be below WS_DRAIN_DELAY (10)"),
        (
            {"WS_CLIENT_BUFFER_TOTAL_BYTES": "100000"},
            "WS_CLIENT_BUFFER_TOTAL_BYTES must not be below WS_CLIENT_BUFFER_BYTES",
        ),
        (
            {"WS_FEED": "core", "WS_REPUBLISH_SUBJECT": "ws.live.>"},
            "WS_REPUBLISH_SUBJECT needs the stream that WS_FEED=core does without",
        ),
        (
            {"WS_REPUBLISH_SUBJECT": "odin.>"},
            "WS_REPUBLISH_SUBJECT (odin.>) must not overlap JS_STREAM_SUBJECTS (odin.token.>): "
            "messages would go in a circle",
        ),
        (
            {"WS_REPUBLISH_SUBJECT": "odin.token.live.>"},
            "WS_REPUBLISH_SUBJECT (odin.token.live.>) must not overlap JS_STREAM_SUBJECTS (odin.token.>): "
            "messages would go in a circle",
        ),
    ],
)
def test_the_line_names_variable_value_and_what_is_allowed(environ: dict[str, str], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from_env(environ)
    assert refused.value.problems == [line]


def test_every_problem_gets_its_line() -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from_env({"WS_MAX_CHANNELS": "0", "LOG_FORMAT": "xml", "WS_PORT": "1"}, strict=True)
    assert [problem.partition("=")[0] for problem in refused.value.problems] == [
        "WS_PORT is not a setting of this node",
        "WS_MAX_CHANNELS",
        "LOG_FORMAT",
    ]


def test_the_defaults_are_the_seed_s_final_configuration() -> None:
    values = Settings().to_env()
    assert {name: values[name] for name in SEED} == SEED


SEED = {
    "WS_CPU_LIMIT": "1.8",
    "WS_MEMORY_LIMIT": "1879048192",
    "WS_MAX_CONNECTIONS": "10000",
    "WS_WORKER_POOL_SIZE": "256",
    "WS_WORKER_QUEUE_SIZE": "25600",
    "WS_MAX_GOROUTINES": "25000",
    "WS_MAX_NATS_RATE": "0",
    "WS_MAX_BROADCAST_RATE": "0",
    "WS_CPU_REJECT_THRESHOLD": "75.0",
    "WS_CPU_PAUSE_THRESHOLD": "80.0",
    "JS_STREAM_NAME": "ODIN_TOKENS",
    "JS_CONSUMER_NAME": "ws-server",
    "JS_STREAM_MAX_AGE": "30s",
    "JS_STREAM_MAX_MSGS": "100000",
    "JS_STREAM_MAX_BYTES": "52428800",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "json",
}


def test_names_of_variables_and_overrides() -> None:
    assert env_name("max_connections") == "WS_MAX_CONNECTIONS"
    assert env_name("js_stream_max_age") == "JS_STREAM_MAX_AGE"
    assert env_name("nats_url") == "NATS_URL"
    assert env_name("log_level") == "LOG_LEVEL"
    assert override_name("max_connections_per_address") == "maxConnectionsPerAddress"


@pytest.mark.parametrize(
    ("processes", "cpu_limit", "cores", "count"),
    [
        (0, 1.8, 8, 2),
        (0, 1.0, 8, 1),
        (0, 0.5, 8, 1),
        (0, 3.2, 2, 2),
        (0, 1.8, 1, 1),
        (1, 3.2, 8, 1),
        (4, 0.5, 1, 4),
    ],
)
def test_a_process_for_each_core_begun_unless_a_number_is_set(
    processes: int, cpu_limit: float, cores: int, count: int
) -> None:
    assert Settings(processes=processes, cpu_limit=cpu_limit).process_count(cores) == count


def test_limits_and_rates_are_live_and_sockets_and_stream_are_not() -> None:
    assert {"max_connections", "drain_rate", "cpu_limit", "allowed_origins", "log_level"} <= LIVE_FIELDS
    assert not {"addr", "admin_addr", "nats_url", "js_stream_name", "node_name", "processes"} & LIVE_FIELDS


def test_live_and_fixed_together_are_all() -> None:
    settings = Settings()
    live, fixed = settings.to_env(live=True), settings.to_env(live=False)
    assert not live.keys() & fixed.keys()
    assert live | fixed == settings.to_env()


def settings_of_any_kind() -> st.SearchStrategy[Settings]:
    def whole(draw: Any) -> Settings:
        connections = draw(st.integers(1, 1_000_000))
        pool = draw(st.integers(1, 65_536))
        reject = draw(st.floats(1, 94))
        interval = draw(st.integers(1, 3_600_000)) / 1000
        return Settings(
            cpu_limit=draw(st.floats(0.01, 1024)),
            memory_limit=draw(st.integers(33_554_432, 2**50)),
            max_connections=connections,
            worker_pool_size=pool,
            max_goroutines=2 * connections + pool + 20,
            max_nats_rate=draw(st.floats(0, 1e9)),
            cpu_reject_threshold=reject,
            cpu_pause_threshold=draw(st.floats(max(reject, 2), 99)),
            ping_interval=max(interval, 1),
            ping_timeout=7200,
            close_timeout=draw(st.integers(100, 60_000)) / 1000,
            allowed_origins=tuple(draw(st.lists(st.from_regex(r"https://[a-z]{1,9}\.test", fullmatch=True)))),
        )

    return st.composite(whole)()


@given(settings_of_any_kind())
def test_settings_written_as_variables_read_back_the_same(settings: Settings) -> None:
    read = settings_from_env(settings.to_env(), strict=True)
    for name, value in settings:
        again = getattr(read, name)
        if isinstance(value, float):
            assert math.isclose(again, value, rel_tol=1e-11), name
        else:
            assert again == value, name
    assert settings_from_env(read.to_env(), strict=True) == read
