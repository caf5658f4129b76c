"""The feed: this node's place in the stream, kept over every interruption.

One task connects to the broker, makes sure of the stream, reads it with an ephemeral pull consumer,
and after any interruption goes on from the last sequence + 1 with a consumer made anew. To pause is
not to pull: the consumer is let go, and made again when reading goes on.

Liveness never hangs on it: a broker that is away is waited for, said at a bounded rate, and told to
clients once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wsnode.broker import connected, phrase
from wsnode.config import Settings
from wsnode.config.sources import mask_addresses
from wsnode.counters import Counters
from wsnode.jetstream import (
    JetStreamApi,
    JetStreamError,
    StreamInfo,
    stream_limits,
    stream_problem,
    wanted_stream,
)
from wsnode.logs import RateLimited, fields
from wsnode.natsclient import NOT_UTF8
from wsnode.protocol.envelope import TYPE_HEADER, is_json, message_type
from wsnode.pull import Pull, Received
from wsnode.rates import TokenBucket
from wsnode.ring import Message, Ring
from wsnode.view import FeedStatus, StreamLimits

if TYPE_CHECKING:
    from nats.aio.client import Client

_log = logging.getLogger(__name__)
_SAY_EVERY_SECONDS = 30.0
_RETRY_SECONDS = 0.1
_RETRY_AT_MOST_SECONDS = 1.0
_PROBLEM_RETRY_SECONDS = 2.0
_STOP_AGAIN_SECONDS = 0.2
_LIMITS_SECONDS = 30.0  # between two looks at what the stream keeps, for those who compare it
# A stream that vanished is most likely being made again by someone who knows how it should be.
_MISSING_STREAM_GRACE_SECONDS = 2.0


def epoch_of(stream: str, created: str) -> str:
    """What identifies a stream's sequence numbers: the same on every node that reads it."""
    return hashlib.sha256(f"{stream}\n{created}".encode()).hexdigest()[:16]


