"""A client of the nodes: an asynchronous iterator that reconnects, resumes and says what it missed.

    from wsnode.client import Client, Missed

    def heard(event):
        if isinstance(event, Missed):
            print("load a fresh snapshot of", event.name)

    async for message in Client("ws://localhost:3002/ws", ["BTC.trade", "ETH.*"], on_event=heard):
        print(message.channel, message.seq, message.data)

Each message of its channels comes once, and in order within its channel, over any number of connections
and nodes. What can't come any more is told as `Missed`, before anything newer of that channel comes.
`standing` keeps that promise, `client_session` the conversation, `websockets` the connection.

Errors:
    ClientError       the client can't go on: a bad URL, or a server that refuses for good
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from wsnode.client_events import (
    CaughtUp,
    Connected,
    Disconnected,
    Event,
    FeedChanged,
    Message,
    Missed,
    Subscribed,
    Told,
    Why,
)
from wsnode.client_messages import HEARTBEAT
from wsnode.client_session import RefusedError, Session
from wsnode.reconnect import (
    FIRST_SECONDS,
    LONGEST_SECONDS,
    after_seconds,
    jittered_seconds,
    retry_after_seconds,
)
from wsnode.standing import Standing

__all__ = [
    "CaughtUp",
    "Client",
    "ClientError",
    "Connected",
    "Disconnected",
    "Event",
    "FeedChanged",
    "Message",
    "Missed",
    "Subscribed",
    "Told",
    "Why",
    "check_url",
]

SILENCE_SECONDS = 15.0
"""Three positions that did not come: the node, or the way to it, is gone."""

_GOODBYE_SECONDS = 2.0
_TRANSIENT = {408, 425, 429}
"""Refusals below 500 that a later try may not meet."""


class ClientError(Exception):
    """The client can't go on: a bad URL, or a server that refuses for good."""


def check_url(url: str) -> None:
    """A ws:// or wss:// URL. Raises ClientError."""
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
        )
    except ValueError:
        good = False
    if not good:
        raise ClientError(f"URL {url!r}: expected ws://HOST[:PORT]/PATH or wss://HOST[:PORT]/PATH")


