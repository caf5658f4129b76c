"""The opening handshake (RFC 6455, section 4) and the plain HTTP answers of the client port.

`websockets`' sans-I/O `ServerProtocol` reads and checks the request and is let go: kept, it would
cost a connection 5 KB. What it refuses without need is smoothed before: `Upgrade` as a list.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from websockets.http11 import Request
from websockets.server import ServerProtocol

MAX_REQUEST_BYTES: Final = 16_384
HEAD_END: Final = b"\r\n\r\n"
CLIENT_PATH: Final = "/ws"
HEALTH_PATH: Final = "/health"

# The library says a line for each connection; the node counts them instead.
_SILENT = logging.getLogger("wsnode.handshake")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SILENT.setLevel(logging.CRITICAL)


@dataclass(slots=True)
class Opening:
    """A request as it was read.

    Attributes:
        path: of the URL, without the query.
        query: of the URL; empty without one.
        origin: of the page that connects, None where it is no page.
        upgrade: whether it asks for a WebSocket.
    """

    path: str
    query: str
    origin: str | None
    upgrade: bool
    _request: Request
    _protocol: ServerProtocol

    def accept(self) -> tuple[bytes, bool]:
        """The library's answer, and whether it is 101: the request is checked to the letter here."""
        response = self._protocol.accept(self._request)
        return response.serialize(), response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS


def read_opening(head: bytes) -> Opening | bytes:
    """A request from its bytes up to and with the empty line, or the answer that refuses it."""
    protocol = ServerProtocol(logger=_SILENT)
    protocol.receive_data(head)
    events = protocol.events_received()
    if not events or not isinstance(events[0], Request):
        refusal = b"".join(protocol.data_to_send())
        return refusal or http_answer(400, "not an HTTP request\n")
    request = events[0]
    _settle(request, "Upgrade", "websocket")
    _settle(request, "Connection", "Upgrade")
    parts = urlsplit(request.path)
    upgrade = "Upgrade" in request.headers or "Sec-WebSocket-Key" in request.headers
    origins = request.headers.get_all("Origin")
    return Opening(parts.path, parts.query, origins[0] if origins else None, upgrade, request, protocol)


def _settle(request: Request, name: str, wanted: str) -> None:
    """Leaves `wanted` alone in a header that lists it, in any letter case, among others.

    Section 4.2.1 asks for a header that *contains* the token; the library insists on that one alone.
    """
    values = request.headers.get_all(name)
    tokens = [token.strip().lower() for value in values for token in value.split(",")]
    if wanted.lower() in tokens:
        del request.headers[name]
        request.headers[name] = wanted


def origin_allowed(origin: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a page of this origin may connect. What is no page sends none, and may."""
    return not allowed or origin is None or origin.lower() in {name.lower() for name in allowed}


def http_answer(status: int, body: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP response after which the connection ends. A body that begins with { is JSON."""
    phrase = http.HTTPStatus(status).phrase
    data = body.encode()
    kind = "application/json" if body.startswith("{") else "text/plain; charset=utf-8"
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "Connection: close",
        f"Content-Type: {kind}",
        f"Content-Length: {len(data)}",
        "Cache-Control: no-store",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + data
