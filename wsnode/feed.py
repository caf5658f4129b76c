"""The feed: a connection to the broker, kept over every interruption, and a reader over it.

One task connects, lets the reader read until the connection is gone, and connects again. There are
three readers: of the stream by a consumer (`feed_stream`), of what the stream republishes
(`feed_republished`, WS_REPUBLISH_SUBJECT), and of core NATS (`feed_core`, WS_FEED=core). To pause is
not to read.

Liveness never hangs on it: a broker that is away is waited for, said at a bounded rate, and told to
clients once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from wsnode.broker import connected, phrase
from wsnode.config import Settings
from wsnode.config.sources import mask_addresses
from wsnode.counters import Counters
from wsnode.feed_core import CoreReader
from wsnode.feed_republished import RepublishedReader
from wsnode.feed_sorting import Sorter
from wsnode.feed_state import FeedState
from wsnode.feed_stream import PAUSED, STOPPING, StreamReader
from wsnode.jetstream import NOT_ENABLED, JetStreamError
from wsnode.ring import Message, Ring
from wsnode.view import FeedStatus

if TYPE_CHECKING:
    from nats.aio.client import Client

_RETRY_AT_MOST_SECONDS = 1.0
_STOP_AGAIN_SECONDS = 0.2
_FORBIDDEN, _TO_LISTEN = "permissions violation", "for subscription"


class Reader(Protocol):
    """Reads messages over a connection that the feed keeps."""

    def interrupt(self, reason: str) -> bool:
        """Ends what is being read; False when nothing is."""

    async def read(self, client: Client) -> None:
        """Reads over one connection until it is gone."""


class Feed:
    """Reads messages into the ring and hands them on.

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
        self._state = state = FeedState(settings, ring, on_connected)
        sorter = Sorter(state, ring, counters, on_message=on_message, on_hole=on_hole, on_unsent=on_unsent)
        self._reader: Reader
        if settings.feed == "core":
            self._reader = CoreReader(state, ring, counters, sorter, on_restart=on_restart)
        else:
            kind = RepublishedReader if settings.republish_subject else StreamReader
            self._reader = kind(state, ring, counters, sorter, on_restart=on_restart, room=room)
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._cause: Exception | None = None  # what the library met last, on this try

    @property
    def status(self) -> FeedStatus:
        """Where the feed stands."""
        return self._state.status

    def update(self, settings: Settings) -> None:
        """Takes new live settings over."""
        self._state.update(settings)

    def pause(self, paused: bool) -> None:
        """Holds reading back, or lets it go on from where it was."""
        unpaused = self._state.unpaused
        if paused and unpaused.is_set():
            unpaused.clear()
            self._reader.interrupt(PAUSED)
        elif not paused:
            unpaused.set()

    def start(self) -> None:
        """Reads from now on, until `stop`."""
        self._task = asyncio.create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """Ends reading for good, whatever the broker is doing."""
        self._state.stopping = True
        self._reader.interrupt(STOPPING)
        # More than once: the library swallows a cancellation that meets it while it writes.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_STOP_AGAIN_SECONDS)

    async def _run(self) -> None:
        state = self._state
        while not state.stopping:
            self._cause = None
            try:
                async with connected(state.settings, self._trouble, self._disconnected) as self._client:
                    state.refused = None
                    await self._reader.read(self._client)
            except Exception as error:
                # Whatever happens with the broker must not end the node; it is told and tried again.
                # In the end the library says only that no server is left; the cause came before.
                cause = phrase(self._cause or error)
                state.trouble = f"{mask_addresses(state.settings.nats_url)}: {cause}"
                state.say("broker", "no feed from NATS, trying again", error=phrase(error))
                if isinstance(error, JetStreamError) and error.code in NOT_ENABLED:
                    state.refused = f"{error.description}; WS_FEED=core does without"
            state.lost_touch()
            await asyncio.sleep(state.retry_seconds * (0.5 + secrets.randbelow(1000) / 1000))
            state.retry_seconds = min(state.retry_seconds * 2, _RETRY_AT_MOST_SECONDS)

    def _trouble(self, error: Exception) -> None:
        """What the library met. What is forbidden is not answered: nothing else would say it."""
        self._cause, text = error, phrase(error)
        self._state.say("client", "trouble with NATS", error=text)
        if _FORBIDDEN in text.lower():
            self._state.refused = text
            if _TO_LISTEN in text.lower():  # perhaps one that was allowed before
                self._reader.interrupt(text)

    def _disconnected(self) -> None:
        if not self._reader.interrupt("disconnected") and not self._state.stopping:
            self._state.lost_touch()  # paused: nobody else would notice
