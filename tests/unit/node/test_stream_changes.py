"""What a change of the stream would cost, against literal answers of the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from wsnode.config import Settings
from wsnode.stream_changes import Change, compare

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
SECOND = 1_000_000_000
CONFIG: dict[str, Any] = {
    "name": "ODIN_TOKENS",
    "subjects": ["odin.token.>"],
    "retention": "limits",
    "storage": "file",
    "discard": "old",
    "max_age": 30 * SECOND,
    "max_msgs": 100_000,
    "max_bytes": 52_428_800,
    "num_replicas": 1,
    "duplicate_window": 30 * SECOND,
    "max_msg_size": 70_000,
}
STATE: dict[str, Any] = {"messages": 10, "bytes": 4000, "first_ts": "2026-01-01T11:59:50.123456789Z"}


def info(state: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    return {"config": CONFIG | config, "state": STATE | (state or {})}


def test_a_stream_as_the_settings_ask_differs_in_nothing() -> None:
    found = compare(Settings(), info(), NOW)
    assert found.differences == ()
    assert found.config == CONFIG


@pytest.mark.parametrize(
    ("settings", "config", "state", "told"),
    [
        ({}, {"max_age": 0}, {}, ("JS_STREAM_MAX_AGE", "unlimited", "30 s", "possible")),
        ({"js_stream_max_age": 5.0}, {}, {}, ("JS_STREAM_MAX_AGE", "30 s", "5 s", "loses")),
        ({"js_stream_max_age": 10.0}, {}, {}, ("JS_STREAM_MAX_AGE", "30 s", "10 s", "possible")),
        ({}, {"max_msgs": -1}, {}, ("JS_STREAM_MAX_MSGS", "unlimited", "100000", "possible")),
        ({"js_stream_max_msgs": 9}, {}, {}, ("JS_STREAM_MAX_MSGS", "100000", "9", "loses")),
        ({"js_stream_max_msgs": 10}, {}, {}, ("JS_STREAM_MAX_MSGS", "100000", "10", "possible")),
        ({"js_stream_max_bytes": 3999}, {}, {}, ("JS_STREAM_MAX_BYTES", "52428800", "3999", "loses")),
        ({"js_stream_max_bytes": 4000}, {}, {}, ("JS_STREAM_MAX_BYTES", "52428800", "4000", "possible")),
        ({}, {"discard": "new"}, {}, ("discard", "new", "old", "loses")),
        ({}, {"storage": "memory"}, {}, ("storage", "memory", "file", "impossible")),
        ({}, {"retention": "workqueue"}, {}, ("retention", "workqueue", "limits", "impossible")),
        ({"js_stream_replicas": 3}, {}, {}, ("JS_STREAM_REPLICAS", "1", "3", "possible")),
        (
            {"republish_subject": "live.>"},
            {},
            {},
            ("WS_REPUBLISH_SUBJECT", "nothing", "> on live.>", "possible"),
        ),
        (
            {"republish_subject": "live.>"},
            {"republish": {"src": "a.>", "dest": "b.>"}},
            {},
            ("WS_REPUBLISH_SUBJECT", "a.> on b.>", "> on live.>", "loses"),
        ),
    ],
)
def test_each_difference_says_what_its_change_costs(
    settings: dict[str, Any],
    config: dict[str, Any],
    state: dict[str, Any],
    told: tuple[str, str, str, Change],
) -> None:
    found = compare(Settings(**settings), info(state, **config), NOW)
    (one,) = found.differences
    assert (one.name, one.found, one.wanted, one.change) == told
    assert bool(one.note) is (one.change != "possible")


def test_what_is_lost_is_told_in_words() -> None:
    asked = Settings(js_stream_max_age=5.0, js_stream_max_msgs=4, js_stream_max_bytes=1024)
    assert [one.note for one in compare(asked, info(), NOW).differences] == [
        "messages above the age go: the oldest is 10 s old",
        "the oldest 6 of 10 messages go",
        "the oldest messages go, until 4000 bytes are 1024",
    ]


def test_an_empty_stream_loses_nothing_by_lower_limits() -> None:
    asked = Settings(js_stream_max_age=5.0, js_stream_max_msgs=4, js_stream_max_bytes=1024)
    nothing = {"messages": 0, "bytes": 0, "first_ts": "0001-01-01T00:00:00Z"}
    assert {one.change for one in compare(asked, info(nothing), NOW).differences} == {"possible"}


def test_the_window_of_duplicates_follows_a_lower_age_and_the_rest_stays_as_it_is() -> None:
    changed = compare(Settings(js_stream_max_age=5.0), info(), NOW).config
    assert changed == CONFIG | {"max_age": 5 * SECOND, "duplicate_window": 5 * SECOND}


@pytest.mark.parametrize(
    ("subjects", "after"),
    [
        (["odin.news.>"], ["odin.news.>", "odin.token.>"]),
        (["odin.token.BTC.*", "x"], ["x", "odin.token.>"]),
        (["odin.>"], None),
        ([">"], None),
    ],
)
def test_subjects_of_others_stay(subjects: list[str], after: list[str] | None) -> None:
    found = compare(Settings(), info(subjects=subjects), NOW)
    assert bool(found.differences) is (after is not None)
    assert found.config["subjects"] == (after or subjects)


def test_a_stream_that_others_feed_needs_no_subjects() -> None:
    assert compare(Settings(), info(subjects=None, sources=[{"name": "A"}]), NOW).differences == ()
