"""Server-sent events as bytes, and as a browser reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.protocol import sse
from wsnode.protocol.forms import event_id


def _read(stream: bytes) -> tuple[list[tuple[str, str]], list[int]]:
    """Events (last event id, data) and retry times, by the HTML standard's "interpreting an event stream"."""
    events: list[tuple[str, str]] = []
    retries: list[int] = []
    last_id = ""
    data: list[str] = []
    text = stream.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if not line:
            if data:
                events.append((last_id, "\n".join(data)))
            data = []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id":
            last_id = value
        elif name == "retry":
            retries.append(int(value))
        else:
            assert name == "", line  # a comment
    return events, retries


def test_what_goes_over_the_wire() -> None:
    assert sse.event(b'{"seq":7}', event_id("5f3a", 7)) == b'id: 5f3a-7\ndata: {"seq":7}\n\n'
    assert sse.event(b'{"type":"pong"}') == b'data: {"type":"pong"}\n\n'
    assert sse.event(b'{\n"a":\r\n1\r}\n', "e-1") == b'id: e-1\ndata: {\ndata: "a":\ndata: 1\ndata: }\n\n'
    assert sse.retry(1500) == b"retry: 1500\n\n"
    assert sse.PING == b":\n\n"


def test_the_head() -> None:
    assert sse.response_head("https://a.example") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
        b"X-Accel-Buffering: no\r\nConnection: close\r\nVary: Origin\r\n"
        b"Access-Control-Allow-Origin: https://a.example\r\n\r\n"
    )
    assert b"Access-Control" not in sse.response_head(None)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("5f3a-7", ("5f3a", 7)),
        (" 5f3a-0\t", ("5f3a", 0)),
        ("node-a-5f3a-12", ("node-a-5f3a", 12)),
        ("e-9007199254740991", ("e", 2**53 - 1)),
        ("e-9007199254740992", None),
        ("e-\u0661", None),  # a digit, but not one of ours
        ("e--1", ("e-", 1)),
        ("e-1.0", None),
        ("e-", None),
        ("-5", None),
        ("5", None),
        ("", None),
        ("e 7", None),
        ("x" * 65 + "-1", None),
    ],
)
def test_ids_that_come_back(text: str, point: tuple[str, int] | None) -> None:
    assert sse.parse_last_event_id(text) == point


def test_a_stream_ends_with_the_time_to_come_back() -> None:
    assert sse.goodbye("reconnect;after=1234") == b"retry: 1234\n\n"
    assert sse.goodbye("too slow: messages were not read in time") == b""


@given(st.integers(0, 2**53 - 1), st.text("0123456789abcdef", min_size=1, max_size=32))
def test_an_id_says_where_it_was_given(seq: int, epoch: str) -> None:
    assert sse.parse_last_event_id(event_id(epoch, seq)) == (epoch, seq)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.text(max_size=8), st.integers()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner)),
    max_leaves=6,
)


@given(
    st.lists(st.tuples(_JSON, st.sampled_from([None, 1]), st.sampled_from(["\n", "\r\n", "\r"])), max_size=8)
)
def test_what_a_browser_reads_is_what_was_published(messages: list[tuple[Any, int | None, str]]) -> None:
    stream = sse.retry(5)
    for seq, (value, indent, line_end) in enumerate(messages):
        text = json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", line_end) + line_end
        stream += sse.event(text.encode(errors="surrogatepass"), event_id("e", seq)) + sse.PING
    events, retries = _read(stream)
    assert retries == [5]
    assert [(last_id, json.loads(data)) for last_id, data in events] == [
        (f"e-{seq}", value) for seq, (value, _, _) in enumerate(messages)
    ]
