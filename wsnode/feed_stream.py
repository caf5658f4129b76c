"""Reading the stream: the place in it, and the consumer that reads on from there.

After any interruption reading goes on from the last message with a consumer made anew. It begins with
the last message read, so that the stream proves to be the one that was read before: a stream may come
back with the same name, time of creation and sequence, and other messages (NATS 2.15, a clustered
stream that lost its files or its memory).
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

from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.feed_sorting import Sorter
from wsnode.feed_state import FeedState
from wsnode.jetstream import JetStreamApi, StreamInfo, stream_limits, stream_problem, wanted_stream
from wsnode.logs import fields
from wsnode.pull import Pull, Received
from wsnode.ring import Ring

if TYPE_CHECKING:
    from nats.aio.client import Client

_log = logging.getLogger(__name__)
_PROBLEM_RETRY_SECONDS = 2.0
_ASK_AGAIN_SECONDS = 0.2
_LIMITS_SECONDS = 30.0  # between two looks at what the stream keeps, for those who compare it
_NOTHING_LEFT_SECONDS = 1.0
# A stream that vanished is most likely being made again by someone who knows how it should be.
_MISSING_STREAM_GRACE_SECONDS = 2.0
PAUSED, STOPPING = "paused", "stopping"
ANOTHER_STREAM = "the stream is another one"
_ANOTHER = "another"  # in place of a time of creation: no stream has it


def epoch_of(stream: str, created: str) -> str:
    """What identifies a stream's sequence numbers: the same on every node that reads it."""
    return hashlib.sha256(f"{stream}\n{created}".encode()).hexdigest()[:16]


