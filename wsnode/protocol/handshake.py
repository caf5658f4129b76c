"""The opening handshake (RFC 6455, section 4) and the plain HTTP answers of the client port.

The usual request is recognised at sight; any other goes to `websockets`' sans-I/O `ServerProtocol`,
which reads and checks it and is let go: kept, it would cost a connection 5 KB. What the library
refuses without need is smoothed before: `Upgrade` as a list. What it lets pass is seen to here:
`Host`, the answer to another version, methods.
"""

from __future__ import annotations

import base64
import hashlib
import http
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from websockets.http11 import Request
from websockets.server import ServerProtocol

MAX_REQUEST_BYTES: Final = 16_384
HEAD_END: Final = b"\r\n\r\n"
CLIENT_PATH: Final = "/ws"
HEALTH_PATH: Final = "/health"
VERSION: Final = "13"

_EXTENSIONS = "Sec-WebSocket-Extensions"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
# Request line (path and query apart) and header lines of RFC 9112, without what is rare.
_USUAL_REQUEST = re.compile(rb"GET (/[\w./~%-]*)(?:\?([\w.,/~%=&*:+-]*))? HTTP/1\.1\r\n")
_USUAL_LINES = re.compile(
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}:[\t\x20-\x7e\x80-\xff]{0,4096}\r\n){1,64}\r\n"
)
_KEY_LINE = re.compile(rb"(?i:\r\nsec-websocket-key:)[ \t]*([A-Za-z0-9+/]{21}[AQgw]==)[ \t]*\r\n")
_ANY_KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="  # base64 of 16 bytes, as every key is
_MOST_REMEMBERED = 64
_DIGEST_BYTES = 16
_UNUSUAL = frozenset([b"content-length", b"transfer-encoding"])

# The library says a line for each connection; the node counts them instead.
_SILENT = logging.getLogger("wsnode.handshake")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SILENT.setLevel(logging.CRITICAL)


@dataclass(slots=True)
class Opening:
    """A request as it was read.

    Attributes:
        method: of the request; a WebSocket and a stream of events are asked for with GET.
        path: of the URL, without the query.
        query: of the URL; empty without one.
        origin: of the page that connects, None where it is no page.
        upgrade: whether it asks for a WebSocket.
        offers: extensions that it offers; empty where it offers none.
        last_event_id: where a stream of events is to go on; empty where it begins.
        accept: called with the extension that is agreed on, if any; gives the answer that lets it in
            and True, or the one that refuses it and False: here the request is checked to the letter.
    """

    method: str
    path: str
    query: str
    origin: str | None
    upgrade: bool
    offers: str
    last_event_id: str
    accept: Callable[[str | None], tuple[bytes, bool]]


def read_opening(head: bytes) -> Opening | bytes:
    """A request from its bytes up to and with the empty line, or the answer that refuses it."""
    return _read_usual(head) or _read_any(head)


class _Seen(NamedTuple):
    """What matters of a usual request's headers, but for its key: the same for all clients of a kind."""

    origin: str | None
    offers: str


class _Remembered:
    """Headers that were read before, for the many clients that send the same.

    What they say may be secret (Cookie, Authorization), so nothing of it is kept: headers are known again by
    a digest, keyed so that nobody can choose two that have the same.
    """

    def __init__(self) -> None:
        self._key = os.urandom(hashlib.blake2b.MAX_KEY_SIZE)
        self._seen: dict[bytes, _Seen] = {}

    def read(self, lines: bytes) -> _Seen | None:
        """What matters of header lines, of which the key is `_ANY_KEY`; None where they are not usual."""
        digest = hashlib.blake2b(lines, digest_size=_DIGEST_BYTES, key=self._key).digest()
        seen = self._seen.get(digest)
        if seen is None:
            seen = _read_lines(lines)
            if seen is not None:
                if len(self._seen) >= _MOST_REMEMBERED:
                    del self._seen[next(iter(self._seen))]
                self._seen[digest] = seen
        return seen


_remembered = _Remembered()


