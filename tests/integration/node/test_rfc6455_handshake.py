"""The opening handshake of a running node (RFC 6455, section 4), byte by byte."""

from __future__ import annotations

import pytest

from tests.support.rawwire import RawWire
from tests.support.wsclient import client_frame

ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # section 1.3, for the key below
USUAL = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


def _head(line: str = "GET /ws HTTP/1.1", *more: str, **changes: str | None) -> bytes:
    """The usual request with headers changed, left out (None) or added as they are."""
    fields = USUAL | {name.replace("_", "-"): value for name, value in changes.items()}
    headers = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([line, *headers, *more, "", ""]).encode("latin-1")


def test_the_answer_to_the_usual_request(lone_port: int) -> None:
    with RawWire(lone_port, _head()) as wire:
        assert wire.receive(len(SWITCHING)) == SWITCHING
        hello = wire.frame()
        assert hello[0] == 0x81
        assert b'{"type":"hello","node":' in hello[2:]


@pytest.mark.parametrize(
    "head",
    [
        _head(Upgrade="WebSocket"),
        _head(Upgrade="WEBSOCKET"),
        _head(Upgrade="h2c, websocket"),
        _head(Upgrade="websocket , foo/2"),
        _head("GET /ws HTTP/1.1", "Upgrade: h2c"),
        _head(Connection="upgrade"),
        _head(Connection="UPGRADE"),
        _head(Connection="keep-alive, Upgrade"),
        _head(Connection="keep-alive,upgrade, x"),
        _head("GET /ws HTTP/1.1", "Connection: keep-alive"),
        _head("GET /ws HTTP/1.1", "Connection: Upgrade", Connection="keep-alive"),
        _head("GET http://server.example.com/ws HTTP/1.1"),
        _head("GET https://server.example.com:443/ws?x=1 HTTP/1.1"),
        _head("GET /ws? HTTP/1.1"),
        _head("GET /ws?channels=%41.b&x HTTP/1.1"),
        _head(Sec_WebSocket_Key="  dGhlIHNhbXBsZSBub25jZQ==\t"),
        _head("GET /ws HTTP/1.1", "Origin: null"),
        _head("GET /ws HTTP/1.1", "Cookie: a=b", "Authorization: Basic x", "X-Empty:"),
        _head().replace(b"Sec-WebSocket-Key: ", b"sec-websocket-KEY:"),
        _head().replace(b"Host: ", b"hOST:"),
        _head("GET /ws HTTP/1.1", *(f"X-{number}: {'y' * 100}" for number in range(90))),
    ],
)
def test_who_asks_rightly_in_any_form_is_let_in(lone_port: int, head: bytes) -> None:
    with RawWire(lone_port, head) as wire:
        status, headers, _ = wire.response()
        assert status == 101
        assert headers["upgrade"] == "websocket"
        assert headers["connection"] == "Upgrade"
        assert headers["sec-websocket-accept"].encode() == ACCEPT
        assert "sec-websocket-protocol" not in headers
        assert b'"type":"hello"' in wire.frame()


@pytest.mark.parametrize(
    "offers",
    [
        ["Sec-WebSocket-Protocol: chat"],
        ["Sec-WebSocket-Protocol: chat, super.chat", "Sec-WebSocket-Protocol: x"],
    ],
)
def test_of_the_subprotocols_offered_none_is_chosen(lone_port: int, offers: list[str]) -> None:
    with RawWire(lone_port, _head("GET /ws HTTP/1.1", *offers)) as wire:
        status, headers, _ = wire.response()
        assert (status, "sec-websocket-protocol" in headers) == (101, False)


