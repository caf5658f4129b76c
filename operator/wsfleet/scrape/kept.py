"""GETs over connections that are kept: what ten thousand nodes are asked every five seconds.

A full HTTP client takes four times the CPU for such a question, and that was most of what the operator
took. Whatever changes something goes by the full one: see `transport`.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from wsfleet.scrape.answers import Answer, AnswerError, AnswerReader

_IDLE_SECONDS = 30.0
_SWEEP_SECONDS = 10.0


class _Connection(asyncio.Protocol):
    """One connection to one node: one question at a time."""

    def __init__(self, most_bytes: int) -> None:
        self.idle_since = 0.0
        self._most_bytes = most_bytes
        self._transport: asyncio.Transport | None = None
        self._reader = AnswerReader(most_bytes)
        self._answer: asyncio.Future[Answer] | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def ask(self, request: bytes) -> Answer:
        """Send a request; its answer. A question that is given up closes the connection.

        Raises:
            ConnectionError: it is closed, or was before an answer came.
            AnswerError: what came is no answer.
        """
        if self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._reader = AnswerReader(self._most_bytes)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        except BaseException:
            if self._answer.done() and not self._answer.cancelled():
                self._answer.exception()  # it may have come in the moment of a cancellation
            if self._transport is not None:
                self._transport.abort()  # what a node that hangs has not taken is of no use
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's class

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.done():
            self.close()  # nobody asked
            return
        try:
            whole = self._reader.feed(data)
        except AnswerError as exc:
            answer.set_exception(exc)
            self.close()
            return
        if whole is not None:
            answer.set_result(whole)
            if not whole.stays:
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        answer = self._answer
        if answer is None or answer.done():
            return
        try:
            answer.set_result(self._reader.end())
        except AnswerError as error:
            answer.set_exception(exc or ConnectionResetError(str(error)))


class KeptConnections:
    """Connections to the admin ports of all nodes; of each one at most is kept while nothing is asked."""

    def __init__(self, port: int, most_bytes: int) -> None:
        self._port = port
        self._most_bytes = most_bytes
        self._idle: dict[str, _Connection] = {}
        self._swept = time.monotonic()

    async def get(self, address: str, path: str) -> Answer:
        """The answer to GET `path`.

        Raises:
            OSError: no connection, or it was closed.
            AnswerError: what came is no answer.
        """
        self._sweep()
        host = f"[{address}]" if ":" in address else address
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{self._port}\r\n"
            "User-Agent: wsfleet\r\nAccept: application/json\r\n\r\n"
        ).encode()
        kept = self._idle.pop(address, None)
        if kept is not None and kept.usable:
            try:
                return await self._ask(kept, address, request)
            except ConnectionError:
                pass  # closed by the node just now, as a connection that is not used may be
        _, opened = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._most_bytes), address, self._port
        )
        return await self._ask(opened, address, request)

    async def _ask(self, connection: _Connection, address: str, request: bytes) -> Answer:
        answer = await connection.ask(request)
        if connection.usable:
            connection.idle_since = time.monotonic()
            other = self._idle.get(address)
            self._idle[address] = connection
            if other is not None:
                other.close()
        return answer

    def _sweep(self) -> None:
        """Close what nobody has used for long: its pod is gone, or its fleet."""
        now = time.monotonic()
        if now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = now
        for address, connection in list(self._idle.items()):
            if not connection.usable or now - connection.idle_since > _IDLE_SECONDS:
                connection.close()
                del self._idle[address]

    def close(self) -> None:
        """Close all."""
        for connection in self._idle.values():
            connection.close()
        self._idle.clear()
