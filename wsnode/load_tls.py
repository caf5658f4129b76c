"""The load client's sockets under TLS: the same calls, with a TLS state a client in between.

As in the node, all states share one pair of buffers: each step takes out all that was put in.
"""

from __future__ import annotations

import contextlib
import os
import ssl

from wsnode.load_sockets import READ_BYTES, Sockets, Wrote
from wsnode.load_table import ClientTable


class SecureSockets(Sockets):
    """The descriptors of a table's clients towards one address that speaks TLS."""

    def __init__(self, host: str, port: int, table: ClientTable, context: ssl.SSLContext) -> None:
        super().__init__(host, port, table)
        self._host, self._context = host, context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._states: dict[int, ssl.SSLObject] = {}
        self._first: dict[int, bytes] = {}
        """What is said as soon as the handshake is done."""

    def begin(self, client: int, request: bytes) -> bool:
        """The connection stands: shake hands; the request follows."""
        tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._host)
        self._states[client], self._first[client] = tls, request
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return super().begin(client, self._outgoing.read())

    def read(self, client: int, fd: int) -> bytes:
        """What came, as in `Sockets`. A certificate that is not trusted raises too."""
        data = os.read(fd, READ_BYTES)
        tls = self._states.get(client)
        if not data or tls is None:
            return b""
        try:
            return self._opened(client, tls, data)
        finally:
            if self._incoming.pending:  # never to be read as another client's
                self._incoming.read()

    def write(self, client: int, frame: bytes) -> Wrote:
        """A small frame, whole or not at all."""
        tls = self._states.get(client)
        if tls is None or client in self._first:
            return Wrote.BROKEN
        try:
            tls.write(frame)
        except ssl.SSLError:
            return Wrote.BROKEN
        return super().write(client, self._outgoing.read())

    def close(self, client: int) -> None:
        """Let the client's descriptor and state go."""
        self._states.pop(client, None)
        self._first.pop(client, None)
        super().close(client)

    def _opened(self, client: int, tls: ssl.SSLObject, data: bytes) -> bytes:
        self._incoming.write(data)
        parts = []
        try:
            if client in self._first:
                tls.do_handshake()
                tls.write(self._first.pop(client))
            while part := tls.read(READ_BYTES):
                parts.append(part)
            return b"".join(parts)  # and the end, when there is nothing before it
        except ssl.SSLWantReadError:
            pass
        finally:
            said = self._outgoing.read()
            if said:
                super().write(client, said)
        if not parts:
            raise BlockingIOError
        return b"".join(parts)
