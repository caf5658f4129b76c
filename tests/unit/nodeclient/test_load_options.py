"""What a load run may be asked to do, and the one line a wrong wish is answered with."""

from __future__ import annotations

import random
import resource

import pytest

from wsnode.load_figures import Figures, Histogram, Snapshot
from wsnode.load_options import (
    LoadError,
    LoadOptions,
    Target,
    check_local_ports,
    expand_channels,
    parse_url,
    raise_descriptor_limit,
    seconds_of,
    span_of,
)
from wsnode.load_report import progress_line, summary
from wsnode.load_table import ClientTable
from wsnode.reconnect import after_seconds, jittered_seconds, retry_after_seconds


def test_a_url_is_taken_apart() -> None:
    assert parse_url("ws://10.0.0.1:3002/ws?x=1") == Target("10.0.0.1", 3002, "/ws?x=1", "10.0.0.1:3002")
    assert parse_url("ws://fleet.default") == Target("fleet.default", 80, "/", "fleet.default")
    assert parse_url("ws://[::1]:9/ws").host == "::1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a/ws",
        "https://a/ws",
        "ws://",
        "ws://a:0/",
        "ws://a:x/",
        "ws://a/ ws",
        "ws://u@a/",
        "ws://a/#f",
    ],
)
def test_a_bad_url_is_named(url: str) -> None:
    with pytest.raises(LoadError, match=r"^URL '") as caught:
        LoadOptions(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("connections", -1, "connections -1: must be between 0 and 1e+06"),
        ("rate", 0, "rate 0: must be between 0.1 and 100000"),
        ("rate", float("nan"), "rate nan: must be between 0.1 and 100000"),
        ("channels_each", 2, "channels each 2: must be between 1 and 1"),
        ("heartbeat", -1, "heartbeat -1: must be between 0 and 86400"),
        ("marks", (0,), "mark 0: must be between 1 and 1e+06"),
        ("channels", (), "channels: at least one is needed"),
        ("churn", (0, 1), "churn 0: must be between 0.01 and 86400"),
        ("churn", (15, 5), "churn 5: must be between 15 and 86400"),
    ],
)
def test_a_value_out_of_bounds_is_named(field: str, value: object, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        LoadOptions("ws://a/ws", **{field: value})  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_channels_are_expanded_once_each() -> None:
    assert expand_channels("BTC.trade, S{9..11}.x,BTC.trade") == ("BTC.trade", "S9.x", "S10.x", "S11.x")


@pytest.mark.parametrize("text", ["", "BTC", "BTC.*", "*", "A.b,,C.d", "A b.c", "S{3..1}.x", 'A."b', "A.>"])
def test_channels_that_no_node_has(text: str) -> None:
    with pytest.raises(LoadError, match=r"^channel"):
        expand_channels(text)


def test_a_time_is_read_with_its_unit() -> None:
    assert [seconds_of("hold", text) for text in ("30", "1m30s", "500ms")] == [30.0, 90.0, 0.5]
    with pytest.raises(LoadError, match=r"^hold 'soon': must be a duration"):
        seconds_of("hold", "soon")


def test_two_times_are_read_with_one_unit_or_two() -> None:
    texts = ("5-15s", "5s-15s", "500ms-2s", "5-15", "7s", "1.5-2m")
    assert [span_of("churn", text) for text in texts] == [
        (5.0, 15.0),
        (5.0, 15.0),
        (0.5, 2.0),
        (5.0, 15.0),
        (7.0, 7.0),
        (90.0, 120.0),
    ]
    for text in ("", "-", "5-", "-5s", "5-15-20s", "now-later"):
        with pytest.raises(LoadError):
            span_of("churn", text)


def test_patterns_are_channels_only_where_they_are_welcome() -> None:
    assert expand_channels("BTC.*, *.trade,*,A.b", patterns=True) == ("BTC.*", "*.trade", "*", "A.b")
    for text in ("A.*.b", "A.b*", "**", "*.", ".*", "A.b.*"):
        with pytest.raises(LoadError, match=r"^channel "):
            expand_channels(text, patterns=True)


def test_too_many_connections_for_this_machine_are_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_which: int, _limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (100, 1000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(LoadError, match=r"5064 file descriptors are needed and this process may open 1000"):
        raise_descriptor_limit(5000)
    with pytest.raises(LoadError, match=r"ports towards one target"):
        check_local_ports(1_000_000)


def test_after_comes_only_from_a_1012_that_names_it() -> None:
    assert after_seconds(1012, "reconnect;after=1500") == 1.5
    assert after_seconds(1012, "") is None
    assert after_seconds(1012, "reconnect;after=soon") is None
    assert after_seconds(1001, "reconnect;after=1500") is None
    assert after_seconds(1012, "reconnect;after=999999999") == 3600.0
    assert [retry_after_seconds(text) for text in ("7", None, "Wed, 21 Oct 2026 07:28:00 GMT")] == [
        7.0,
        0.0,
        0.0,
    ]


def test_the_jitter_stays_within_its_bounds() -> None:
    rng = random.Random(1)
    for attempt in range(1, 50):
        assert 1.0 <= jittered_seconds(attempt, rng) <= min(30.0, 2.0**attempt)
    assert 5.0 <= jittered_seconds(1, rng, retry_after=5, longest=0.2) <= 5.2


def test_percentiles_are_exact_to_a_bin() -> None:
    histogram = Histogram(1.0, 1000)
    assert histogram.percentiles(50) == {}
    for value in range(1, 101):
        histogram.add(value - 0.5)
    histogram.add(-3)
    histogram.add(5000)
    assert histogram.percentiles(50, 99) == {"p50": 50.0, "p99": 100.0, "max": 5000, "count": 102}


def test_marks_are_crossed_once() -> None:
    figures = Figures((2, 1, 2, 9))
    for _ in range(3):
        figures.opened()
    assert list(figures.marks) == ["1", "2"]


def test_clients_take_channels_in_turn_and_find_their_slot() -> None:
    table = ClientTable(5, 2)
    table.grow(4)
    assert [table.channels_of(client) for client in range(4)] == [[0, 1], [2, 3], [4, 0], [1, 2]]
    for client in range(4):
        slots = [table.slot(client, channel) for channel in table.channels_of(client)]
        assert slots == [client * 2, client * 2 + 1]
        others = set(range(-1, 5)) - set(table.channels_of(client))
        assert {table.slot(client, channel) for channel in others} == {-1}


def test_a_summary_says_whether_the_check_held() -> None:
    held = Snapshot(
        wanted=5, open=5, checked=True, nodes={"n": {"open": 5, "first_seen": 0.0}}, marks={"5": 1.0}
    )
    assert "OK: lost 0, doubled 0, reordered 0, unasked 0" in summary(held)
    assert "5 open at" in summary(held)
    broken = Snapshot(wanted=5, checked=True, lost=1, doubled=2)
    assert "BROKEN: lost 1, doubled 2, reordered 0, unasked 0" in summary(broken)
    assert progress_line(broken) == "    0 s  0/5 open  0 deliveries/s  lost 1  other faults 2"
    assert Snapshot.from_dict(broken.to_dict()) == broken
