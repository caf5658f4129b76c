"""A client of a node: an asynchronous iterator of messages that reconnects and says what it missed.

Thin on purpose: `websockets` does the connection, `gapcheck` the judging. It does not resume yet: after
a reconnect the first message of a channel whose `prev` is newer than what was seen says that something
was missed. What a resume needs (epoch, last sequence of each channel, position) is kept in `checker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from wsnode.client_messages import subscribe_message
from wsnode.gapcheck import Finding, GapChecker
from wsnode.reconnect import after_seconds, jittered_seconds, retry_after_seconds

_TRANSIENT = {408, 425, 429}
"""Refusals below 500 that a later try may not meet."""


class ClientError(Exception):
    """The client can't go on: a bad URL, or a server that refuses for good."""


@dataclass(frozen=True, slots=True)
class Message:
    """A data message. `raw` is the text as it came; `finding` what it says about messages before it."""

    channel: str
    seq: int
    prev: int
    ts: int
    """When it was published, milliseconds since the epoch; 0 where the server does not say."""
    type: str
    content: Mapping[str, Any]
    """The whole envelope, `data` with it."""
    raw: str
    finding: Finding | None

    @property
    def data(self) -> Any:
        """What the publisher sent."""
        return self.content.get("data")


@dataclass(frozen=True, slots=True)
class Connected:
    """A node said hello. `comparable` is False when it reads another stream than the last one did."""

    node: str
    epoch: str
    comparable: bool


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The channels are live: messages after `seq` will come."""

    channels: tuple[str, ...]
    seq: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is over, or could not be opened; the next try comes after `delay_seconds`."""

    why: str
    code: int | None
    delay_seconds: float | None
    """None where the client does not come back."""


@dataclass(frozen=True, slots=True)
class FeedChanged:
    """The node lost its feed, or has it again: a quiet channel may not be quiet."""

    connected: bool


@dataclass(frozen=True, slots=True)
class Told:
    """The server answered with an error."""

    code: str
    message: str


Event = Connected | Subscribed | Disconnected | FeedChanged | Told


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
        raise ClientError(f"URL {url!r}: expected ws://HOST[:PORT]/PATH")


class Client:
    """Subscribes to channels and yields their messages: `async for message in Client(url, channels)`.

    `on_event` is told of everything else. Ends when the connection does and `reconnect` is False, or
    when the iterator is closed. Raises ClientError.
    """

    def __init__(
        self,
        url: str,
        channels: Iterable[str],
        *,
        reconnect: bool = True,
        open_timeout: float = 10.0,
        on_event: Callable[[Event], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        check_url(url)
        self.url = url
        self.channels = tuple(channels)
        self.checker = GapChecker()
        self.node = ""
        self.epoch = ""
        self._reconnect = reconnect
        self._open_timeout = open_timeout
        self._on_event = on_event or (lambda _event: None)
        self._rng = rng or random.Random()
        self._attempt = 0

    async def __aiter__(self) -> AsyncGenerator[Message, None]:
        while True:
            try:
                connection = await self._open()
            except (OSError, TimeoutError, InvalidHandshake) as exc:
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
            self._on_event(gone)
            if gone.delay_seconds is None:
                return
            await asyncio.sleep(gone.delay_seconds)

    async def _open(self) -> ClientConnection:
        try:
            # No proxy from the environment: a load test through somebody's proxy tests that proxy.
            return await connect(
                self.url, open_timeout=self._open_timeout, compression=None, proxy=None, max_size=None
            )
        except InvalidStatus as exc:
            status = exc.response.status_code
            if status < 500 and status not in _TRANSIENT:
                raise ClientError(f"{self.url} answers HTTP {status}: not a node, or not for us") from exc
            raise

    async def _messages(self, connection: ClientConnection) -> AsyncGenerator[Message, None]:
        """Yields until the connection closes: ConnectionClosed always ends it."""
        await connection.send(subscribe_message(self.channels).decode(), text=True)
        while True:
            raw = await connection.recv(decode=True)
            try:
                content = orjson.loads(raw)
            except orjson.JSONDecodeError:
                content = None
            if not isinstance(content, dict):
                self._on_event(Told("BAD_MESSAGE", "the server sent something that is not a JSON object"))
                continue
            message = self._data(content, raw)
            if message is not None:
                yield message
            else:
                self._control(content)

    def _data(self, content: dict[str, Any], raw: str) -> Message | None:
        channel, seq, prev = content.get("channel"), content.get("seq"), content.get("prev")
        if not isinstance(channel, str) or type(seq) is not int or type(prev) is not int:
            return None
        ts = content.get("ts")
        finding = self.checker.message(channel, seq, prev)
        kind = str(content.get("type", ""))
        return Message(channel, seq, prev, ts if type(ts) is int else 0, kind, content, raw, finding)

    def _control(self, content: dict[str, Any]) -> None:
        kind, seq = content.get("type"), content.get("seq")
        if kind == "hello":
            self.node, self.epoch = str(content.get("node", "")), str(content.get("epoch", ""))
            changed = self.checker.connected(self.epoch)
            self._on_event(Connected(self.node, self.epoch, not changed))
        elif kind == "subscription_ack" and type(seq) is int:
            self._attempt = 0
            named = content.get("subscribed")
            channels = tuple(str(name) for name in named) if isinstance(named, list) else self.channels
            self.checker.acknowledged(channels, seq)
            self._on_event(Subscribed(channels, seq))
        elif kind == "position" and type(seq) is int:
            self.checker.position(seq)
        elif kind == "feed":
            self._on_event(FeedChanged(content.get("connected") is True))
        elif kind == "error":
            self._on_event(Told(str(content.get("code", "")), str(content.get("message", ""))))

    def _not_opened(self, exc: Exception) -> Disconnected:
        retry_after = 0.0
        if isinstance(exc, InvalidStatus):
            why = f"HTTP {exc.response.status_code}"
            retry_after = retry_after_seconds(exc.response.headers.get("Retry-After"))
        elif isinstance(exc, TimeoutError):
            why = f"no answer within {self._open_timeout:g} s"
        else:
            why = getattr(exc, "strerror", None) or str(exc)
        return Disconnected(why, None, self._delay(retry_after))

    def _closed(self, exc: ConnectionClosed) -> Disconnected:
        code, reason = (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd else (None, "")
        after = after_seconds(code, reason)
        why = f"closed with {code}" + (f" ({reason})" if reason else "") if code else "connection lost"
        return Disconnected(why, code, after if after is not None and self._reconnect else self._delay())

    def _delay(self, retry_after: float = 0.0) -> float | None:
        if not self._reconnect:
            return None
        self._attempt += 1
        return jittered_seconds(self._attempt, self._rng, retry_after=retry_after)
