"""Log lines, their level, and the bound on what floods."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode import logs

log = logging.getLogger("wsnode.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("wsnode")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_the_values_beside_the_message() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", "node-1", stream)
    log.info('two\nlines "%s"', "x", extra=logs.fields(hash="abc", count=3, level="mine"))
    (line,) = lines(stream)
    assert str(line.pop("ts")).endswith("Z")
    assert line == {
        "level": "info",
        "logger": "wsnode.test",
        "node": "node-1",
        "message": 'two\nlines "x"',
        "hash": "abc",
        "count": 3,
    }


def test_an_exception_stays_in_its_line() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", "n", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    (line,) = lines(stream)
    assert str(line["error"]).endswith("ValueError: broken")


def test_the_level_changes_at_once_and_libraries_speak_from_warnings_on() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", "n", stream)
    log.debug("no")
    logs.set_level("debug")
    log.debug("yes")
    logs.set_level("error")
    log.warning("no")
    logging.getLogger("aiohttp.server").info("no")
    logging.getLogger("aiohttp.server").warning("library")
    assert [line["message"] for line in lines(stream)] == ["yes", "library"]


def test_text_for_people() -> None:
    stream = io.StringIO()
    logs.configure("info", "text", "n", stream)
    log.warning("slow client", extra=logs.fields(peer="1.2.3.4", reason="did not read", empty=""))
    assert stream.getvalue()[24:] == ' WARNING slow client peer=1.2.3.4 reason="did not read" empty=""\n'


def test_a_client_s_bytes_cannot_forge_a_line_or_steer_a_terminal() -> None:
    stream = io.StringIO()
    logs.configure("info", "text", "n", stream)
    log.info("from client", extra=logs.fields(sent="a\n2025 INFO forged \x1b[2J"))
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


@given(st.text(), st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.integers(), st.binary())))
def test_any_text_and_values_give_one_line(message: str, values: dict[str, object]) -> None:
    record = logging.LogRecord("wsnode", logging.INFO, "", 0, message, (), None)
    record.fields = values
    formatted = logs.JsonFormatter("n").format(record)
    assert "\n" not in formatted
    assert json.loads(formatted)["message"] == message
    assert len(logs.TextFormatter().format(record).splitlines()) == 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_kind_has_one_line_a_period_and_the_next_says_how_many_were_held_back() -> None:
    stream, clock = io.StringIO(), Clock()
    logs.configure("info", "json", "n", stream)
    limited = logs.RateLimited(log, 10.0, clock)
    for clock.now in (0.0, 1.0, 9.9, 10.0, 11.0, 25.0):
        limited.warning("payload", "bad payload", subject="a")
    limited.info("other", "another kind")
    assert [(line["message"], line.get("held_back")) for line in lines(stream)] == [
        ("bad payload", None),
        ("bad payload", 2),
        ("bad payload", 1),
        ("another kind", None),
    ]


def test_a_level_that_is_off_uses_up_nothing() -> None:
    stream = io.StringIO()
    logs.configure("error", "json", "n", stream)
    limited = logs.RateLimited(log, 10.0, Clock())
    assert limited.warning("kind", "held") is False
    logs.set_level("info")
    assert limited.warning("kind", "told") is True


def test_kinds_without_end_keep_memory_bounded() -> None:
    logs.configure("info", "json", "n", io.StringIO())
    limited = logs.RateLimited(log, 10.0, Clock())
    for number in range(3000):
        limited.info(f"kind {number}", "x")
    assert len(limited._kinds) == 1000
