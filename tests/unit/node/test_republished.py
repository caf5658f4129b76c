"""What a server says of a republished message, and what of a stream's republishing can be used."""

from __future__ import annotations

from typing import Any

import pytest

from wsnode.config import Settings
from wsnode.jetstream import StreamInfo, republish_problem, wanted_stream
from wsnode.republished import parse_republished

PLAIN = (
    b"NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: odin.token.BTC.trade\r\nNats-Sequence: 7\r\n"
    b"Nats-Time-Stamp: %b\r\nNats-Last-Sequence: 3\r\n\r\n"
)
SETTINGS = Settings(republish_subject="ws.live.>")


@pytest.mark.parametrize(
    ("moment", "ts_ms"),
    [
        (b"2026-11-25T09:50:54.92673979Z", 1_795_600_254_926),
        (b"2026-11-25T09:50:54.9Z", 1_795_600_254_900),
        (b"2026-11-25T09:50:54Z", 1_795_600_254_000),
        (b"2026-11-25T09:50:54.000999999Z", 1_795_600_254_000),
    ],
)
def test_where_a_message_stands(moment: bytes, ts_ms: int) -> None:
    message = parse_republished(PLAIN % moment, b"1")
    assert (message.stream, message.seq, message.ts_ms) == ("S", 7, ts_ms)
    assert (message.subject, message.data) == ("odin.token.BTC.trade", b"1")
    assert message.headers == {"Nats-Last-Sequence": "3"}


def test_the_server_has_the_last_word() -> None:
    forged = b"NATS/1.0\r\nNats-Sequence: 77\r\nWs-Type: a:b\r\nNats-Stream: X\r\nWs-Type: c:d\r\n"
    message = parse_republished(forged + (PLAIN % b"2026-11-25T09:50:54Z").partition(b"\r\n")[2], b"1")
    assert (message.stream, message.seq, message.headers["Ws-Type"]) == ("S", 7, "a:b")


def test_a_message_whose_data_the_server_kept_back_is_not_whole() -> None:
    header = PLAIN % b"2026-11-25T09:50:54Z"
    kept_back = header.replace(b"Nats-Last", b"Nats-Msg-Size: 12\r\nNats-Last")
    assert not parse_republished(kept_back, b"").whole
    assert parse_republished(header, b"").whole
    assert parse_republished(kept_back, b"1").whole


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"NATS/1.0\r\n\r\n",
        PLAIN % b"yesterday",
        (PLAIN % b"2026-11-25T09:50:54Z").replace(b"7\r\n", b"x\r\n"),
        (PLAIN % b"2026-11-25T09:50:54Z").replace(b"Nats-Stream", b"Nats-River"),
    ],
)
def test_what_is_no_republished_message(header: bytes | None) -> None:
    with pytest.raises(ValueError):
        parse_republished(header, b"1")


def _problem(republish: dict[str, Any] | None, **config: Any) -> str | None:
    config = {"subjects": ["odin.token.>"], "republish": republish} | config
    return republish_problem(StreamInfo("x", 1, 5, 5, config), SETTINGS)


def test_what_a_stream_must_republish() -> None:
    assert _problem(wanted_stream(SETTINGS)["republish"]) is None
    assert _problem({"src": "odin.token.>", "dest": "ws.live.>"}) is None
    assert _problem({"dest": "ws.live.>"}) is None
    assert _problem({"src": ">", "dest": "ws.live.here.>"}) is None
    assert _problem(None) == "stream ODIN_TOKENS republishes nothing; `wsnode stream apply` makes it"
    assert _problem({"src": ">", "dest": "ws.>"}) == (
        "stream ODIN_TOKENS republishes on ws.>, not on ws.live.>"
    )
    assert _problem({"src": ">", "dest": "ws.live.>", "headers_only": True})
    # What is not republished leaves gaps that nothing tells from lost messages.
    assert _problem({"src": "odin.token.>", "dest": "ws.live.>"}, subjects=["odin.token.>", "x.>"]) == (
        "stream ODIN_TOKENS republishes odin.token.> only, and takes odin.token.>, x.>"
    )
    assert _problem({"src": "odin.token.>", "dest": "ws.live.>"}, subjects=None, mirror={"name": "M"})
    assert _problem({"src": ">", "dest": "ws.live.>"}, subjects=None, mirror={"name": "M"}) is None