class StreamReader:
    """Reads a JetStream stream by a pull consumer.

    Args:
        on_restart: called when the stream is another one than before, with its epoch.
        room: how many messages the fan-out takes before it lets any go.
    """

    def __init__(
        self,
        state: FeedState,
        ring: Ring,
        counters: Counters,
        sorter: Sorter,
        *,
        on_restart: Callable[[str], None],
        room: Callable[[], int],
    ) -> None:
        self._state, self._ring, self._counters, self._sorter = state, ring, counters, sorter
        self._on_restart, self._room = on_restart, room
        self._pull: Pull | None = None
        self._created = ""
        self._target = 0  # what has to be read to be caught up
        self._last_ts_ms: int | None = None  # of the message at the ring's position, None before one was read
        self._missing_since: float | None = None

    def interrupt(self, reason: str) -> bool:
        """Ends what is being read; False when nothing is."""
        if self._pull is None:
            return False
        self._pull.end(reason)
        return True

    async def read(self, client: Client) -> None:
        """Reads over one connection until it is gone."""
        state = self._state
        api = JetStreamApi(client, state.settings.js_stream_name)
        if self._created:
            self._counters.feed_reconnects += 1
        while not client.is_closed and not state.stopping:
            await state.unpaused.wait()
            info = await self._look(api)
            if info is None or state.problem is not None:
                state.lost_touch()
                await asyncio.sleep(_PROBLEM_RETRY_SECONDS if state.problem else _ASK_AGAIN_SECONDS)
                continue
            self._adopt(info)
            reason = await self._follow(client, api, info)
            if reason == "gap":
                self._counters.feed_gaps += 1
            if reason not in (PAUSED, STOPPING):
                state.lost_touch()
                state.say("consumer", "reading of the stream was interrupted, going on", reason=reason)
                await asyncio.sleep(0.05)

    async def _look(self, api: JetStreamApi) -> StreamInfo | None:
        """The stream as it is now, made if there is none; None when it is to be asked for again."""
        state = self._state
        info = await api.stream_info()
        if info is None:
            now = time.monotonic()
            if self._created and self._missing_since is None:
                self._missing_since = now
            if self._missing_since is not None and now - self._missing_since < _MISSING_STREAM_GRACE_SECONDS:
                return None
            info = await api.create_stream(wanted_stream(state.settings))
            _log.info("stream created", extra=fields(stream=state.settings.js_stream_name))
        self._missing_since = None
        state.limits = stream_limits(info)
        state.problem = stream_problem(info, state.settings)
        if state.problem is not None:
            state.say("problem", "the stream can't be used", problem=state.problem)
        return info

    def _adopt(self, info: StreamInfo) -> None:
        """Finds the place in the stream: the one known, or the beginning of its window."""
        known, ring = self._created, self._ring
        self._target = info.last_seq
        if known == info.created and info.last_seq >= ring.position:
            return
        self._created, self._last_ts_ms = info.created, None
        self._state.epoch = epoch_of(self._state.settings.js_stream_name, info.created)
        first = max(info.first_seq, info.last_seq + 1 - ring.window.max_messages, 1)
        if not info.messages:
            first = info.last_seq + 1
        ring.restart(first - 1)
        if known:
            _log.warning("the stream is another one than before", extra=fields(epoch=self._state.epoch))
        self._on_restart(self._state.epoch)

    async def _follow(self, client: Client, api: JetStreamApi, info: StreamInfo) -> str:
        """Reads until something comes between, and says what; the node's place in the stream is known."""
        return await self._consume(client, api)

    async def _consume(self, client: Client, api: JetStreamApi) -> str:
        """Reads by a consumer of its own."""
        name = _consumer_name(self._state.settings)
        self._pull = pull = Pull(
            client,
            self._state.settings.js_stream_name,
            name,
            on_open=self._opened,
            on_message=self._message,
            room=self._room,
            bucket=lambda: self._state.bucket,
        )
        checking: asyncio.Task[None] | None = None
        try:
            if not self._state.unpaused.is_set():
                return PAUSED
            proof = self._last_ts_ms is not None
            waiting = await api.create_consumer(name, self._ring.position + (not proof))
            self._state.lag = waiting
            self._state.refused = None
            pull.catching_up = True
            checking = asyncio.create_task(self._watch(api, name, pull))
            reason = await pull.run()
            if not client.is_closed:  # it would go by itself, this is only sooner
                with contextlib.suppress(Exception):
                    await api.forget_consumer(name)
            return reason
        finally:
            self._pull = None
            if checking is not None:
                checking.cancel()

    def _opened(self) -> None:
        """The broker has been asked for messages. What it forbids it has said by now, and never again."""
        state, pull = self._state, self._pull
        assert pull is not None
        if state.refused is not None:
            pull.end(state.refused)
        elif pull.catching_up and not state.lag and self._ring.position >= self._target:
            self._all_read(pull)

    async def _watch(self, api: JetStreamApi, name: str, pull: Pull) -> None:
        """The last of what waited may have aged out meanwhile: then no message says that all is read.

        Afterwards what the stream keeps is looked at now and then: somebody may change it.
        """
        while pull.catching_up and self._pull is pull:
            await asyncio.sleep(_NOTHING_LEFT_SECONDS)
            with contextlib.suppress(Exception):  # trouble with the broker is told by those who read
                if pull.catching_up and not await api.pending(name) and self._pull is pull:
                    self._all_read(pull)
        while self._pull is pull:
            await asyncio.sleep(_LIMITS_SECONDS)
            with contextlib.suppress(Exception):
                if (info := await api.stream_info()) is not None:
                    self._seen_again(info)

    def _seen_again(self, info: StreamInfo) -> None:
        """The stream was looked at while it is read."""
        self._state.limits = stream_limits(info)

    def _all_read(self, pull: Pull) -> None:
        """All is read that was there when reading began."""
        pull.catching_up = False
        self._state.caught_up()
        self._moved(pull)

    def _moved(self, pull: Pull) -> None:
        """The place in the stream is another one, or known to be up to date."""

    def _message(self, received: Received) -> None:
        """One message of the consumer."""
        seq, pull = received.stream_seq, self._pull
        assert pull is not None
        self._counters.messages_in += 1
        self._counters.bytes_in += len(received.data)
        self._state.lag = received.pending
        if seq > self._ring.position:
            self._last_ts_ms = received.ts_ms
            self._sorter.take(seq, received.ts_ms, received.subject, received.headers, received.data)
        elif not self._known(seq, received.ts_ms):
            pull.end(ANOTHER_STREAM)
            return
        if pull.catching_up and (not received.pending or seq >= self._target):
            self._all_read(pull)
        else:
            self._moved(pull)

    def _known(self, seq: int, ts_ms: int) -> bool:
        """Whether a message at or before the node's place is one that it read; else the stream is looked at.

        The first of a consumer is sent to prove it. Others come where a copy of the stream is behind.
        """
        had = self._last_ts_ms if seq == self._ring.position else self._ring.time_of(seq)
        if had is not None and had != ts_ms:
            self._created = _ANOTHER  # whatever it says of itself
        return had == ts_ms


def _consumer_name(settings: Settings) -> str:
    node = "".join(c if c.isascii() and c.isalnum() else "-" for c in settings.node_name)[:48]
    return f"{settings.js_consumer_name}-{node}-{secrets.token_hex(4)}"
