"""Client sockets under TLS: `Links`, with a TLS state a client between its socket and the rest.

All clients' states share one pair of memory buffers, since each step is done in one go: what a socket
gave is put in, taken out whole by that client's state, and what the state has to say is taken out at
once. So a client costs its state and no buffers; what it leaves half-sent is kept in the state.

What waits for a client is ciphertext: it counts against the limits as it will be sent, and a record
that was made is always sent, or the client could not read what follows.

Handshakes are long beside all else that clients ask (0.3 to 1 ms of CPU each): their sockets hang in an
epoll of their own, from which a turn takes no more than a slice, so that those who are in go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import ssl
import time

from wsnode import tcp
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.link import DISCARDING, HANDSHAKE, OPEN, Link
from wsnode.links import READ_BYTES, Links
from wsnode.protocol.handshake import http_answer

TURN_SECONDS = 0.002
UNSAID_BYTES = 49_152
"""A client that asks for new keys over and over makes work and says nothing: beyond this it is not read
for a moment. More than the longest record, which says nothing either until it is whole."""
_RECORD_BYTES = 16_384  # the most that one record holds (RFC 8446, section 5.1)
# What OpenSSL says of a client that sends HTTP where TLS is spoken.
_PLAIN_HTTP = {"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"}


class SecureLink(Link):
    """One client under TLS.

    Attributes:
        tls: its state; None before the first byte came, and after all was said.
        shaken: its TLS handshake is done.
        unsaid: bytes that it sent beyond twice what they said.
    """

    __slots__ = ("shaken", "tls", "unsaid")

    def __init__(self, fd: int, now: int, address: str | None) -> None:
        super().__init__(fd, now, address)
        self.tls: ssl.SSLObject | None = None
        self.shaken = False
        self.unsaid = 0


class SecureLinks(Links):
    """All clients of this process, each under TLS.

    Attributes:
        context: of new connections; those that are there keep theirs.
    """

    secure = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        counters: Counters,
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(loop, settings, counters)
        self.context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._shaking = select.epoll()
        loop.add_reader(self._shaking.fileno(), self._shake)

    def opened(self, link: Link) -> None:
        """The handshake of the WebSocket is done too."""
        super().opened(link)
        if link.out:
            self.behind[link] = self.now
            self.buffered_bytes += len(link.out)
        else:
            link.out = None

    def send_away(self, fd: int, answer: bytes) -> None:
        """Closes a fresh socket that is not taken in. No answer: it could be read by nobody."""
        os.close(fd)

    def cut(self, link: Link, answer: bytes) -> None:
        """Closes a link that has not finished its handshake. No answer: most could not read it."""
        self.drop(link, "client")

    def drop(self, link: Link, why: str, *, reset: bool = False) -> None:
        """The end of a link, told to its client where its socket takes it at once."""
        assert isinstance(link, SecureLink)
        tls, link.tls = link.tls, None
        if tls is not None and link.shaken and not link.out and not reset:
            with contextlib.suppress(OSError):
                os.write(link.fd, self._farewell(tls))
        super().drop(link, why, reset=reset)

    def shut(self) -> None:
        """Drops all and lets both epolls go."""
        super().shut()
        self._loop.remove_reader(self._shaking.fileno())
        self._shaking.close()

    def _make(self, fd: int, address: str | None) -> Link:
        return SecureLink(fd, self.now, address)

    def _epoll_of(self, link: Link) -> select.epoll:
        assert isinstance(link, SecureLink)
        return self._epoll if link.shaken else self._shaking

    def _shake(self) -> None:
        """A slice of the handshakes under way, one client's step after the other."""
        stop = time.monotonic() + TURN_SECONDS
        while events := self._shaking.poll(0, 1):
            self._serve(events)
            if time.monotonic() >= stop:
                return

    def _take(self, link: Link, data: bytes) -> None:
        assert isinstance(link, SecureLink)
        if link.tls is None:
            if link.state != HANDSHAKE:
                return  # it was said goodbye to
            link.tls = self.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        try:
            plain, ended = self._decrypt(link, link.tls, data)
        except ssl.SSLError as error:
            self._broken(link, error)
            return
        finally:
            if self._incoming.pending:  # never to be read as another client's
                self._incoming.read()
        said = self._outgoing.read()
        if said and not self._pass_on(link, said):
            return
        link.unsaid = max(0, link.unsaid + len(data) - 2 * len(plain))
        if link.unsaid > UNSAID_BYTES:
            link.unsaid = 0
            self.rest(link)
        if plain:
            self._hand_on(link, plain)
        if ended:
            self.drop(link, "gone")

    def _decrypt(self, link: SecureLink, tls: ssl.SSLObject, data: bytes) -> tuple[bytes, bool]:
        """What came, and whether nothing more will come; the handshake first.

        Raises:
            ssl.SSLError: this is no TLS, or none that is spoken here.
        """
        self._incoming.write(data)
        if not link.shaken:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                return b"", False
            self._enter(link)
        parts: list[bytes] = []
        while self._incoming.pending or tls.pending():
            try:
                part = tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            if not part:
                return b"".join(parts), True
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts), False

    def _enter(self, link: SecureLink) -> None:
        self._shaking.unregister(link.fd)
        link.shaken = True
        self._epoll.register(link.fd, select.EPOLLIN)
        self._watch(link)

    def _pass_on(self, link: SecureLink, said: bytes) -> bool:
        """Sends what the TLS state itself has to say, within the client's limit."""
        if link.out and len(link.out) + len(said) > self.settings.client_buffer_bytes:
            self._counters.slow_clients += link.state == OPEN
            self.drop(link, "slow", reset=True)  # what was said is missing from what could follow
            return False
        return self._push(link, said)

    def _broken(self, link: SecureLink, error: ssl.SSLError) -> None:
        """What a client sent is no TLS: it is told by an alert, or in its own language, and let go."""
        self._incoming.read()
        said = self._outgoing.read()
        link.tls = None
        if not link.shaken:
            plain = error.reason in _PLAIN_HTTP
            self._counters.handshakes_failed["plain_http" if plain else "tls"] += 1
            if plain:
                said = http_answer(400, "this port speaks TLS: use wss:// or https://\n")
        self._leave(link, DISCARDING, "protocol")
        if (not said or self._push(link, said)) and not link.out:
            self._end_sending(link)

    def _write(self, link: Link, data: bytes) -> bool:
        assert isinstance(link, SecureLink)
        if link.tls is None or not link.shaken:
            return link.fd >= 0  # nothing can be said to it
        out = link.out
        if out and link.state == OPEN and len(out) + len(data) > self.settings.client_buffer_bytes:
            self.too_slow(link)
            return False
        try:
            sealed = self._seal(link.tls, data)
        except ssl.SSLError:
            self._outgoing.read()
            self.drop(link, "gone", reset=True)
            return False
        return self._push(link, sealed)

    def _seal(self, tls: ssl.SSLObject, data: bytes) -> bytes:
        if len(data) <= _RECORD_BYTES:
            if data:
                tls.write(data)
            return self._outgoing.read()
        rest = memoryview(data)
        while rest:
            rest = rest[tls.write(rest) :]
        return self._outgoing.read()

    def _push(self, link: Link, sealed: bytes) -> bool:
        """Writes ciphertext, or keeps what the socket does not take. False when the link is gone."""
        taken = 0
        if not link.out:
            try:
                taken = os.write(link.fd, sealed)
            except BlockingIOError:
                pass
            except OSError:
                self.drop(link, "gone", reset=True)
                return False
            if taken == len(sealed):
                return True
        was_open = link.state == OPEN
        self._buffer(link, memoryview(sealed)[taken:])
        if was_open:
            self.keep_to_budget()
        return link.state == OPEN or not was_open

    def _end_sending(self, link: Link) -> None:
        """Says goodbye in the language of TLS, then of TCP."""
        assert isinstance(link, SecureLink)
        tls, link.tls = link.tls, None
        if tls is not None and link.shaken:
            self._push(link, self._farewell(tls))
            if link.fd < 0 or link.out:
                return  # called again when that has gone
        tcp.half_close(link.fd)

    def _farewell(self, tls: ssl.SSLObject) -> bytes:
        """close_notify (RFC 8446, section 6.1)."""
        with contextlib.suppress(ssl.SSLError):
            tls.unwrap()  # it would wait for the client's, and says so after ours is made
        return self._outgoing.read()
