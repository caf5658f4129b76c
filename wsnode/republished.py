"""What a stream republishes on core NATS, and the flow of it.

A republished message is the stored one with its stream, subject, sequence and time as headers (ADR-28).
The server adds them behind the publisher's: of several of a name the last is the server's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wsnode.feed_state import FeedState
from wsnode.natsclient import settled, subscribe_directly, unsubscribe_directly

if TYPE_CHECKING:
    from nats.aio.client import Client

_log = logging.getLogger(__name__)

KEPT_MESSAGES = 1000
KEPT_BYTES = 8 << 20
GAP = "gap"
_BREATHE_EVERY = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ADDED = ("Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp")
_WITHOUT_DATA = "Nats-Msg-Size"  # the server says so how long the data is that it did not send


@dataclass(frozen=True, slots=True)
class Republished:
    """One message, and where it stands in which stream. `headers` are the publisher's.

    `whole` False: somebody has set the stream to republish headers alone; `data` is empty.
    """

    stream: str
    seq: int
    ts_ms: int
    subject: str
    headers: Mapping[str, str]
    data: bytes
    whole: bool = True


def parse_republished(header: bytes | None, data: bytes) -> Republished:
    """A message as the server republished it.

    Raises:
        ValueError: its place in a stream is not said.
    """
    added: dict[str, str] = {}
    headers: dict[str, str] = {}
    whole = True
    for line in (header or b"").decode(errors="replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if name in _ADDED:
            added[name] = value.strip()
        elif name == _WITHOUT_DATA and not data:
            whole = False
        elif colon:
            headers.setdefault(name, value.strip())
    if len(added) != len(_ADDED):
        raise ValueError(f"without {', '.join(name for name in _ADDED if name not in added)}")
    stream, subject, seq, moment = (added[name] for name in _ADDED)
    ts_ms = (datetime.fromisoformat(moment) - _EPOCH) // _MILLISECOND
    return Republished(stream, int(seq), ts_ms, subject, headers, data, whole)


class Flow:
    """The messages as they come: kept while others go before them, then handed on in order.

    Args:
        position: the sequence after which the next one has to come.
        take: takes a message in its turn.
        known: whether a message from before `position` is one that was taken; else there is a doubt.

    Attributes:
        live: they are handed on.
        newest: highest sequence that came.
        ended: why they are no longer handed on.
    """

    def __init__(
        self,
        client: Client,
        state: FeedState,
        *,
        position: Callable[[], int],
        take: Callable[[Republished], None],
        known: Callable[[int, int], bool],
    ) -> None:
        self._client, self._state = client, state
        self._position, self._take, self._known = position, take, known
        self._loop = asyncio.get_running_loop()
        self._subscription: Any = None
        self._kept: deque[Republished] = deque()
        self._kept_bytes = 0
        self._later: asyncio.TimerHandle | None = None
        self._wake, self._doubt = asyncio.Event(), asyncio.Event()
        self.live = False
        self.newest = 0
        self.ended: str | None = None

    async def open(self) -> str | None:
        """Begins to listen: from now on the server sends all that is stored. Or says why it does not."""
        self._state.refused = None
        subject = self._state.settings.republish_subject
        self._subscription = await subscribe_directly(self._client, subject, self._received)
        await settled(self._client)
        return self._state.refused

    async def close(self) -> None:
        """Listens no more."""
        self.end("closed")
        if self._subscription is not None:
            await unsubscribe_directly(self._client, self._subscription)

    def end(self, reason: str) -> None:
        """Hands nothing on any more. After a gap it may go live again."""
        self.live = False
        if self.ended in (None, GAP):
            self.ended = reason
        self._wake.set()
        self._doubt.set()

    def follows(self, position: int) -> bool:
        """Whether what was kept goes on where this sequence ends."""
        return bool(self._kept) and self._kept[0].seq <= position + 1

    def go_live(self) -> None:
        """Hands on what was kept, and from then on what comes."""
        if self.ended in (None, GAP):
            self.ended = None
            self._wake.clear()
            self._doubt.clear()
            self.live = True
            self._hand_on()

    async def until_ended(self) -> str:
        """Waits until something is missing, or until it was ended."""
        await self._wake.wait()
        return self.ended or "ended"

    async def doubted(self, seconds: float) -> None:
        """Waits for a doubt, but not longer than so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._doubt.wait()
        except TimeoutError:
            pass
        if self.live:
            self._doubt.clear()

    def _received(self, subject: bytes, reply: bytes, data: bytes, header: bytes | None) -> bool:
        """One message. True when it is time to let others work."""
        try:
            message = parse_republished(header, data)
        except ValueError as error:
            self._state.say("republished", "a message on the republish subject is none", error=str(error))
            return False
        if message.stream != self._state.settings.js_stream_name or self.ended not in (None, GAP):
            return False
        if not message.whole:
            self._doubt.set()  # it is missing, then; and a look at the stream shows why
            return False
        self.newest = max(self.newest, message.seq)
        if not self.live or self._kept or not self._place(message):
            self._keep(message)
        return not message.seq % _BREATHE_EVERY

    def _keep(self, message: Republished) -> None:
        self._kept.append(message)
        self._kept_bytes += len(message.data)
        if len(self._kept) > KEPT_MESSAGES or self._kept_bytes > KEPT_BYTES:
            # They are in the stream, from which they come all the same.
            self._kept.clear()
            self._kept_bytes = 0
            if self.live:
                self.end(GAP)

    def _hand_on(self) -> None:
        """Hands on what was kept."""
        self._later = None
        while self._kept and self.live and self._place(self._kept[0]):
            self._kept_bytes -= len(self._kept.popleft().data)

    def _place(self, message: Republished) -> bool:
        """Hands a message on, or not: False where it has to be kept."""
        position = self._position()
        if message.seq <= position:
            if not self._known(message.seq, message.ts_ms):
                self._doubt.set()
            return True
        if message.seq != position + 1:
            self.end(GAP)
            return False
        bucket, now = self._state.bucket, time.monotonic()
        if wait := bucket.wait_seconds(now):
            if self._later is None:
                self._later = self._loop.call_later(wait, self._hand_on)
            return False
        bucket.take(now, 1)
        try:
            self._take(message)
        except Exception:  # told already as a loss; the library must go on reading
            _log.exception("message %d could not be handled", message.seq)
        return True
