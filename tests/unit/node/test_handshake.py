"""The opening handshake as bytes in, bytes out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.wsclient import KEY, request
from wsnode.protocol import handshake
from wsnode.protocol.handshake import Opening, http_answer, origin_allowed, read_opening


def test_the_rfcs_own_example() -> None:
    opening = read_opening(
        b"GET /chat?channels=A.b HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Origin: http://example.com\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert isinstance(opening, Opening)
    assert (opening.path, opening.query, opening.origin) == ("/chat", "channels=A.b", "http://example.com")
    answer, accepted = opening.accept(None)
    assert accepted
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"Sec-WebSocket-Protocol" not in answer


_lines = st.sampled_from(
    [
        "Upgrade: websocket",
        "upgrade:WebSocket",
        "Upgrade: h2c, websocket",
        "Connection: Upgrade",
        "connection: keep-alive,  upgrade\t",
        "Connection: close",
        f"Sec-WebSocket-Key: {KEY}",
        f"sec-websocket-key:{KEY}",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Host: a.example",
        "Origin: https://a.example",
        "Origin: https://\u00e4.example",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "sec-websocket-extensions: a, b",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Cookie: a=b; c=:d",
        "Broken header: x",
        " folded: x",
        "X: \x01",
        "NoColon",
    ]
)


@given(
    st.lists(_lines, max_size=8),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/ws", "/ws?channels=A.b", "/ws?a=\u00e4", "//x/ws", "http://[/ws", "/w s"]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0"]),
    st.booleans(),
)
def test_what_is_let_in_at_sight_the_library_lets_in_too(
    lines: list[str], method: str, path: str, version: str, complete: bool
) -> None:
    if complete:
        lines = [*lines, "Host: a", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"]
        lines = list(
            {line.partition(":")[0].lower(): line for line in [*lines, "Sec-WebSocket-Version: 13"]}.values()
        )
    head = "\r\n".join([f"{method} {path} {version}", *lines, "", ""]).encode("latin-1")
    usual, any_ = handshake._read_usual(head), handshake._read_any(head)
    if usual is not None:
        assert isinstance(any_, Opening)
        for name in ("method", "path", "query", "origin", "upgrade", "offers"):
            assert getattr(usual, name) == getattr(any_, name)
        answer, accepted = any_.accept("x; y")
        assert accepted
        own, _ = usual.accept("x; y")
        assert own.partition(b"Accept: ")[2][:28] in answer
        for each in (own, answer):
            assert b"\r\nSec-WebSocket-Extensions: x; y\r\n" in each


def test_the_usual_request_is_known_at_sight() -> None:
    assert handshake._read_usual(request(3002)) is not None
    assert handshake._read_usual(request(3002, Upgrade="h2c, websocket")) is None


def test_a_list_that_names_websocket_counts() -> None:
    opening = read_opening(request(1, Upgrade="h2c , WebSocket", Connection="keep-alive,Upgrade"))
    assert isinstance(opening, Opening)
    assert opening.accept(None)[1]
    opening = read_opening(request(1, Upgrade="h2c"))
    assert isinstance(opening, Opening)
    assert opening.accept(None)[0].startswith(b"HTTP/1.1 426 ")


def test_no_http_is_refused_as_http() -> None:
    for head in (b"\r\n\r\n", b"hello\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n", b"GET /ws\r\n\r\n"):
        answer = read_opening(head)
        assert isinstance(answer, bytes)
        assert answer.startswith(b"HTTP/1.1 400 ")


def test_origins() -> None:
    allowed = ("https://a.example", "http://b.example:8080")
    assert origin_allowed("https://a.example", allowed)
    assert origin_allowed("HTTPS://A.example", allowed)
    assert origin_allowed(None, allowed)
    assert not origin_allowed("https://a.example.evil", allowed)
    assert not origin_allowed("null", allowed)
    assert origin_allowed("null", ())


def test_plain_answers() -> None:
    assert http_answer(503, "full\n", {"Retry-After": "7"}) == (
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\nCache-Control: no-store\r\n"
        b"Retry-After: 7\r\n\r\nfull\n"
    )


def test_another_version_is_told_the_one_that_is_spoken() -> None:
    """RFC 6455, section 4.4."""
    for version in ("8", "12", "0", "14", "abc"):
        opening = read_opening(request(1, Sec_WebSocket_Version=version))
        assert isinstance(opening, Opening)
        answer, accepted = opening.accept(None)
        assert not accepted
        assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer
        assert b"\r\nUpgrade: websocket\r\n" in answer


def test_a_request_names_its_host_once() -> None:
    """RFC 9112, section 3.2: HTTP/1.0 needs none."""
    without = b"GET /health HTTP/1.%d\r\n\r\n"
    refusal = read_opening(without % 1)
    assert isinstance(refusal, bytes)
    assert refusal.startswith(b"HTTP/1.1 400 ")
    assert isinstance(read_opening(without % 0), Opening)
    twice = read_opening(request(1)[:-2] + b"Host: b\r\n\r\n")
    assert isinstance(twice, bytes)
    assert twice.startswith(b"HTTP/1.1 400 ")


def test_offers_of_several_headers_are_one_list() -> None:
    head = request(1)[:-2] + b"Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b; c=1\r\n\r\n"
    opening = read_opening(head)
    assert isinstance(opening, Opening)
    assert opening.offers == "a, b; c=1"


def test_a_stream_of_events_is_asked_for_like_any_page() -> None:
    opening = read_opening(b"GET /sse?channels=A.b HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 5f-7\r\n\r\n")
    assert isinstance(opening, Opening)
    assert (opening.path, opening.query, opening.last_event_id) == ("/sse", "channels=A.b", "5f-7")
    assert not opening.upgrade


def test_of_two_that_send_the_same_each_gets_the_answer_to_its_own_key() -> None:
    keys = {
        b"dGhlIHNhbXBsZSBub25jZQ==": b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",  # RFC 6455, section 1.3
        b"AAAAAAAAAAAAAAAAAAAAAA==": b"ICX+Yqv66kxgM0FcWaLWlFLwTAI=",
    }
    for _ in range(2):
        for key, accept in keys.items():
            head = (
                b"GET /ws?channels=A.b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"sec-WebSocket-KEY: \t" + key + b" \r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            opening = read_opening(head)
            assert isinstance(opening, Opening)
            assert opening.query == "channels=A.b"
            answer, accepted = opening.accept(None)
            assert accepted
            assert b"Sec-WebSocket-Accept: " + accept + b"\r\n" in answer
    twice = head.replace(b"Host: x\r\n", b"Host: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
    opening = read_opening(twice)
    assert isinstance(opening, bytes) or not opening.accept(None)[1]


def _kept(roots: list[Any]) -> Iterator[bytes]:
    """All that is said by what these hold, as far as it is no code."""
    seen: set[int] = set()
    while roots:
        found = roots.pop()
        if id(found) in seen or isinstance(found, type) or type(found).__name__ in ("module", "function"):
            continue
        seen.add(id(found))
        if isinstance(found, (bytes, str)):
            yield found if isinstance(found, bytes) else found.encode("utf-8", "replace")
        roots += gc.get_referents(found)


def test_nothing_secret_of_a_request_is_kept() -> None:
    for number in range(3):
        head = request(
            3002, f"/ws?token=s3cret-query-{number}", Cookie=f"s3cret={number}", Authorization="Bearer s3cret"
        )
        for _ in range(2):
            assert handshake._read_usual(head) is not None
    held = list(_kept(list(vars(handshake).values())))
    assert any(b"Switching Protocols" in value for value in held)  # it does look
    assert not [value for value in held if b"s3cret" in value]


def test_no_more_than_a_few_kinds_of_requests_are_remembered() -> None:
    for number in range(200):
        opening = handshake._read_usual(request(3002, Origin=f"https://{number}.example"))
        assert opening is not None
        assert opening.origin == f"https://{number}.example"
    assert len(handshake._remembered._seen) <= 64
    again = handshake._read_usual(request(3002, Origin="https://199.example"))
    assert again is not None
    assert again.origin == "https://199.example"
