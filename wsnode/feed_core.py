"""Reading core NATS, for those without JetStream: nothing is kept, so what was missed is gone.

Messages get a sequence by this node's own count, and an epoch of its own: no other node, and no
other process, can go on from them. What may have been missed leaves a hole in the count, which the
next `prev` tells: over each interruption, each pause, and where messages come faster than
WS_MAX_NATS_RATE. What the broker loses between its own servers nobody can see.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wsnode.counters import Counters
from wsnode.feed_sorting import Sorter
from wsnode.feed_state import FeedState
from wsnode.feed_stream import PAUSED, STOPPING
from wsnode.natsclient import settled, subscribe_directly, unsubscribe_directly
from wsnode.pull import parse_headers
from wsnode.ring import Ring

if TYPE_CHECKING:
    from nats.aio.client import Client

_log = logging.getLogger(__name__)
_REFUSED_RETRY_SECONDS = 2.0
_BREATHE_EVERY = 64


class CoreReader:
    """Reads the subjects themselves.

    Args:
        on_restart: called once messages can come, with the epoch of this process.
    """

    def __init__(
        self,
        state: FeedState,
        ring: Ring,
        counters: Counters,
        sorter: Sorter,
        *,
        on_restart: Callable[[str], None],
    ) -> None:
        self._state, self._ring, self._counters, self._sorter = state, ring, counters, sorter
        self._on_restart = on_restart
        self._ended: asyncio.Future[str] | None = None
        self._begun = False  # of this subscription: the server knows of it

    def interrupt(self, reason: str) -> bool:
        """Ends what is being read; False when nothing is."""
        if self._ended is None:
            return False
        if not self._ended.done():
            self._ended.set_result(reason)
        return True

    async def read(self, client: Client) -> None:
        """Reads over one connection until it is gone."""
        state = self._state
        if state.epoch:
            self._counters.feed_reconnects += 1
        while not client.is_closed and not state.stopping:
            await state.unpaused.wait()
            reason = await self._listen(client)
            if reason not in (PAUSED, STOPPING):
                state.lost_touch()
                state.say("subject", "reading of NATS was interrupted, going on", reason=reason)

    async def _listen(self, client: Client) -> str:
        """Reads by one subscription until something comes between, and says what."""
        state = self._state
        self._begun, state.refused = False, None
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended = ended
        subscriptions = []
        try:
            for subject in state.settings.js_stream_subjects:
                subscriptions.append(await subscribe_directly(client, subject, self._received))
            await settled(client)
            if state.refused is not None and not self._begun:
                # Said before the flush was answered, if at all: there is no other answer to a subscription.
                state.lost_touch()
                await asyncio.sleep(_REFUSED_RETRY_SECONDS)
                return state.refused
            if client.is_closed:
                return "disconnected"
            self._begin()
            state.caught_up()
            return await ended
        finally:
            self._ended = None
            for subscription in subscriptions:
                await unsubscribe_directly(client, subscription)

    def _begin(self) -> None:
        """From now on nothing is missed. What came before is not known, and so is a hole."""
        if self._begun:
            return
        self._begun = True
        if self._state.epoch:
            self._sorter.lose(self._ring.position + 1)
            return
        self._state.epoch = secrets.token_hex(8)
        self._ring.restart(0)
        self._on_restart(self._state.epoch)

    def _received(self, subject: bytes, reply: bytes, data: bytes, header: bytes | None) -> bool:
        """One message. True when it is time to let others work."""
        if self._ended is None or self._ended.done():
            return False
        self._begin()
        self._counters.messages_in += 1
        self._counters.bytes_in += len(data)
        seq, name = self._ring.position + 1, subject.decode(errors="replace")
        bucket, now = self._state.bucket, time.monotonic()
        if bucket.wait_seconds(now):
            self._sorter.leave_out(seq, name, "rate")
        else:
            bucket.take(now, 1)
            try:
                self._sorter.take(seq, time.time_ns() // 1_000_000, name, parse_headers(header), data)
            except Exception:  # told already as a loss; the library must go on reading
                _log.exception("message %d could not be handled", seq)
        return not seq % _BREATHE_EVERY
