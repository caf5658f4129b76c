"""The line between the parent and a worker: values over a socket pair, in order, none lost.

They are pickled: both ends are this program, started by the same user, and nobody else has the socket.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from collections.abc import Callable
from typing import Any, cast

_LENGTH_BYTES = 4
_log = logging.getLogger(__name__)


class Line(asyncio.Protocol):
    """One end.

    Args:
        heard: called with each value that the other end said.
        ended: called once when the other end is gone.
    """

    def __init__(self, heard: Callable[[Any], None], ended: Callable[[], None]) -> None:
        self._heard, self._ended = heard, ended
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()

    async def open(self, end: socket.socket) -> None:
        """Takes one end of a socket pair."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=end)

    def say(self, value: object) -> None:
        """Sends a value; without effect when the other end is gone."""
        if self._transport is not None and not self._transport.is_closing():
            content = pickle.dumps(value)
            self._transport.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)

    def close(self) -> None:
        """Hangs up, after all that was said is sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(received[:_LENGTH_BYTES], "big")
            if len(received) < end:
                return
            content = bytes(received[_LENGTH_BYTES:end])
            del received[:end]
            try:
                self._heard(pickle.loads(content))
            except Exception:
                # One order that went wrong must not cost the ones behind it.
                _log.exception("what another process of this node said could not be handled")

    def connection_lost(self, error: Exception | None) -> None:
        self._ended()
