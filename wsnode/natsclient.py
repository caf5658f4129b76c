"""The library's client, which no publisher can stop.

A subject or a status line of a message that is not UTF-8 ends the library's reading without a word
(nats-py 2.16, `_read_loop`): the connection hangs, is made again, and hangs at the same message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

NOT_UTF8 = "\ufffd"
"""Stands in a subject for what is not UTF-8."""

_ANSWER_SECONDS = 3
GATHER_SECONDS = 0.008
"""Messages that follow each other faster than this are read together."""
_FEW_BYTES = 8192

# Subject, reply subject, payload and header as they were read; True to let others work for a moment.
Direct = Callable[[bytes, bytes, bytes, "bytes | None"], bool]

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg


def make_client() -> Client:
    """A client that is not connected yet. The library is imported only now: it is large."""
    from nats.aio.client import Client
    from nats.protocol.parser import Parser

    class Gathering(Parser):
        """Reads few messages at a time only where few come.

        A turn of the loop for each costs as much as ten deliveries. The first after a pause is taken at
        once; those that follow it wait, while the kernel collects them, for a few milliseconds.
        """

        _taken_at = 0.0

        async def parse(self, data: bytes = b"") -> None:
            await super().parse(data)
            now = time.monotonic()
            wait = GATHER_SECONDS - (now - self._taken_at)
            if wait > 0 and len(data) < _FEW_BYTES:
                await self._rest(wait)
                now = time.monotonic()
            self._taken_at = now

        async def _rest(self, seconds: float) -> None:
            """Lets the kernel collect; the loop would else be woken for each piece that comes."""
            # Over a WebSocket the library reads whole messages, by another library.
            writer = getattr(self.nc._transport, "_io_writer", None)
            reading = writer.transport if writer is not None else None
            if reading is None or reading.is_closing():
                return
            reading.pause_reading()
            try:
                await asyncio.sleep(seconds)
            finally:
                if not reading.is_closing():
                    reading.resume_reading()

    class Sturdy(Client):
        """Also hands the messages of some subscriptions over as they were read."""

        def __init__(self) -> None:
            super().__init__()
            self._ps = Gathering(self)
            self.direct: dict[int, Direct] = {}
            self.next_direct: Direct | None = None

        async def _send_subscribe(self, sub: Any) -> None:
            # Before the server knows of it: a message that came first would go the library's way.
            take, self.next_direct = self.next_direct, None
            if take is not None:
                self.direct[sub._id] = take
            await super()._send_subscribe(sub)

        async def _process_msg(
            self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
        ) -> None:
            take = self.direct.get(sid)
            if take is None:
                await super()._process_msg(sid, subject, reply, data, headers)
            elif take(subject, reply, data, headers):
                await asyncio.sleep(0)

        async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
            try:
                return await super()._process_headers(headers)
            except (ValueError, LookupError):
                return None

        def _build_message(self, sid: int, subject: bytes, *rest: Any) -> Any:
            readable = subject.decode(errors="replace").encode()
            return super()._build_message(sid, readable, *rest)

    return Sturdy()


async def subscribe_directly(client: Client, subject: str, take: Direct) -> Any:
    """A subscription whose messages are handed over as they were read.

    The library's way costs each message a queue, a turn of a task and a few objects, as much as the
    fan-out of some of them.
    """
    client.next_direct = take  # type: ignore[attr-defined]
    return await client.subscribe(subject, cb=_nothing)


async def settled(client: Client) -> None:
    """Waits until the server has acted on all that was said to it; what it refuses has been told by then.

    The library's own `flush` alone may ask for the answer before it has written the rest.

    Raises:
        nats.errors.Error: no answer came, or the connection is gone.
    """
    await client._flush_pending(force_flush=True)
    await client.flush(_ANSWER_SECONDS)


async def unsubscribe_directly(client: Client, subscription: Any) -> None:
    """Ends such a subscription; nothing more is handed over."""
    client.direct.pop(subscription._id, None)  # type: ignore[attr-defined]
    if not client.is_closed:
        await subscription.unsubscribe()


async def _nothing(message: Msg) -> None:
    """What the library would call; all is taken before."""
