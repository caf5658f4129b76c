"""Client messages and the node's exact answers, as the protocol page says them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.protocol import answers, messages
from wsnode.protocol.envelope import data_text, is_json, message_type
from wsnode.protocol.messages import (
    ClientError,
    Heartbeat,
    Replay,
    Resume,
    Subscribe,
    Unsubscribe,
    parse_client_message,
    parse_query,
)


def _text(frame: bytes) -> bytes:
    return frame[2:] if frame[1] < 126 else frame[4:]


def test_what_clients_may_say() -> None:
    assert parse_client_message(b'{"type":"heartbeat","more":1}') == Heartbeat()
    assert parse_client_message(b'{"type":"subscribe","data":{"channels":["B.x","A.y","B.x"]}}') == Subscribe(
        ("B.x", "A.y")
    )
    assert parse_client_message(b'{"type":"unsubscribe","data":{"channels":[]}}') == Unsubscribe(())
    resume = {"epoch": "e", "seq": 123, "ts": 5, "channels": {"A.y": 2**53 - 1}}
    message = {"type": "subscribe", "data": {"channels": ["A.y"], "resume": resume}}
    assert parse_client_message(json.dumps(message).encode()) == Subscribe(
        ("A.y",), Resume("e", 123, {"A.y": 2**53 - 1}, ts_ms=5)
    )


@pytest.mark.parametrize("seq", [-1, 2**53, 1.0, "1", True, None, [1]])
def test_a_resume_sequence_is_an_integer_that_javascript_can_hold(seq: Any) -> None:
    for resume in ({"seq": seq}, {"channels": {"A.b": seq}}):
        message = {"type": "subscribe", "data": {"channels": ["A.b"], "resume": resume}}
        with pytest.raises(ClientError) as caught:
            parse_client_message(json.dumps(message).encode())
        assert caught.value.code == "INVALID_RESUME"


@pytest.mark.parametrize("name", ["BTC.trade", "A", "a.b.c", "\u00e4\u00f6.\u4e2d", "x" * 255, 'q"uote.\\'])
def test_channel_names(name: str) -> None:
    messages.check_channel(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 256,
        "a b",
        "a\tb",
        "a\nb",
        "a\x00",
        "\x7f",
        "\x85",
        "\u2028",
        "\u00a0",
        "*",
        "a.*",
        ">",
        "a.>",
        ".a",
        "a.",
        "a..b",
        ".",
    ],
)
def test_what_is_no_channel_name(name: str) -> None:
    with pytest.raises(ClientError) as caught:
        messages.check_channel(name)
    assert caught.value.code == "INVALID_CHANNEL"


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["type", "data", "channels", "resume", "seq", "x"]), inner, max_size=4
                )
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_anything_is_either_understood_or_answered(payload: bytes) -> None:
    try:
        parse_client_message(payload)
    except ClientError as error:
        answer = json.loads(_text(answers.error_frame(error)))
        assert set(answer) == {"type", "code", "message"}


def test_deeply_nested_json_is_answered() -> None:
    with pytest.raises(ClientError) as caught:
        parse_client_message(b"[" * 60_000)
    assert caught.value.code == "INVALID_JSON"


def test_subscriptions_in_the_url() -> None:
    assert parse_query("deflate=0") is None
    assert parse_query("channels=A.b,C.d&channels=A.b") == Subscribe(("A.b", "C.d"))
    assert parse_query("channels=%C3%A4.b") == Subscribe(("\u00e4.b",))
    assert parse_query("channels=A.*&epoch=e&seq=7&ts=5&last=1&conflate=true&delta=0") == Subscribe(
        ("A.*",), Resume("e", 7, ts_ms=5), last=True, conflate=True
    )
    for bad, code in [
        ("channels=A.*.c", "INVALID_CHANNEL"),
        ("channels=A.b&seq=x", "INVALID_RESUME"),
        ("channels=A.b&seq=1&ts=x", "INVALID_RESUME"),
        ("channels=A.b&last=2", "INVALID_OPTION"),
    ]:
        with pytest.raises(ClientError) as caught:
            parse_query(bad)
        assert caught.value.code == code


@pytest.mark.parametrize("name", ["*", "BTC.*", "*.trade", "*.a.b", "ä.*"])
def test_patterns_are_for_subscriptions(name: str) -> None:
    message = json.dumps({"type": "subscribe", "data": {"channels": [name]}}).encode()
    assert parse_client_message(message) == Subscribe((name,))


@pytest.mark.parametrize("name", ["**", "*.*", "A*", "A.*.c", "A.b.*", "*.", ".*", "*trade", "A.>", "*. "])
def test_what_is_no_pattern(name: str) -> None:
    with pytest.raises(ClientError) as caught:
        parse_client_message(json.dumps({"type": "subscribe", "data": {"channels": [name]}}).encode())
    assert caught.value.code == "INVALID_CHANNEL"


def test_options_and_replays() -> None:
    data: dict[str, Any] = {"channels": ["A.b"], "last": True, "conflate": True, "delta": True}
    wanted = Subscribe(("A.b",), last=True, conflate=True, delta=True)
    assert parse_client_message(json.dumps({"type": "subscribe", "data": data}).encode()) == wanted
    for ask, above, upto in [
        ({"from": 5, "to": 9}, 4, 9),
        ({"from": 0, "to": 0}, 0, 0),
        ({"since": 5}, 5, None),
    ]:
        message = json.dumps({"type": "replay", "data": ask}).encode()
        assert parse_client_message(message) == Replay(above, upto)
    for bad, code in [
        ({"type": "replay", "data": {}}, "INVALID_REPLAY"),
        ({"type": "replay", "data": {"from": 5}}, "INVALID_REPLAY"),
        ({"type": "replay", "data": {"from": 5, "to": 4}}, "INVALID_REPLAY"),
        ({"type": "replay", "data": {"from": 1, "to": 2, "since": 3}}, "INVALID_REPLAY"),
        ({"type": "replay", "data": {"since": -1}}, "INVALID_REPLAY"),
        ({"type": "subscribe", "data": {"channels": ["A.b"], "last": 1}}, "INVALID_OPTION"),
        ({"type": "subscribe", "data": {"channels": ["A.b"], "resume": {"ts": "x"}}}, "INVALID_RESUME"),
    ]:
        with pytest.raises(ClientError) as caught:
            parse_client_message(json.dumps(bad).encode())
        assert caught.value.code == code


def test_answers_to_the_letter() -> None:
    assert _text(answers.hello_frame("n", "e", 7, 3)) == (
        b'{"type":"hello","node":"n","epoch":"e","head":7,"oldest":3}'
    )
    assert _text(answers.subscription_ack_frame(("A.b",), 2, 9)) == (
        b'{"type":"subscription_ack","subscribed":["A.b"],"count":2,"seq":9}'
    )
    assert _text(answers.unsubscription_ack_frame((), 0)) == (
        b'{"type":"unsubscription_ack","unsubscribed":[],"count":0}'
    )
    assert _text(answers.pong_frame(5, 6)) == b'{"type":"pong","ts":5,"seq":6}'
    assert _text(answers.position_frame(6)) == b'{"type":"position","seq":6}'
    assert _text(answers.position_frame(6, 4)) == b'{"type":"position","seq":6,"prev":4}'
    assert _text(answers.feed_frame(False)) == b'{"type":"feed","connected":false}'
    assert _text(answers.error_frame(ClientError("UNKNOWN_TYPE", "x"))) == (
        b'{"type":"error","code":"UNKNOWN_TYPE","message":"x"}'
    )


def test_the_envelope_to_the_letter() -> None:
    text = data_text(456, 1, "price:update", 'B"C.trade', 451, b'{"a":1.0}')
    assert text == (
        b'{"seq":456,"ts":1,"type":"price:update","channel":"B\\"C.trade","prev":451,"data":{"a":1.0}}'
    )


@pytest.mark.parametrize("good", [b"1", b'"x"', b"null", b"[]", b' {"a": 1.10}\n', '"\u00e4"'.encode()])
def test_json_payloads(good: bytes) -> None:
    assert is_json(good)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b" ",
        b"NaN",
        b"{",
        b"1 2",
        b'{"a":1}}',
        b"'x'",
        b'"\xff"',
        b'{"a":1},"type":"hello"',
        b"\xef\xbb\xbf1",
    ],
)
def test_what_is_no_json_payload(bad: bytes) -> None:
    assert not is_json(bad)


@given(st.binary(max_size=100))
def test_a_payload_that_passes_makes_a_message_that_parses(payload: bytes) -> None:
    if is_json(payload):
        assert json.loads(data_text(1, 1, "a:b", "A.b", 0, payload))["seq"] == 1


def test_publishers_can_not_forge_control_messages() -> None:
    assert message_type("trade:done") == "trade:done"
    for wish in (None, "", "hello", "position", "A:b", 'x":y', "a:b c", "a:b\n", ":x", "a:"):
        assert message_type(wish) == "price:update"
