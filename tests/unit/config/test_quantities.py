"""Durations, sizes, lists and addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.config.quantities import (
    format_duration,
    parse_address,
    parse_duration,
    parse_list,
    parse_on_off,
    parse_size,
    split_address,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("30s", 30.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1d", 86_400.0),
        ("1.5m", 90.0),
        (" 5s ", 5.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "5 s", "-5s", "5sec", "1m 30s", "1e3", "nan", "5s5", "٣s ", "1..5s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 30s, 500ms or 1m30s"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_a_duration_reads_back_to_the_millisecond(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_the_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    text = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"
    total = hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    assert parse_duration(text) == pytest.approx(total)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("52428800", 52_428_800),
        ("50Mi", 52_428_800),
        ("50MiB", 52_428_800),
        ("50M", 50_000_000),
        ("50MB", 50_000_000),
        ("1.5Gi", 1_610_612_736),
        ("64K", 64_000),
        ("64 Ki", 65_536),
        ("10B", 10),
        ("9007199254740993", 9_007_199_254_740_993),
        ("9" * 400, int("9" * 400)),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1T", "50mbit", "0x10", "1,5M", "inf"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number of bytes such as 52428800, 50Mi or 50M"):
        parse_size(text)


@given(st.integers(0, 2**50), st.sampled_from([("", 1), ("Ki", 2**10), ("Mi", 2**20), ("G", 10**9)]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: tuple[str, int]) -> None:
    if unit[0]:
        number %= 2**20
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]


@given(st.one_of(st.integers(), st.floats(), st.none(), st.lists(st.integers())))
def test_what_is_no_text_is_left_to_the_type(value: object) -> None:
    for parse in (parse_duration, parse_size, parse_list, parse_address):
        assert parse(value) is value


def test_lists_drop_what_is_empty() -> None:
    assert parse_list(" a, b,,c , ") == ("a", "b", "c")
    assert parse_list("") == ()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":3002", "", 3002),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:65535", "::1", 65_535),
        ("node.local:80", "node.local", 80),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert split_address(parse_address(text)) == (host, port)


@pytest.mark.parametrize("text", ["", "3002", ":", ":port", ":65536", "host", ":-1", "host:", ":²"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port or :port, with a port from 0 to 65535"):
        parse_address(text)


@pytest.mark.parametrize("text", ["on", "ON", " true ", "yes", "1"])
def test_on(text: str) -> None:
    assert parse_on_off(text) is True


@pytest.mark.parametrize("text", ["off", "Off", "false", "no", "0"])
def test_off(text: str) -> None:
    assert parse_on_off(text) is False


@pytest.mark.parametrize("text", ["", "2", "onn", "maybe"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(ValueError, match="must be on or off"):
        parse_on_off(text)