class Feed:
    """Reads the stream into the ring and hands messages on.

    Args:
        on_message: takes each message that is to be sent.
        on_connected: called with False when the feed is lost and with True when it is caught up again.
        on_restart: called when the stream is another one than before, with its epoch.
        on_hole: called with the end of a hole: what was gone before it could be read.
        on_unsent: called with the sequence of a message that can't be sent.
        room: how many messages the fan-out takes before it lets any go.
    """

    def __init__(
        self,
        settings: Settings,
        ring: Ring,
        counters: Counters,
        *,
        on_message: Callable[[Message], None],
        on_connected: Callable[[bool], None],
        on_restart: Callable[[str], None],
        on_hole: Callable[[int], None],
        on_unsent: Callable[[int], None],
        room: Callable[[], int],
    ) -> None:
        self._settings, self._ring, self._counters = settings, ring, counters
        self._on_message, self._on_connected = on_message, on_connected
        self._on_restart, self._on_hole, self._on_unsent = on_restart, on_hole, on_unsent
        self._room = room
        self._prefixes = tuple(subject.removesuffix(">") for subject in settings.js_stream_subjects)
        self._bucket = TokenBucket(settings.max_nats_rate)
        self._pull: Pull | None = None
        self._unpaused = asyncio.Event()
        self._unpaused.set()
        self._created = ""
        self._connected = self._seeded = False
        self._told = True  # what clients were told last; a fresh node has nothing to take back
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._lag = 0
        self._target = 0  # what has to be read to be caught up
        self._problem: str | None = None
        self._trouble_told: str | None = None
        self._cause: Exception | None = None  # what the library met last, on this try
        self._limits: StreamLimits | None = None
        self._epoch = ""
        self._missing_since: float | None = None
        self._retry = _RETRY_SECONDS
        self._say = RateLimited(_log, _SAY_EVERY_SECONDS).warning

    @property
    def status(self) -> FeedStatus:
        """Where the feed stands."""
        return FeedStatus(
            connected=self._connected,
            paused=not self._unpaused.is_set(),
            seeded=self._seeded,
            position=self._ring.position,
            lag=self._lag,
            epoch=self._epoch,
            oldest=self._ring.oldest,
            problem=self._problem,
            trouble=self._trouble_told,
            stream=self._limits,
        )

    def update(self, settings: Settings) -> None:
        """Takes new live settings over."""
        self._settings = settings
        if settings.max_nats_rate != self._bucket.rate:
            self._bucket = TokenBucket(settings.max_nats_rate)

    def pause(self, paused: bool) -> None:
        """Holds reading back, or lets it go on from where it was."""
        if paused and self._unpaused.is_set():
            self._unpaused.clear()
            if self._pull is not None:
                self._pull.end("paused")
        elif not paused:
            self._unpaused.set()

    def start(self) -> None:
        """Reads from now on, until `stop`."""
        self._task = asyncio.create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """Ends reading for good, whatever the broker is doing."""
        self._stopping = True
        if self._pull is not None:
            self._pull.end("stopping")
        # More than once: the library swallows a cancellation that meets it while it writes.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_STOP_AGAIN_SECONDS)

    async def _run(self) -> None:
        while not self._stopping:
            self._cause = None
            try:
                async with connected(self._settings, self._trouble, self._disconnected) as client:
                    await self._read(client)
            except Exception as error:
                # Whatever happens with the broker must not end the node; it is told and tried again.
                # In the end the library says only that no server is left; the cause came before.
                cause = phrase(self._cause or error)
                self._trouble_told = f"{mask_addresses(self._settings.nats_url)}: {cause}"
                self._say("broker", "no feed from NATS, trying again", error=phrase(error))
            self._lost_touch()
            await asyncio.sleep(self._retry * (0.5 + secrets.randbelow(1000) / 1000))
            self._retry = min(self._retry * 2, _RETRY_AT_MOST_SECONDS)

    async def _read(self, client: Client) -> None:
        """Reads over one connection until it is gone."""
        api = JetStreamApi(client, self._settings.js_stream_name)
        if self._created:
            self._counters.feed_reconnects += 1
        while not client.is_closed and not self._stopping:
            await self._unpaused.wait()
            info = await self._stream(api)
            if info is None or self._problem is not None:
                self._lost_touch()
                await asyncio.sleep(_PROBLEM_RETRY_SECONDS if self._problem else 0.2)
                continue
            self._adopt(info)
            self._target = info.last_seq
            reason = await self._consume(client, api)
            if reason == "gap":
                self._counters.feed_gaps += 1
            if reason not in ("paused", "stopping"):
                self._lost_touch()
                self._say("consumer", "reading of the stream was interrupted, going on", reason=reason)
                await asyncio.sleep(0.05)

    def _trouble(self, error: Exception) -> None:
        self._cause = error
        self._say("client", "trouble with NATS", error=phrase(error))

    def _disconnected(self) -> None:
        if self._pull is not None:
            self._pull.end("disconnected")
        elif not self._stopping:  # paused: nobody else would notice
            self._lost_touch()

    async def _stream(self, api: JetStreamApi) -> StreamInfo | None:
        """The stream as it is now, made if there is none; None when it is to be asked for again."""
        info = await api.stream_info()
        if info is None:
            now = time.monotonic()
            if self._created and self._missing_since is None:
                self._missing_since = now
            if self._missing_since is not None and now - self._missing_since < _MISSING_STREAM_GRACE_SECONDS:
                return None
            info = await api.create_stream(wanted_stream(self._settings))
            _log.info("stream created", extra=fields(stream=self._settings.js_stream_name))
        self._missing_since = None
        self._limits = stream_limits(info)
        self._problem = stream_problem(info, self._settings)
        if self._problem is not None:
            self._say("problem", "the stream can't be used", problem=self._problem)
        return info

    def _adopt(self, info: StreamInfo) -> None:
        """Finds the place in the stream: the one known, or the beginning of its window."""
        known, ring = self._created, self._ring
        if known == info.created and info.last_seq >= ring.position:
            return
        self._created = info.created
        self._epoch = epoch_of(self._settings.js_stream_name, info.created)
        first = max(info.first_seq, info.last_seq + 1 - ring.window.max_messages, 1)
        if not info.messages:
            first = info.last_seq + 1
        ring.restart(first - 1)
        if known:
            _log.warning("the stream is another one than before", extra=fields(epoch=self._epoch))
        self._on_restart(self._epoch)

    async def _consume(self, client: Client, api: JetStreamApi) -> str:
        settings = self._settings
        node = "".join(c if c.isascii() and c.isalnum() else "-" for c in settings.node_name)[:48]
        name = f"{settings.js_consumer_name}-{node}-{secrets.token_hex(4)}"
        self._pull = pull = Pull(
            client,
            settings.js_stream_name,
            name,
            on_message=self._message,
            room=self._room,
            bucket=lambda: self._bucket,
        )
        if not self._unpaused.is_set():
            return "paused"
        self._lag = await api.create_consumer(name, self._ring.position + 1)
        pull.catching_up = self._lag > 0
        if not pull.catching_up:
            self._caught_up()
        checking = asyncio.create_task(self._watch_stream(api, name, pull))
        try:
            reason = await pull.run()
            if reason == "paused":
                with contextlib.suppress(JetStreamError):  # it would go by itself, this is only sooner
                    await api.delete_consumer(name)
            return reason
        finally:
            self._pull = None
            checking.cancel()

    async def _watch_stream(self, api: JetStreamApi, name: str, pull: Pull) -> None:
        """The last of what waited may have aged out meanwhile: then no message says that all is read.

        Afterwards what the stream keeps is looked at now and then: somebody may change it.
        """
        while pull.catching_up:
            await asyncio.sleep(1.0)
            with contextlib.suppress(Exception):  # trouble with the broker is told by those who read
                if pull.catching_up and not await api.pending(name):
                    self._caught_up()
        while self._pull is pull:
            await asyncio.sleep(_LIMITS_SECONDS)
            with contextlib.suppress(Exception):
                if (info := await api.stream_info()) is not None:
                    self._limits = stream_limits(info)

    def _message(self, received: Received) -> None:
        """One message of the stream."""
        self._counters.messages_in += 1
        self._lag = received.pending
        seq, ring = received.stream_seq, self._ring
        if seq <= ring.position:
            # Not asked for, so the stream was made anew since it was looked at: it is looked at again.
            if self._pull is not None:
                self._pull.end("the stream is another one")
            return
        if ring.advance(seq):
            self._counters.stream_holes += 1
            self._on_hole(ring.hole)
        try:
            self._sort(received, seq)
        except Exception:
            # It counts as read, and nobody has it: the next `prev` of any channel has to say so.
            ring.lose(seq)
            self._on_hole(seq)
            raise
        caught_up = received.pending == 0 or seq >= self._target
        if caught_up and self._pull is not None and self._pull.catching_up:
            self._caught_up()

    def _sort(self, received: Received, seq: int) -> None:
        """To the clients, or not: other subjects of the stream and what can't be sent stay behind."""
        for prefix in self._prefixes:
            if received.subject.startswith(prefix):
                channel = received.subject[len(prefix) :]
                break
        else:
            return
        problem = self._problem_of(channel, received.data)
        if problem is not None:
            self._counters.bad_payloads[problem] += 1
            self._say(
                f"payload {problem}", "message not sent", problem=problem, seq=seq, subject=received.subject
            )
            self._ring.skip(channel, seq)
            self._on_unsent(seq)
            return
        kind = message_type(received.headers.get(TYPE_HEADER))
        message = Message(seq, received.ts_ms, kind, channel, self._ring.prev(channel), received.data)
        self._ring.add(message, time.time_ns() // 1_000_000)
        self._on_message(message)

    def _problem_of(self, channel: str, payload: bytes) -> str | None:
        if NOT_UTF8 in channel:
            return "subject"
        if len(payload) > self._settings.max_message_bytes:
            return "size"
        return None if is_json(payload) else "json"

    def _caught_up(self) -> None:
        if self._pull is not None:
            self._pull.catching_up = False
        self._connected = self._seeded = True
        self._trouble_told = None
        self._retry = _RETRY_SECONDS  # not merely let in: a broker may do that and have no stream to read
        if not self._told:
            self._told = True
            self._on_connected(True)
            _log.info("the feed is back", extra=fields(position=self._ring.position))

    def _lost_touch(self) -> None:
        self._connected = False
        if self._told and self._seeded:
            self._told = False
            self._on_connected(False)
