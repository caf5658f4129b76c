"""The client port's front: accepting, the opening handshake, streams of events, refusals, `/health`.

At most 16 sockets are accepted a loop turn, so that a storm of newcomers does not hold up those who
are in: a message passes several turns from the broker to its last client. Where no descriptor is left,
accepting rests for a moment: a listener that stays readable would spin otherwise.

Who is refused is told so, and when to come back, also under TLS: that costs a TLS handshake, 0.3 to 1 ms of
CPU, which is sliced (see `secure_links`). A page's script can't read it, but other clients and balancers
can, and `/health` is asked on this port too. Only above WS_CPU_PAUSE_THRESHOLD it would be paid by those who
are in, whose feed pauses: there a TLS newcomer is closed at once, and sees its handshake fail.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable

from wsnode.admission import DESCRIPTORS_KEPT, Reason, retry_after_seconds
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.link import DEFLATE, OPEN, SSE, Link
from wsnode.links import Links
from wsnode.logs import RateLimited
from wsnode.newcomers import Newcomers, counted_address
from wsnode.protocol import sse
from wsnode.protocol.deflate import negotiate, opted_out
from wsnode.protocol.handshake import (
    CLIENT_PATH,
    HEAD_END,
    HEALTH_PATH,
    MAX_REQUEST_BYTES,
    Opening,
    http_answer,
    origin_allowed,
    read_opening,
)
from wsnode.rates import spaced

BACKLOG = 4096
ACCEPTED_A_TURN = 16
_REST_SECONDS = 0.1
_DESCRIPTORS_FOR_OTHERS = 32  # below what admission keeps: reached only by those that never ask
_OUT_OF_SOMETHING = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_UNOPENED = 1024  # connections that ask for nothing, and goodbyes: as many, or as many as may be open
_UNOPENED_OF_AN_ADDRESS = 16  # of them at least, where addresses are limited: it may ask for `/health` too
# A stream's client comes back by itself when its connection ends, and all of a lost node's do so at once.
_RETRY_MS = (1_000, 10_000)
_CORS = "Access-Control-Allow-Origin"

_log = logging.getLogger(__name__)


class Intake:
    """Accepts, reads requests and lets clients in.

    Args:
        admit: why a client from this address may not come in now, None when it may.
        healthy: what `/health` says.
        greet: called with a link that is let in, the query of its URL and the id of the last event that
            it saw (of a stream of events, else empty); returns the first messages in the link's form.
        read: called with an open link and what it sent behind its request.
        descriptors_free: how many the process may still open.
        overloaded: the node's CPU is above the threshold at which its feed pauses.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        links: Links,
        counters: Counters,
        *,
        admit: Callable[[str | None], Reason | None],
        healthy: Callable[[], bool],
        greet: Callable[[Link, str, str], bytes],
        read: Callable[[Link, bytes], None],
        descriptors_free: Callable[[], int],
        overloaded: Callable[[], bool],
    ) -> None:
        self._loop, self._listener, self._links, self._counters = loop, listener, links, counters
        self._admit, self._healthy, self._greet, self._read = admit, healthy, greet, read
        self._descriptors_free, self._overloaded = descriptors_free, overloaded
        self._random = random.Random()
        self._rest: asyncio.TimerHandle | None = None
        self._addresses: Counter[str] = Counter()
        self._newcomers = Newcomers()
        self._say = RateLimited(_log).warning

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._links.settings

    def start(self) -> None:
        """From now on the port listens and sockets are accepted.

        Raises:
            OSError: somebody else listens there.
        """
        self._rest = None
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def stop(self) -> None:
        """Takes what waits in the backlog (it is refused like the others), then closes the port."""
        if self._listener.fileno() < 0:
            return
        for _ in range(BACKLOG // ACCEPTED_A_TURN):
            if not self._accept():
                break
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def from_address(self, address: str | None) -> int:
        """Open connections of an address, of those made while addresses are limited."""
        return self._addresses[address] if address is not None else 0

    def left(self, link: Link) -> None:
        """An open link is no longer served."""
        if link.address is not None:
            self._addresses[link.address] -= 1
            if not self._addresses[link.address]:
                del self._addresses[link.address]

    def dropped(self, link: Link) -> None:
        """A link's descriptor is closed."""
        self._newcomers.discard(link)

    def request(self, link: Link, data: bytes) -> None:
        """What a link sent before its handshake is done."""
        if link.inb is not None:
            link.inb += data
            data = bytes(link.inb)
            link.inb = None
        end = data.find(HEAD_END)
        if end < 0 and len(data) <= MAX_REQUEST_BYTES:
            link.inb = bytearray(data)
            return
        if end < 0 or end > MAX_REQUEST_BYTES:
            self._refuse(link, http_answer(431, "request too large\n"), "too_large")
            return
        end += len(HEAD_END)
        opening = read_opening(data[:end])
        if isinstance(opening, bytes):
            self._refuse(link, opening, "not_websocket")
            return
        self._answer(link, opening, data[end:])

    def unasked(self, link: Link) -> None:
        """A stream's client sent something behind its request: passed over, while it is little."""
        settings = self.settings
        burst, per_second = settings.client_rate_burst, settings.client_rate_per_second
        due = spaced(link.paid_until, int(time.monotonic() * 1000), burst, per_second)
        if due is not None:
            link.paid_until = due
        elif link.state == OPEN:
            self._links.close(link, 1008, "nothing is read from a stream's client", "protocol")

    def _answer(self, link: Link, opening: Opening, rest: bytes) -> None:
        if opening.path == HEALTH_PATH and not opening.upgrade:
            healthy = self._healthy()
            body = '{"healthy":true}' if healthy else '{"healthy":false}'
            self._finish(link, opening, http_answer(200 if healthy else 503, body))
            return
        if opening.path not in (CLIENT_PATH, sse.PATH):
            answer = http_answer(
                404, f"the WebSocket is at {CLIENT_PATH}, the stream of events at {sse.PATH}\n"
            )
            self._turn_away(link, opening, answer)
            return
        if opening.method != "GET":
            answer = http_answer(405, "only GET is answered here\n", {"Allow": "GET"})
            self._turn_away(link, opening, answer)
            return
        if not origin_allowed(opening.origin, self.settings.allowed_origins):
            self._counters.connections_rejected["origin"] += 1
            self._finish(link, opening, http_answer(403, "this origin may not connect\n"))
            return
        reason = self._admit(self._limited_address(link))
        if reason is not None:
            self._counters.connections_rejected[reason] += 1
            headers = {"Retry-After": str(retry_after_seconds(reason, self._random))}
            if opening.path == sse.PATH:
                headers |= _readable_by(opening.origin)
            self._finish(link, opening, http_answer(503, f"no more clients now: {reason}\n", headers))
        elif opening.path == sse.PATH:
            self._begin_stream(link, opening)
        else:
            self._upgrade(link, opening, rest)

    def _upgrade(self, link: Link, opening: Opening, rest: bytes) -> None:
        extension = None
        if opening.offers:
            try:
                extension = negotiate(opening.offers)
            except ValueError as error:
                self._turn_away(link, opening, http_answer(400, f"{error}\n"))
                return
            if not self.settings.deflate or opted_out(opening.query):
                extension = None
        answer, accepted = opening.accept(extension)
        if not accepted:
            self._turn_away(link, opening, answer)
            return
        if extension is not None:
            link.form = DEFLATE
        # Who is gone by now is not read: its subscriptions would stay for ever.
        if self._let_in(link, opening, answer) and rest:
            self._read(link, rest)

    def _begin_stream(self, link: Link, opening: Opening) -> None:
        link.form = SSE
        self._let_in(
            link, opening, sse.response_head(opening.origin) + sse.retry(self._random.randint(*_RETRY_MS))
        )

    def _let_in(self, link: Link, opening: Opening, answer: bytes) -> bool:
        self._links.opened(link)
        self._newcomers.discard(link)
        link.address = self._limited_address(link)
        if link.address is not None:
            self._addresses[link.address] += 1
        return self._links.send(link, answer + self._greet(link, opening.query, opening.last_event_id))

    def _limited_address(self, link: Link) -> str | None:
        return link.address if self.settings.max_connections_per_address else None

    def _turn_away(self, link: Link, opening: Opening, answer: bytes) -> None:
        self._counters.handshakes_failed["not_websocket"] += 1
        self._finish(link, opening, answer)

    def _finish(self, link: Link, opening: Opening, answer: bytes) -> None:
        if opening.method == "HEAD":  # the head that a GET would get (RFC 9110, section 9.3.2)
            answer = answer[: answer.index(HEAD_END) + len(HEAD_END)]
        self._links.finish(link, answer, "client")

    def _refuse(self, link: Link, answer: bytes, reason: str) -> None:
        self._counters.handshakes_failed[reason] += 1
        self._links.finish(link, answer, "client")

    def _accept(self) -> bool:
        """Accepts what waits, within bounds. True when there may be more."""
        for _ in range(ACCEPTED_A_TURN):
            try:
                # Not accept(): its socket object would be made for nothing.
                fd, peer = self._listener._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno in _OUT_OF_SOMETHING:
                    self._take_a_rest(error)
                    return False
                continue  # that client is gone already (accept(2): treat like EAGAIN)
            os.set_blocking(fd, False)
            address = counted_address(peer[0])
            reason = self._no_place(address)
            if reason is not None:
                # Without listening: who never asks for anything must not take what others need.
                self._counters.connections_rejected[reason] += 1
                self._links.send_away(fd, self._refusal(reason))
                continue
            try:
                self._newcomers.add(self._links.add(fd, address))
            except OSError as error:
                self._take_a_rest(error)
                return False
        return True

    def _no_place(self, address: str) -> Reason | None:
        """Why not even the request of a connection can be waited for; None where it can."""
        settings, links = self.settings, self._links
        if links.secure and self._overloaded():
            return "cpu"
        of_address, limit = self._newcomers.of(address), settings.max_connections_per_address
        if limit and of_address >= max(_UNOPENED_OF_AN_ADDRESS, limit):
            return "address"
        if self._descriptors_free() <= DESCRIPTORS_KEPT + 1:
            # Two for one, until enough are left again for those who ask to be let in.
            for _ in range(2):
                self._made_room(of_address)
            if self._descriptors_free() < _DESCRIPTORS_FOR_OTHERS:
                return "descriptors"
        full = links.total - links.open_count >= max(_UNOPENED, settings.max_connections)
        return "handshakes" if full and not self._made_room(of_address) else None

    def _made_room(self, of_address: int) -> bool:
        """Cuts the one that has asked for nothing for longest, of an address with more than this one's."""
        found = self._newcomers.oldest_of_the_most()
        if found is None or found[1] <= of_address + 1:
            return False
        self._counters.handshakes_failed["crowded_out"] += 1
        self._links.cut(found[0], self._refusal("handshakes"))
        return True

    def _refusal(self, reason: Reason) -> bytes:
        seconds = str(retry_after_seconds(reason, self._random))
        return http_answer(503, f"no more clients now: {reason}\n", {"Retry-After": seconds})

    def _take_a_rest(self, error: OSError) -> None:
        self._counters.accept_failures += 1
        self._say("accept", "cannot accept clients", error=error.strerror)
        self._loop.remove_reader(self._listener.fileno())
        self._rest = self._loop.call_later(_REST_SECONDS, self.start)


def _readable_by(origin: str | None) -> dict[str, str]:
    """Headers that let a page's script see a refusal, and when to come back."""
    if origin is None:
        return {}
    return {_CORS: origin, "Access-Control-Expose-Headers": "Retry-After", "Vary": "Origin"}
