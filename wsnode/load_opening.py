"""The opening of a load client's connection: connect, upgrade, and what may go wrong on the way."""

from __future__ import annotations

from typing import NamedTuple

from wsnode.load_options import Target
from wsnode.load_sockets import Sockets, reason_of
from wsnode.load_table import CONNECTING, HANDSHAKE, ClientTable
from wsnode.load_wire import handshake_request, parse_response
from wsnode.reconnect import retry_after_seconds


class _Pending(NamedTuple):
    """What is kept of a connection only until it is open."""

    began: float
    accept: bytes
    request: bytes
    received: bytes = b""


class Failed(NamedTuple):
    """This opening came to nothing; `retry_after` in seconds is what the server asked for, or 0."""

    reason: str
    retry_after: float = 0.0


class Opened(NamedTuple):
    """The upgrade is done; `rest` came with it."""

    began: float
    rest: bytes


class Opener:
    """Opens connections; moves their state from connecting to handshake. The caller closes what failed."""

    def __init__(self, target: Target, table: ClientTable, sockets: Sockets) -> None:
        self._target = target
        self._table = table
        self._sockets = sockets
        self._pending: dict[int, _Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def begin(self, client: int, now: float) -> Failed | None:
        """Start to connect."""
        problem = self._sockets.connect(client)
        if problem is not None:
            return Failed(problem)
        request, accept = handshake_request(self._target.authority, self._target.path)
        self._pending[client] = _Pending(now, accept, request)
        self._table.state[client] = CONNECTING
        return None

    def further(self, client: int, fd: int) -> Failed | Opened | None:
        """The socket has something to say; None when more must come."""
        pending = self._pending[client]
        try:
            if self._table.state[client] == CONNECTING:
                # A refused connect shows here, as the write's error.
                if not self._sockets.begin(client, pending.request):
                    return Failed("send blocked")
                self._table.state[client] = HANDSHAKE
                self._sockets.listen(client)
                return None
            data = self._sockets.read(client, fd)
        except BlockingIOError:
            return None
        except OSError as exc:
            return Failed(reason_of(exc))
        if not data:
            return Failed("closed in handshake")
        return self._answered(client, pending._replace(received=pending.received + data))

    def forget(self, client: int) -> None:
        """The opening is over, in whichever way."""
        self._pending.pop(client, None)

    def _answered(self, client: int, pending: _Pending) -> Failed | Opened | None:
        try:
            response = parse_response(pending.received)
        except ValueError:
            return Failed("not an HTTP response")
        if response is None:
            self._pending[client] = pending
            return None
        if response.status != 101:
            return Failed(f"http {response.status}", retry_after_seconds(response.retry_after))
        if response.accept != pending.accept:
            return Failed("wrong Sec-WebSocket-Accept")
        return Opened(pending.began, pending.received[response.length :])