@pytest.mark.parametrize(
    ("head", "status", "told"),
    [
        # Section 4.4: another version is told the one that is spoken.
        (_head(Sec_WebSocket_Version="8"), 426, {"sec-websocket-version": "13", "upgrade": "websocket"}),
        (_head(Sec_WebSocket_Version="7"), 426, {"sec-websocket-version": "13"}),
        (_head(Sec_WebSocket_Version="0"), 426, {"sec-websocket-version": "13"}),
        (_head(Sec_WebSocket_Version="14"), 426, {"sec-websocket-version": "13"}),
        (_head(Sec_WebSocket_Version="13, 8"), 426, {"sec-websocket-version": "13"}),
        (_head(Sec_WebSocket_Version=None), 400, {}),
        (_head("GET /ws HTTP/1.1", "Sec-WebSocket-Version: 8"), 400, {}),
        (_head("GET /ws HTTP/1.1", "Sec-WebSocket-Version: 13"), 400, {}),
        # Section 4.2.1, item 5: the key, once, base64 of 16 bytes.
        (_head(Sec_WebSocket_Key=None), 400, {}),
        (_head(Sec_WebSocket_Key=""), 400, {}),
        (_head(Sec_WebSocket_Key="short"), 400, {}),
        (_head(Sec_WebSocket_Key="MDEyMzQ1Njc4OWFiY2Rl"), 400, {}),  # 15 bytes
        (_head(Sec_WebSocket_Key="MDEyMzQ1Njc4OWFiY2RlZmc="), 400, {}),  # 17 bytes
        (_head(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ"), 400, {}),
        (_head(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=?"), 400, {}),
        (_head("GET /ws HTTP/1.1", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, {}),
        # Items 3 and 4: what is no upgrade.
        (_head(Upgrade=None), 426, {"upgrade": "websocket"}),
        (_head(Upgrade="websocket2"), 426, {"upgrade": "websocket"}),
        (_head(Upgrade="h2c"), 426, {"upgrade": "websocket"}),
        (_head(Connection=None), 426, {"upgrade": "websocket"}),
        (_head(Connection="keep-alive"), 426, {"upgrade": "websocket"}),
        (_head(Connection="close, upgraded"), 426, {"upgrade": "websocket"}),
        # Items 1 and 2: the request line, and the host.
        (_head("GET /ws HTTP/1.0"), 505, {}),
        (_head("GET /ws HTTP/2.0"), 400, {}),
        (_head("GET /ws http/1.1"), 400, {}),
        (_head("GET  /ws HTTP/1.1"), 400, {}),
        (_head("GET /ws"), 400, {}),
        (_head("POST /ws HTTP/1.1"), 405, {"allow": "GET"}),
        (_head("get /ws HTTP/1.1"), 405, {"allow": "GET"}),
        (_head("GET /w\u00e4 HTTP/1.1"), 400, {}),
        (_head("GET / HTTP/1.1"), 404, {}),
        (_head("GET /ws/ HTTP/1.1"), 404, {}),
        (_head("GET /WS HTTP/1.1"), 404, {}),
        (_head("GET //ws HTTP/1.1"), 404, {}),
        (_head("GET http://server.example.com HTTP/1.1"), 404, {}),
        (_head("GET http://[::1/ws HTTP/1.1"), 400, {}),
        (_head(Host=None), 400, {}),
        (_head("GET /ws HTTP/1.1", "Host: other.example.com"), 400, {}),
        # Header lines that are none.
        (_head("GET /ws HTTP/1.1", "X y: z"), 400, {}),
        (_head("GET /ws HTTP/1.1", "X : z"), 400, {}),
        (_head("GET /ws HTTP/1.1", " folded"), 400, {}),
        (_head("GET /ws HTTP/1.1", "X: \x00"), 400, {}),
        (_head("GET /ws HTTP/1.1", "X"), 400, {}),
        (_head("GET /ws HTTP/1.1", "Content-Length: 5"), 400, {}),
        (_head("GET /ws HTTP/1.1", "Transfer-Encoding: chunked"), 400, {}),
        (_head("GET /ws HTTP/1.1", *(f"X-{number}: y" for number in range(200))), 431, {}),
        (_head("GET /ws HTTP/1.1", f"X: {'y' * 16_384}"), 431, {}),
        # Section 9.1: offers of extensions that are none.
        (_head("GET /ws HTTP/1.1", "Sec-WebSocket-Extensions: permessage-deflate;"), 400, {}),
    ],
)
def test_who_asks_wrongly_is_told_so_and_sent_away(
    lone_port: int, head: bytes, status: int, told: dict[str, str]
) -> None:
    with RawWire(lone_port, head + client_frame(9, b"never read")) as wire:
        answer, headers, body = wire.response()
        assert answer == status
        assert {name: headers.get(name) for name in told} == told
        assert headers["connection"] == "close"
        assert body.endswith(b"\n")
        assert wire.ended()


def test_a_request_may_come_byte_by_byte_and_with_frames_behind_it(lone_port: int) -> None:
    head = _head()
    with RawWire(lone_port) as wire:
        for byte in head:
            wire.send(bytes([byte]))
        assert wire.receive(len(SWITCHING)) == SWITCHING
    with RawWire(lone_port, head + client_frame(9, b"1") + client_frame(9, b"2")[:3]) as wire:
        assert wire.receive(len(SWITCHING)) == SWITCHING
        assert b'"type":"hello"' in wire.frame()
        assert wire.frame() == b"\x8a\x011"
