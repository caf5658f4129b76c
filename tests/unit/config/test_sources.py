"""Environment and settings file: which wins, what a file may say, what is told of a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.config import Settings, SettingsError, settings_from_env
from wsnode.config.sources import (
    MAX_FILE_BYTES,
    load_from_environment,
    load_settings,
    masked_env,
    parse_settings_file,
    read_settings_file,
    suspicious_names,
)


def problems_of(environ: dict[str, str], content: bytes | None) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load_settings(environ, content)
    return refused.value.problems


def test_the_file_is_over_the_environment_and_that_over_the_defaults() -> None:
    loaded = load_settings(
        {"WS_MAX_CHANNELS": "7", "WS_DRAIN_RATE": "5", "PATH": "/bin"}, b"# live\n\nWS_DRAIN_RATE = 9\r\n"
    )
    assert (loaded.settings.max_channels, loaded.settings.drain_rate) == (7, 9.0)
    origins = {field: loaded.origins[field] for field in ("max_channels", "drain_rate", "log_level")}
    assert origins == {"max_channels": "environment", "drain_rate": "file", "log_level": "default"}


def test_the_hash_is_of_the_file_s_bytes_and_empty_without_one() -> None:
    # printf 'LOG_LEVEL=debug\n' | sha256sum | cut -c1-16
    assert load_settings({}, b"LOG_LEVEL=debug\n").file_hash == "4bf5eb77105d76a0"
    assert load_settings({}, None).file_hash == ""


def test_a_value_may_hold_equals_signs_and_hashes() -> None:
    assert parse_settings_file(b"WS_ALLOWED_ORIGINS=https://a.test/?b=c#d\n") == {
        "WS_ALLOWED_ORIGINS": "https://a.test/?b=c#d"
    }


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_settings_file(b"\xef\xbb\xbfLOG_LEVEL=debug\n") == {"LOG_LEVEL": "debug"}


def test_bad_lines_are_named_by_number() -> None:
    assert problems_of({}, b"LOG_LEVEL debug\nLOG_LEVEL=info\nLOG_LEVEL=debug\n=3\n") == [
        "line 1 is 'LOG_LEVEL debug': must be NAME=value",
        "line 3 names LOG_LEVEL a second time: must be named once",
        "line 4 is '=3': must be NAME=value",
    ]


def test_what_is_not_utf_8_is_refused() -> None:
    assert problems_of({}, b"LOG_LEVEL=\xff") == ["the file is not UTF-8 at byte 10"]


def test_unknown_names_in_the_file_are_refused_and_in_the_environment_are_others() -> None:
    assert problems_of({"WS_OTHER": "1"}, b"WS_MAXCONNECTIONS=5\nHOME=/\n") == [
        "HOME is not a setting of this node",
        "WS_MAXCONNECTIONS is not a setting of this node",
    ]


def test_a_fixed_setting_may_only_stand_in_the_file_with_the_value_in_force() -> None:
    environ = {"WS_ADDR": ":4000", "JS_STREAM_MAX_AGE": "60s"}
    assert load_settings(environ, b"WS_ADDR=:4000\nJS_STREAM_MAX_AGE=1m\n").settings.addr == ":4000"
    assert problems_of(environ, b"WS_ADDR=:4001\n") == [
        "WS_ADDR=':4001': can't change while the node runs, must be ':4000' or left out"
    ]


def test_the_environment_need_not_be_consistent_without_its_file() -> None:
    environ = {"WS_MAX_CONNECTIONS": "20000"}
    assert load_settings(environ, b"WS_MAX_GOROUTINES=60000\n").settings.max_goroutines == 60_000


def test_all_problems_of_a_file_are_told_together() -> None:
    assert problems_of({}, b"WS_NOPE=1\nWS_MAX_CHANNELS=0\n") == [
        "WS_NOPE is not a setting of this node",
        "WS_MAX_CHANNELS='0': input should be greater than or equal to 1",
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "settings.env")
    with pytest.raises(SettingsError) as refused:
        load_from_environment({"WS_SETTINGS_FILE": path})
    assert refused.value.problems == [f"WS_SETTINGS_FILE={path!r}: No such file or directory"]


def test_a_file_is_read_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_text("WS_MAX_CHANNELS=3\n")
    assert load_from_environment({"WS_SETTINGS_FILE": str(path)}).settings.max_channels == 3
    assert load_from_environment({}).settings == Settings()


def test_a_file_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SettingsError, match="must not be above 1000000 bytes"):
        read_settings_file(str(path))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://broker:4222", "nats://broker:4222"),
        ("nats://user:secret@broker:4222", "nats://***@broker:4222"),
        ("nats://token@a:4222,tls://u:p@b:4222", "nats://***@a:4222,tls://***@b:4222"),
        ("user:secret@broker:4222", "***@broker:4222"),
        ("nats://u:p@ss@broker:4222", "nats://***@broker:4222"),
        ("nats://u:p/x@broker:4222", "nats://***@broker:4222"),
    ],
)
def test_secrets_in_a_broker_s_address_are_masked(url: str, shown: str) -> None:
    assert masked_env(settings_from_env({"NATS_URL": url}))["NATS_URL"] == shown


def test_misspelt_variables_are_noticed_and_those_of_services_are_not() -> None:
    environ = {
        "WS_MAX_CONECTIONS": "1",
        "LOG_LEVL": "debug",
        "WS_SERVICE_HOST": "10.0.0.1",
        "WS_PORT_80_TCP_ADDR": "10.0.0.1",
        "WS_ADDR": ":1",
        "HOME": "/",
    }
    assert suspicious_names(environ) == {"LOG_LEVL": "LOG_LEVEL", "WS_MAX_CONECTIONS": "WS_MAX_CONNECTIONS"}


@given(st.binary(max_size=200))
def test_any_bytes_give_settings_or_a_list_of_problems(content: bytes) -> None:
    problems: list[str] = []
    try:
        load_settings({}, content)
    except SettingsError as error:
        problems = error.problems or [""]
    assert all(problem and "\n" not in problem for problem in problems)
