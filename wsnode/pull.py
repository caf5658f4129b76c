"""Reading a pull consumer by its own requests: two pulls outstanding, each bounded in messages and bytes.

The library's `fetch` has no byte limit. A pull is a MSG.NEXT request with an inbox to answer to; the
server sends messages (each with its stream and consumer sequence in the reply subject) until the
pull's count or bytes are used up or it expires, and status messages in between. Source: the
JetStream wire API reference (NATS documentation), ADR-9 for heartbeats.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import orjson

from wsnode.natsclient import settled, subscribe_directly, unsubscribe_directly
from wsnode.rates import TokenBucket

if TYPE_CHECKING:
    from nats.aio.client import Client

_log = logging.getLogger(__name__)

PULL_MESSAGES = 500
PULL_BYTES = 1 << 20
_EXPIRES_SECONDS = 30.0
HEARTBEAT_SECONDS = 1.0
# Ticks of a second without a heartbeat after which the consumer counts as lost. Counted by the
# loop's own ticks, not by the clock: a loop that was busy must not take its own lateness for silence.
_SILENT_TICKS = 3
_CATCHING_UP_TICK_SECONDS = 0.02
_BREATHE_EVERY = 64
_NANOSECONDS = 1_000_000_000


class Received(NamedTuple):
    """One message, and where it stands."""

    stream_seq: int
    consumer_seq: int
    ts_ms: int
    pending: int
    subject: str
    headers: Mapping[str, str]
    data: bytes


_NO_HEADERS: Mapping[str, str] = {}


def parse_headers(header: bytes | None) -> dict[str, str]:
    """The fields of a message's header; of a status message its Status and Description too.

    NATS/1.0[ <status>[ <description>]], then lines as HTTP has them (ADR-4). The first of a name counts.
    """
    found: dict[str, str] = {}
    if not header:
        return found
    first, *lines = header.decode(errors="replace").split("\r\n")
    _, _, inline = first.partition(" ")
    if inline:
        found["Status"], _, found["Description"] = inline.strip().partition(" ")
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name, value.strip())
    return found


class NotDeliveryError(ValueError):
    """A message carries no reply subject of a JetStream delivery."""


def parse_reply(reply: bytes) -> tuple[int, int, int, int]:
    """Stream sequence, consumer sequence, time in ms and messages pending, from a delivery's reply subject.

    $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, with a domain
    and an account hash before the stream on newer servers (ADR-15).

    Raises:
        NotDeliveryError: it is no such subject.
    """
    tokens = reply.split(b".")
    first = 5 if len(tokens) == 9 else 7
    if len(tokens) < 9 or tokens[0] != b"$JS" or tokens[1] != b"ACK":
        raise NotDeliveryError(repr(reply))
    stream_seq, consumer_seq, nanoseconds, pending = map(int, tokens[first : first + 4])
    return stream_seq, consumer_seq, nanoseconds // 1_000_000, pending


class Pull:
    """One consumer, read until something interrupts it.

    Args:
        on_open: called when the broker has the first requests, and was free to refuse them.
        on_message: takes each message, in order.
        room: how many more messages can be taken, which counts while catching up.
        bucket: WS_MAX_NATS_RATE.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        consumer: str,
        *,
        on_open: Callable[[], None],
        on_message: Callable[[Received], None],
        room: Callable[[], int],
        bucket: Callable[[], TokenBucket],
    ) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._inbox_bytes = self._inbox.encode()
        self._on_open, self._on_message = on_open, on_message
        self._room, self._bucket = room, bucket
        self._outstanding = 0
        self._expected = 1
        self._silent = 0
        self._ended: str | None = None
        self._wake = asyncio.Event()
        self.catching_up = False
        # The server never lets a message through that is above the pull's bytes: the largest that
        # it may hold has to fit, with room for subject and headers.
        self._bytes = max(PULL_BYTES, client.max_payload + 65_536)

    def end(self, reason: str) -> None:
        """Stops reading; nothing more is handed on. Called from outside to pause or to stop."""
        if self._ended is None:
            self._ended = reason
        self._wake.set()

    async def run(self) -> str:
        """Reads until something ends it: what `end` was given, or what the server said."""
        subscription = await subscribe_directly(self._client, self._inbox, self._received)
        try:
            await self._top_up()
            await settled(self._client)
            self._on_open()
            tick = time.monotonic() + HEARTBEAT_SECONDS
            while self._ended is None:
                wait = await self._top_up()
                if self._ended is not None:
                    break
                await self._sleep(min(wait, tick - time.monotonic()))
                if time.monotonic() >= tick:
                    tick = time.monotonic() + HEARTBEAT_SECONDS
                    self._tick()
        finally:
            await unsubscribe_directly(self._client, subscription)
        return self._ended or "stopped"

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _tick(self) -> None:
        if self._client.is_closed:
            self.end("disconnected")
            return
        self._silent += 1
        if self._silent >= _SILENT_TICKS:
            self.end("no heartbeat")

    async def _top_up(self) -> float:
        """Keeps two pulls' worth of messages asked for. Returns when to look again, in seconds."""
        while self._outstanding <= PULL_MESSAGES:
            wanted = PULL_MESSAGES
            if self.catching_up:
                # A backlog comes as fast as it is asked for: not faster than the line can take it.
                wanted = min(wanted, self._room() - self._outstanding)
                if wanted < 1:
                    return _CATCHING_UP_TICK_SECONDS
            bucket, now = self._bucket(), time.monotonic()
            if wait := bucket.wait_seconds(now):
                return wait
            if bucket.rate:
                wanted = max(1, min(wanted, int(bucket.available(now))))
                bucket.take(now, wanted)
            self._outstanding += wanted
            request = {
                "batch": wanted,
                "max_bytes": self._bytes,
                "expires": int(_EXPIRES_SECONDS * _NANOSECONDS),
                "idle_heartbeat": int(HEARTBEAT_SECONDS * _NANOSECONDS),
            }
            try:
                await self._client.publish(self._subject, orjson.dumps(request), reply=self._inbox)
            except Exception as error:  # whatever the library raises on a connection that just went
                self.end(f"disconnected: {error}")
                break
        return HEARTBEAT_SECONDS

    def _received(self, subject: bytes, reply: bytes, data: bytes, header: bytes | None) -> bool:
        """What the server sent, once a message. True when it is time to let others work."""
        if self._ended is not None:
            return False
        self._silent = 0
        if subject == self._inbox_bytes:
            self._status(parse_headers(header))
            return False
        try:
            stream_seq, consumer_seq, ts_ms, pending = parse_reply(reply)
        except ValueError:
            self.end(f"a message without a place in the stream: {reply!r}")
            return False
        if consumer_seq != self._expected:
            self.end("gap")
            return False
        self._expected += 1
        self._outstanding -= 1
        headers = parse_headers(header) if header is not None else _NO_HEADERS
        name = subject.decode(errors="replace")
        received = Received(stream_seq, consumer_seq, ts_ms, pending, name, headers, data)
        try:
            self._on_message(received)
        except Exception:
            # The library would say it and read on, and the message would be lost in silence.
            _log.exception("message %d could not be handled", stream_seq)
            self.end("error")
            return False
        if self._outstanding <= PULL_MESSAGES:
            self._wake.set()
        # The library reads on without a pause through all that has come; others have work to do.
        return not consumer_seq % _BREATHE_EVERY

    def _status(self, headers: Mapping[str, str]) -> None:
        """A status message: a heartbeat, the end of a pull, or the end of the consumer."""
        status = headers.get("Status", "")
        description = headers.get("Description", "")
        if status == "100":
            return
        pending = headers.get("Nats-Pending-Messages")
        if status in ("404", "408") or (status == "409" and pending is not None):
            # This pull is over (expired, or its bytes used up) with so many messages unsent.
            self._outstanding = max(0, self._outstanding - int(pending or 0))
            self._wake.set()
            return
        self.end(f"{status} {description}".strip())