class Client:
    """Subscribes to channels and yields their messages: `async for message in Client(url, channels)`.

    Ends when the connection does and `reconnect` is False, or when the iterator is closed; iterated
    again, it goes on where it was. Any node of a fleet will do for any part of the way.

    Args:
        url: of a node or of a fleet's Service, or several: each new connection takes the next.
        channels: names as BTC.trade, and patterns as BTC.*, *.trade and *.
        resume: from where to go on: the `point` of an earlier client of the same channels.
        last: each channel's newest message comes first, where nothing is resumed.
        conflate: where the client falls behind, only the newest message of each channel is wanted.
        delta: patches may travel in place of data; messages have their full data all the same.
        deflate: offer compression.
        reconnect: come back after a close or a failed open.
        silence: seconds without a sign of life (positions come every 5) after which to reconnect.
        open_timeout: seconds for each of: connect with handshake, then the acknowledgement.
        retry: bounds of the random wait before a reconnect, in seconds, see `reconnect`.
        tls: what wss:// is spoken with; by default the system's authorities are trusted.
        on_event: told of everything that is no message, in order with the messages.

    Attributes:
        standing: what it has of the stream, with counts of what came twice.

    Raises:
        ClientError: a bad URL, no channel, or a `resume` of the wrong shape.
    """

    def __init__(
        self,
        url: str | Iterable[str],
        channels: Iterable[str],
        *,
        resume: Mapping[str, Any] | None = None,
        last: bool = False,
        conflate: bool = False,
        delta: bool = False,
        deflate: bool = False,
        reconnect: bool = True,
        silence: float = SILENCE_SECONDS,
        open_timeout: float = 10.0,
        retry: tuple[float, float] = (FIRST_SECONDS, LONGEST_SECONDS),
        tls: ssl.SSLContext | None = None,
        on_event: Callable[[Event], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.urls = (url,) if isinstance(url, str) else tuple(url)
        for each in self.urls or ("",):
            check_url(each)
        self.channels = tuple(dict.fromkeys(channels))
        if not self.channels:
            raise ClientError("channels: at least one is needed")
        try:
            self.standing = Standing(self.channels, resume)
        except ValueError as exc:
            raise ClientError(f"resume: {exc}") from exc
        self._options = {"last": last, "conflate": conflate, "delta": delta}
        self._compression = "deflate" if deflate else None
        self._reconnect, self._retry = reconnect, retry
        self._silence, self._open_timeout = silence, open_timeout
        self._tls = tls
        self._on_event = on_event or (lambda _event: None)
        self._rng = rng or random.Random()
        self._attempt = self._turn = 0
        self._connection: ClientConnection | None = None
        self._waits_since: float | None = None
        self._why = ""

    @property
    def point(self) -> dict[str, Any] | None:
        """From where a later client would go on, as JSON has it; None before the first acknowledgement."""
        return self.standing.point()

    @property
    def url(self) -> str:
        """The node of this connection, or of the next."""
        return self.urls[self._turn % len(self.urls)]

    def hop(self) -> None:
        """Leaves the node at once, without a goodbye; the client comes back as after any lost connection."""
        self._cut("left")

    async def __aiter__(self) -> AsyncGenerator[Message, None]:
        while True:
            try:
                connection = await self._open()
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as exc:
                gone = self._not_opened(exc)
            else:
                try:
                    async with contextlib.aclosing(self._messages(connection)) as messages:
                        async for message in messages:
                            yield message
                except ConnectionClosed as exc:
                    gone = self._closed(exc)
                finally:
                    with contextlib.suppress(ConnectionClosed, TimeoutError):
                        await connection.close()
            self._turn += 1
            self._on_event(gone)
            if gone.delay_seconds is None:
                return
            await asyncio.sleep(gone.delay_seconds)

    # One connection.

    async def _open(self) -> ClientConnection:
        try:
            return await connect(
                self.url,
                open_timeout=self._open_timeout,
                close_timeout=_GOODBYE_SECONDS,
                compression=self._compression,
                # None from the environment: a load test through somebody's proxy tests that proxy.
                proxy=None,
                max_size=None,
                ssl=(self._tls or True) if self.url.startswith("wss:") else None,
                # Silence is judged by what the node says: a ping would find its kernel alive, not its feed.
                ping_interval=None,
            )
        except InvalidStatus as exc:
            status = exc.response.status_code
            if status < 500 and status not in _TRANSIENT:
                raise ClientError(f"{self.url} answers HTTP {status}: not a node, or not for us") from exc
            raise

    async def _messages(self, connection: ClientConnection) -> AsyncGenerator[Message, None]:
        """Yields until the connection closes: ConnectionClosed always ends it."""
        self._connection, self._why = connection, ""
        session = Session(self.standing, self.channels, self._on_event, **self._options, url=self.url)
        watching = asyncio.create_task(self._watch(connection, session))
        now = asyncio.get_running_loop().time
        try:
            while True:
                self._waits_since = now()
                raw = await connection.recv(decode=True)
                self._waits_since = None  # how long the user takes is not the node's silence
                message = session.receive(raw)
                if message is not None:
                    yield message
                for text in session.to_send:
                    await connection.send(text, text=True)
                session.to_send.clear()
                if session.subscribed:
                    self._attempt = 0
                if session.leave:
                    self._cut(session.leave)
        except RefusedError as exc:
            raise ClientError(f"{self.url} refuses: {exc}") from exc
        finally:
            self._connection = self._waits_since = None
            watching.cancel()

    async def _watch(self, connection: ClientConnection, session: Session) -> None:
        """Asks for a sign of life when it gets quiet, and ends the connection when none comes."""
        now = asyncio.get_running_loop().time
        asked, ack_due = 0, now() + self._open_timeout
        while True:
            await asyncio.sleep(min(self._silence, self._open_timeout) / 4)
            if session.asked != asked:
                asked, ack_due = session.asked, now() + self._open_timeout
            quiet = now() - self._waits_since if self._waits_since is not None else 0.0
            if not session.subscribed and now() > ack_due:
                self._cut("no acknowledgement")
            elif quiet > self._silence:
                self._cut(f"silent for {self._silence:g} s")
            elif quiet > self._silence / 2:
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(HEARTBEAT, text=True)

    def _cut(self, why: str) -> None:
        if self._connection is not None:
            self._why = self._why or why
            self._connection.transport.abort()

    # Between two connections.

    def _not_opened(self, exc: Exception) -> Disconnected:
        retry_after = 0.0
        if isinstance(exc, InvalidStatus):
            why = f"HTTP {exc.response.status_code}"
            retry_after = retry_after_seconds(exc.response.headers.get("Retry-After"))
        elif isinstance(exc, TimeoutError):
            why = f"no answer within {self._open_timeout:g} s"
        elif isinstance(exc, ConnectionClosed):
            why = "connection lost before it was open"
        else:
            why = getattr(exc, "strerror", None) or str(exc)
        return Disconnected(why, None, self._delay(retry_after))

    def _closed(self, exc: ConnectionClosed) -> Disconnected:
        if self._why:
            return Disconnected(self._why, None, self._delay())
        code, reason = (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd else (None, "")
        after = after_seconds(code, reason)
        why = f"closed with {code}" + (f" ({reason})" if reason else "") if code else "connection lost"
        return Disconnected(why, code, after if after is not None and self._reconnect else self._delay())

    def _delay(self, retry_after: float = 0.0) -> float | None:
        if not self._reconnect:
            return None
        self._attempt += 1
        first, longest = self._retry
        return jittered_seconds(
            self._attempt, self._rng, retry_after=retry_after, first=first, longest=longest
        )
