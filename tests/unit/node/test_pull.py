"""What the broker says in a delivery's reply subject, and of its stream."""

from __future__ import annotations

import pytest

from wsnode.config import Settings
from wsnode.feed_stream import epoch_of
from wsnode.jetstream import StreamInfo, stream_problem, wanted_stream
from wsnode.pull import NotDeliveryError, parse_headers, parse_reply


def test_both_forms_of_the_reply_subject() -> None:
    plain = b"$JS.ACK.S.c.1.456.7.1700000000123456789.89"
    assert parse_reply(plain) == (456, 7, 1_700_000_000_123, 89)
    with_domain = b"$JS.ACK.hub.hash.S.c.1.456.7.1700000000123456789.89.rnd"
    assert parse_reply(with_domain) == (456, 7, 1_700_000_000_123, 89)
    assert parse_reply(b"$JS.ACK._.hash.S.c.1.456.7.1700000000123456789.89") == (
        456,
        7,
        1_700_000_000_123,
        89,
    )


@pytest.mark.parametrize("reply", ["", "_INBOX.x", "$JS.ACK.S.c.1.2", "$JS.API.S.c.1.456.7.1.89"])
def test_other_subjects_are_no_deliveries(reply: str) -> None:
    with pytest.raises(NotDeliveryError):
        parse_reply(reply.encode())


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        (None, {}),
        (b"", {}),
        (b"NATS/1.0\r\nWs-Type: a:b\r\nX:  y \r\n\r\n", {"Ws-Type": "a:b", "X": "y"}),
        (b"NATS/1.0\r\nWs-Type: a:b\r\nWs-Type: c:d\r\n\r\n", {"Ws-Type": "a:b"}),
        (b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", {"Status": "100", "Description": "Idle Heartbeat"}),
        (
            b"NATS/1.0 409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 5\r\n\r\n",
            {
                "Status": "409",
                "Description": "Message Size Exceeds MaxBytes",
                "Nats-Pending-Messages": "5",
            },
        ),
        (b"NATS/1.0 404\r\n\r\n", {"Status": "404", "Description": ""}),
        (b"\xff\xfe\r\nno colon\r\n\r\n", {}),
    ],
)
def test_headers_as_nats_has_them(header: bytes | None, fields: dict[str, str]) -> None:
    assert parse_headers(header) == fields


def _info(last: int = 5, **config: object) -> StreamInfo:
    return StreamInfo("2026-01-01T00:00:00Z", 1, last, 5, {"subjects": ["odin.token.>"]} | config)


def test_what_a_stream_must_be() -> None:
    settings = Settings()
    assert stream_problem(_info(), settings) is None
    assert stream_problem(_info(**wanted_stream(settings)), settings) is None
    for subjects in (["odin.>"], [">"], ["*.token.>"], ["x.y", "odin.token.>"]):
        assert stream_problem(_info(subjects=subjects), settings) is None
    for subjects in (["odin.*"], ["odin.token.a.>"], ["odin.token"], []):
        assert stream_problem(_info(subjects=subjects), settings)
    assert stream_problem(_info(subjects=None, mirror={"name": "M"}), settings) is None
    problem = stream_problem(_info(last=2**53), settings)
    assert problem
    assert "JavaScript" in problem
    assert stream_problem(_info(last=2**53 - 2), settings) is None


def test_an_epoch_is_of_the_name_and_the_creation() -> None:
    assert epoch_of("S", "2026-01-01T00:00:00Z") == epoch_of("S", "2026-01-01T00:00:00Z")
    others = {epoch_of("S", "2026-01-01T00:00:01Z"), epoch_of("T", "2026-01-01T00:00:00Z")}
    assert epoch_of("S", "2026-01-01T00:00:00Z") not in others
    assert len(epoch_of("S", "x")) == 16