def _read_usual(head: bytes) -> Opening | None:
    """What nearly all clients send, at a fifth of the library's cost; None leaves it to the library.

    Nothing is refused here: a request is either beyond doubt or the library's to judge.
    """
    asked, found = _USUAL_REQUEST.match(head), _KEY_LINE.search(head)
    if asked is None or found is None:
        return None
    key = found[1]
    # A key of another client stands in: whatever else is there is the same for all that send the same.
    seen = _remembered.read(head[asked.end() : found.start(1)] + _ANY_KEY + head[found.end(1) :])
    if seen is None:
        return None
    return Opening(
        method="GET",
        path=asked[1].decode(),
        query=(asked[2] or b"").decode(),
        origin=seen.origin,
        upgrade=True,
        offers=seen.offers,
        last_event_id="",
        accept=lambda extension: _let_in(key, extension),
    )


def _read_lines(lines: bytes) -> _Seen | None:
    if _USUAL_LINES.fullmatch(lines) is None:
        return None
    fields: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n")[:-2]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in fields or name in _UNUSUAL:
            return None
        fields[name] = value.strip(b" \t")
    if (
        fields.get(b"upgrade", b"").lower() != b"websocket"
        or b"upgrade"
        not in [token.strip(b" \t") for token in fields.get(b"connection", b"").lower().split(b",")]
        or fields.get(b"sec-websocket-version") != b"13"
        or b"host" not in fields
        or fields.get(b"sec-websocket-key") != _ANY_KEY
    ):
        return None
    origin = fields.get(b"origin")
    return _Seen(
        origin=None if origin is None else origin.decode("latin-1"),
        offers=fields.get(b"sec-websocket-extensions", b"").decode("latin-1"),
    )


def _let_in(key: bytes, extension: str | None) -> tuple[bytes, bool]:
    answer = _SWITCHING + base64.b64encode(hashlib.sha1(key + _GUID).digest())
    if extension is not None:
        answer += f"\r\n{_EXTENSIONS}: {extension}".encode()
    return answer + HEAD_END, True


def _read_any(head: bytes) -> Opening | bytes:
    protocol = ServerProtocol(logger=_SILENT)
    protocol.receive_data(head)
    events = protocol.events_received()
    if not events or not isinstance(events[0], Request):
        refusal = b"".join(protocol.data_to_send())
        return refusal or http_answer(400, "not an HTTP request\n")
    request = events[0]
    headers = request.headers
    hosts = len(headers.get_all("Host"))
    if hosts > 1 or (not hosts and request.protocol == "HTTP/1.1"):
        return http_answer(400, "a request names one Host\n")  # RFC 9112, section 3.2
    path, _, query = request.path.partition("?")
    if not path.startswith("/"):  # absolute form (RFC 9112, section 3.2.2)
        try:
            path = urlsplit(path).path or "/"
        except ValueError:
            return http_answer(400, "not a URL\n")
    return Opening(
        method=request.method,
        path=path,
        query=query,
        origin=next(iter(headers.get_all("Origin")), None),
        upgrade="Upgrade" in headers or "Sec-WebSocket-Key" in headers,
        offers=", ".join(headers.get_all(_EXTENSIONS)),
        last_event_id=next(iter(headers.get_all("Last-Event-ID")), ""),
        accept=lambda extension: _judge(protocol, request, extension),
    )


def _judge(protocol: ServerProtocol, request: Request, extension: str | None) -> tuple[bytes, bool]:
    """The library's verdict on a request for a WebSocket."""
    headers = request.headers
    _settle(request, "Upgrade", "websocket")
    _settle(request, "Connection", "Upgrade")
    versions = headers.get_all("Sec-WebSocket-Version")
    if request.method == "GET" and len(versions) == 1 and versions[0] != VERSION:
        # Section 4.4; a 426 names what to change to (RFC 9110, section 15.5.22).
        wanted = {"Upgrade": "websocket", "Sec-WebSocket-Version": VERSION}
        return http_answer(426, f"WebSocket version {VERSION} is spoken here\n", wanted), False
    response = protocol.accept(request)
    accepted = response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS
    if accepted and extension is not None:
        response.headers[_EXTENSIONS] = extension
    return response.serialize(), accepted


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
