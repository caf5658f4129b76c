"""The opening handshake as bytes in, bytes out."""

from __future__ import annotations

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
    answer, accepted = opening.accept()
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
        "Origin: https://a.example",
        "Origin: https://\u00e4.example",
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
        lines = [*lines, "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"]
        lines = list(
            {line.partition(":")[0].lower(): line for line in [*lines, "Sec-WebSocket-Version: 13"]}.values()
        )
    head = "\r\n".join([f"{method} {path} {version}", *lines, "", ""]).encode("latin-1")
    usual, any_ = handshake._read_usual(head), handshake._read_any(head)
    if usual is not None:
        assert isinstance(any_, Opening)
        assert (usual.path, usual.query, usual.origin) == (any_.path, any_.query, any_.origin)
        answer, accepted = any_.accept()
        assert accepted
        assert usual.accept()[0].rpartition(b"Accept: ")[2][:28] in answer


def test_the_usual_request_is_known_at_sight() -> None:
    assert handshake._read_usual(request(3002)) is not None
    assert handshake._read_usual(request(3002, Upgrade="h2c, websocket")) is None


def test_a_list_that_names_websocket_counts() -> None:
    opening = read_opening(request(1, Upgrade="h2c , WebSocket", Connection="keep-alive,Upgrade"))
    assert isinstance(opening, Opening)
    assert opening.accept()[1]
    opening = read_opening(request(1, Upgrade="h2c"))
    assert isinstance(opening, Opening)
    assert opening.accept()[0].startswith(b"HTTP/1.1 426 ")


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
