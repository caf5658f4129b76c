"""Client sockets by descriptor: one epoll of the node's own, hung into the event loop.

No transport, task, timer or dictionary a client: a `Link` is a few slots, and what a socket does
not take at once goes into a buffer made for that client only then.

A descriptor's number is reused at once after it is closed, so a stale object could write into
another user's socket. Therefore `Links.drop` is the one place that closes: unregister, close,
`fd = -1`; and whoever holds a link for later (a fan-out slice, a deadline) finds -1 there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator

from wsnode import tcp
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.link import CLOSING, DISCARDING, HANDSHAKE, OPEN, SSE, Link
from wsnode.protocol import sse
from wsnode.protocol.frames import encode_close

_log = logging.getLogger(__name__)

READ_BYTES = 16_384
"""Read from one client a turn at most, so that a busy one does not hold up the others."""
TURN_SECONDS = 0.001
"""Given to what clients send before others get their turn: a message on its way passes several turns."""
_EVENTS_AT_ONCE = 8  # handshakes among them


class Links:
    """All clients of this process, their buffers and their ends.

    Attributes:
        secure: TLS ends here, see `secure_links`.
        now: the node's clock in whole monotonic seconds, set by the sweep; all links share the number.
        open_count: links that are upgraded and not yet said goodbye to.
        total: links of any state, each with a descriptor.
        behind: open links for which something waits: the node's clock when their sockets last took any.
        under_way: open links of which a frame or message is under way: the node's clock when it began.
        buffered_bytes: what waits for open clients, together; who was told to go is past the budget
            and gone within WS_CLOSE_TIMEOUT.
        held: bytes that open links hold besides, as `holdings` found them last.
        held_bytes: those together.
        on_data: called with a link and what it sent; with nothing more, to go on after `defer`.
        on_leave: called once when a link that was open is no longer served.
        on_emptied: called with a link that has extra state and whose socket took all that waited for it.
        on_drop: called when a link's descriptor is closed.
    """

    secure = False

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings, counters: Counters) -> None:
        self.settings = settings
        self.now = int(time.monotonic())
        self.open_count = 0
        self.total = 0
        self.buffered_bytes = 0
        self.on_data: Callable[[Link, bytes], None] = lambda link, data: None
        self.on_leave: Callable[[Link], None] = lambda link: None
        self.on_emptied: Callable[[Link], None] = lambda link: None
        self.on_drop: Callable[[Link], None] = lambda link: None
        self.handshakes: deque[tuple[float, Link]] = deque()
        self.closings: deque[tuple[float, Link]] = deque()
        self._loop = loop
        self._counters = counters
        self.behind: dict[Link, int] = {}
        self.under_way: dict[Link, int] = {}
        self.held: dict[Link, int] = {}
        self.held_bytes = 0
        self._given_more: deque[Link] = deque()
        self._giving = False
        self._resting: list[Link] = []
        self._deferred: dict[Link, None] = {}  # in order
        self._going_on = False
        self._by_fd: list[Link | None] = []
        self._epoll = select.epoll()
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, fd: int, address: str | None) -> Link:
        """Takes a fresh, non-blocking socket in; its handshake deadline starts.

        Raises:
            OSError: the kernel has no room to watch it; it is closed.
        """
        link = self._make(fd, address)
        while fd >= len(self._by_fd):
            self._by_fd.extend([None] * 256)
        try:
            self._epoll_of(link).register(fd, select.EPOLLIN)
        except OSError:
            os.close(fd)
            raise
        self._by_fd[fd] = link
        self.total += 1
        self.handshakes.append((time.monotonic() + self.settings.handshake_timeout, link))
        return link

    def opened(self, link: Link) -> None:
        """The handshake is done: messages flow from here on."""
        link.state = OPEN
        self.open_count += 1
        self._counters.connections_opened += 1

    def open_links(self) -> list[Link]:
        """The open ones, in no particular order."""
        return self.with_state(OPEN)

    def with_state(self, state: int) -> list[Link]:
        """Those in a state, in no particular order."""
        return [link for link in self._by_fd if link is not None and link.state == state]

    def slot(self, index: int, slots: int) -> Iterator[Link]:
        """The links of one of `slots` equal parts, for the sweep."""
        return (link for link in self._by_fd[index::slots] if link is not None)

    def send(self, link: Link, data: bytes) -> bool:
        """Writes to an open link, or keeps what its socket does not take. False when it is not open."""
        if link.state != OPEN:
            return False
        return self._write(link, data)

    def keep(self, link: Link, data: bytes | memoryview) -> bool:
        """Buffers for an open link whose socket is full; cuts the slowest when it is too much.

        What a first write left is always kept: a goodbye amid a frame would be taken for its data.
        """
        if link.state != OPEN:
            return False
        settings = self.settings
        if link.out and len(data) + len(link.out) > settings.client_buffer_bytes:
            self.too_slow(link)
            return False
        self._buffer(link, data)
        self.keep_to_budget()
        return link.state == OPEN

    def begun(self, link: Link, *, anew: bool) -> None:
        """Takes note of what is under way from an open link, if any is; `anew`: it begins now."""
        if link.inb is None and link.fragments is None:
            self.under_way.pop(link, None)
        elif anew or link not in self.under_way:
            self.under_way.pop(link, None)  # to its end: they stand in the order of their clocks
            self.under_way[link] = self.now

    def go_on_soon(self, link: Link) -> None:
        """Others get their turn before an open link whose socket took all is given more, by `on_emptied`.

        What comes for it meanwhile waits for that too.
        """
        link.out = bytearray()
        self.behind[link] = self.now
        self._given_more.append(link)
        self._schedule_giving()

    def hold(self, link: Link, size: int) -> None:
        """Takes note of what an open link holds besides its buffer, in bytes."""
        self.held_bytes += size - self.held.pop(link, 0)
        if size:
            self.held[link] = size

    def keep_to_budget(self) -> None:
        """Cuts those that hold most until the rest may stay."""
        while self.buffered_bytes + self.held_bytes > self.settings.client_buffer_total_bytes:
            self.too_slow(max([*self.behind, *self.held], key=self._weight))

    def too_slow(self, link: Link) -> None:
        """Cuts an open link that does not take what waits for it."""
        self._counters.slow_clients += 1
        self.close(link, 1008, "too slow: messages were not read in time", "slow")

    def send_away(self, fd: int, answer: bytes) -> None:
        """Closes a fresh socket that is not taken in, with an answer that is not waited for."""
        with contextlib.suppress(OSError):
            os.write(fd, answer)
        os.close(fd)

    def cut(self, link: Link, answer: bytes) -> None:
        """Closes a link that has not finished its handshake, with an answer that is not waited for."""
        if link.state == HANDSHAKE:
            with contextlib.suppress(OSError):
                os.write(link.fd, answer)
        self.drop(link, "client")

    def close(self, link: Link, code: int, reason: str, why: str) -> None:
        """Says goodbye and waits WS_CLOSE_TIMEOUT for the answer; a link that is not open is left alone.

        A stream of events ends in place of a close frame; its client's end is the answer.
        """
        if link.state != OPEN:
            return
        self._leave(link, CLOSING, why)
        if link.form != SSE:
            self._write(link, encode_close(code, reason))
        elif self._write(link, sse.goodbye(reason)) and not link.out:
            self._end_sending(link)

    def finish(self, link: Link, data: bytes, why: str) -> None:
        """Sends the last bytes and ends the sending side; the client has WS_CLOSE_TIMEOUT to close its own.

        Not closed at once: what the client still sends would be answered by a reset, which can
        destroy the last bytes before it reads them.
        """
        if link.fd < 0:
            return
        self._leave(link, DISCARDING, why)
        if self._write(link, data) and not link.out:
            self._end_sending(link)

    def drop_overdue(self, link: Link, why: str) -> None:
        """Drops a link whose time is up, and what the kernel holds for it: that could stay for minutes.

        Only where it holds something: a reset would take from a client's own kernel what it has
        not read yet, the close frame among it.
        """
        if link.fd >= 0:
            self.drop(link, why, reset=bool(link.out) or tcp.holds_unsent(link.fd))

    def drop(self, link: Link, why: str, *, reset: bool = False) -> None:
        """The end of a link: the one place where a client's descriptor is closed."""
        fd = link.fd
        if fd < 0:
            return
        if link.state == OPEN:
            self._leave(link, DISCARDING, why)
        link.fd = -1
        self._by_fd[fd] = None
        self.total -= 1
        link.out = link.inb = link.fragments = None
        self._deferred.pop(link, None)
        self._epoll_of(link).unregister(fd)
        if reset:
            tcp.reset(fd)
        else:
            os.close(fd)
        self.on_drop(link)

    def shut(self) -> None:
        """Drops all and lets the epoll go."""
        for link in [link for link in self._by_fd if link is not None]:
            self.drop(link, "shutdown")
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def rest(self, link: Link) -> None:
        """Reads nothing more from a client until `wake`: it sends more than it may, and would go on so."""
        if link.fd >= 0 and not link.resting:
            link.resting = True
            self._resting.append(link)
            self._watch(link)

    def wake(self) -> None:
        """Reads again from those at rest."""
        resting, self._resting = self._resting, []
        for link in resting:
            link.resting = False
            if link.fd >= 0:
                self._watch(link)

    def defer(self, link: Link) -> None:
        """Goes on with what a client sent in another turn: it has had its share of this one."""
        if link.fd >= 0:
            self._deferred[link] = None
            self._watch(link)
            if not self._going_on:
                self._going_on = True
                self._loop.call_soon(self._go_on)

    def is_deferred(self, link: Link) -> bool:
        """Whether what it sent waits for another turn."""
        return link in self._deferred

    def _go_on(self) -> None:
        """A share of a turn for what was put off: one client after the other, each behind those that wait."""
        stop = time.monotonic() + TURN_SECONDS
        while self._deferred:
            link = next(iter(self._deferred))
            del self._deferred[link]
            if link.fd >= 0:
                self._hand_on(link, b"")
            if link.fd >= 0 and link not in self._deferred:
                self._watch(link)
            if time.monotonic() >= stop:
                break
        self._going_on = bool(self._deferred)
        if self._going_on:
            self._loop.call_soon(self._go_on)

    def _make(self, fd: int, address: str | None) -> Link:
        return Link(fd, self.now, address)

    def _epoll_of(self, link: Link) -> select.epoll:
        return self._epoll

    def _end_sending(self, link: Link) -> None:
        """All that had to be said is with the kernel."""
        tcp.half_close(link.fd)

    def _watch(self, link: Link) -> None:
        events = 0 if link.resting or link in self._deferred else select.EPOLLIN
        self._epoll_of(link).modify(link.fd, events | select.EPOLLOUT if link.out else events)

    def _leave(self, link: Link, state: int, why: str) -> None:
        """Out of service: no message reaches it any more, its deadline starts, its end is counted once."""
        if link.state == OPEN:
            self.open_count -= 1
            self._counters.connections_closed[why] += 1
            self.behind.pop(link, None)
            self.under_way.pop(link, None)
            self.hold(link, 0)
            self.buffered_bytes -= len(link.out or b"")
            self.on_leave(link)
        link.state = state
        link.why = why
        if link.out is None:
            link.out = bytearray()
        self.closings.append((time.monotonic() + self.settings.close_timeout, link))

    def _weight(self, link: Link) -> int:
        return len(link.out or b"") + self.held.get(link, 0)

    def _write(self, link: Link, data: bytes) -> bool:
        if link.out:
            if link.state == OPEN:
                return self.keep(link, data)
            self._buffer(link, data)
            return True
        try:
            taken = os.write(link.fd, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.drop(link, "gone")
            return False
        if taken == len(data):
            return True
        rest = memoryview(data)[taken:]
        if link.state == OPEN:
            return self.keep(link, rest)
        self._buffer(link, rest)
        return True

    def _buffer(self, link: Link, data: bytes | memoryview) -> None:
        if not link.out:
            link.out = bytearray(data)
            self._watch(link)
            if link.state == OPEN:
                self.behind[link] = self.now
        else:
            link.out += data
        if link.state == OPEN:
            self.buffered_bytes += len(data)

    def _emptied(self, link: Link) -> None:
        self.behind.pop(link, None)
        link.out = None
        if link.extra is not None:
            self.on_emptied(link)

    def _give_more(self) -> None:
        """A share of a loop turn for those who are given more."""
        self._giving = False
        stop = time.monotonic() + TURN_SECONDS
        while self._given_more and time.monotonic() < stop:
            link = self._given_more.popleft()
            if link.state != OPEN or link.out is None or link.out:
                continue
            try:
                self._emptied(link)
            except Exception:
                _log.exception("what waited for a client could not be given")
                self.close(link, 1011, "internal error", "error")
        self._schedule_giving()

    def _schedule_giving(self) -> None:
        if self._given_more and not self._giving:
            self._giving = True
            self._loop.call_soon(self._give_more)

    def _turn(self) -> None:
        stop = time.monotonic() + TURN_SECONDS
        while True:
            ready = self._epoll.poll(0, _EVENTS_AT_ONCE)
            self._serve(ready)
            if len(ready) < _EVENTS_AT_ONCE or time.monotonic() >= stop:
                return

    def _serve(self, events: list[tuple[int, int]]) -> None:
        """What epoll has to say. No socket is accepted meanwhile, so no number is reused within a turn."""
        for fd, event in events:
            link = self._by_fd[fd]
            if link is None:
                continue
            if event & select.EPOLLOUT:
                self._writable(link)
            if event & ~select.EPOLLOUT and link.fd >= 0:
                self._readable(link)

    def _readable(self, link: Link) -> None:
        try:
            data = os.read(link.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(link, "gone")
            return
        link.seen = self.now
        if link.state == DISCARDING:
            return
        self._take(link, data)

    def _take(self, link: Link, data: bytes) -> None:
        self._hand_on(link, data)

    def _hand_on(self, link: Link, data: bytes) -> None:
        try:
            self.on_data(link, data)
        except Exception:
            # A fault of the node's own; it costs the client that met it, and nobody else.
            _log.exception("what a client sent could not be handled")
            self.close(link, 1011, "internal error", "error")

    def _writable(self, link: Link) -> None:
        out = link.out
        if not out:
            return
        try:
            taken = os.write(link.fd, out)
        except BlockingIOError:
            return
        except OSError:
            self.drop(link, "gone")
            return
        del out[:taken]
        if link.state == OPEN:
            self.buffered_bytes -= taken
            self.behind[link] = self.now
        if out:
            return
        self._watch(link)
        if link.state == OPEN:
            self._emptied(link)
        elif link.state == DISCARDING or link.form == SSE:
            self._end_sending(link)
