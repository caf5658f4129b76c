"""How a feed stands: what its readers note, what the admin port sees of it, and what clients are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from wsnode.config import Settings
from wsnode.logs import RateLimited, fields
from wsnode.rates import TokenBucket
from wsnode.ring import Ring
from wsnode.view import FeedStatus, StreamLimits

_log = logging.getLogger(__name__)
_SAY_EVERY_SECONDS = 30.0
RETRY_SECONDS = 0.1


class FeedState:
    """Shared by a feed's parts, all in one event loop.

    Attributes:
        settings: those in force.
        bucket: WS_MAX_NATS_RATE.
        unpaused: set while reading is wanted.
        stopping: reading ends for good.
        connected, seeded, lag, epoch, problem, trouble, limits: see `view.FeedStatus`.
        refused: what the broker did not let the node do since it connected.
        retry_seconds: how long to wait before the next try.
        say: a warning at a bounded rate.
    """

    def __init__(self, settings: Settings, ring: Ring, on_connected: Callable[[bool], None]) -> None:
        self.settings = settings
        self.bucket = TokenBucket(settings.max_nats_rate)
        self.unpaused = asyncio.Event()
        self.unpaused.set()
        self.stopping = False
        self.connected = self.seeded = False
        self.lag = 0
        self.epoch = ""
        self.problem: str | None = None
        self.trouble: str | None = None
        self.refused: str | None = None
        self.limits: StreamLimits | None = None
        self.retry_seconds = RETRY_SECONDS
        self.say = RateLimited(_log, _SAY_EVERY_SECONDS).warning
        self._ring, self._on_connected = ring, on_connected
        self._told = True  # what clients were told last; a fresh node has nothing to take back

    @property
    def status(self) -> FeedStatus:
        """For those outside."""
        return FeedStatus(
            connected=self.connected,
            paused=not self.unpaused.is_set(),
            seeded=self.seeded,
            position=self._ring.position,
            lag=self.lag,
            epoch=self.epoch,
            oldest=self._ring.oldest,
            problem=self.problem or (None if self.connected else self.refused),
            trouble=self.trouble,
            stream=self.limits,
        )

    def update(self, settings: Settings) -> None:
        """Takes new live settings over."""
        self.settings = settings
        if settings.max_nats_rate != self.bucket.rate:
            self.bucket = TokenBucket(settings.max_nats_rate)

    def caught_up(self) -> None:
        """All that waited was read, and more can come."""
        self.connected = self.seeded = True
        self.trouble = None
        self.retry_seconds = RETRY_SECONDS  # not merely let in: a broker may do that and have no stream
        if not self._told:
            self._told = True
            self._on_connected(True)
            _log.info("the feed is back", extra=fields(position=self._ring.position))

    def lost_touch(self) -> None:
        """Messages may be waiting that the node can't read."""
        self.connected = False
        if self._told and self.seeded:
            self._told = False
            self._on_connected(False)
