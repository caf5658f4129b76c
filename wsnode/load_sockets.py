"""Sockets of the load client by descriptor, under one epoll: no socket object outlives its connect."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import ssl
import threading
import time
from array import array
from collections.abc import Iterator
from enum import Enum

from wsnode.load_options import LoadError
from wsnode.load_table import ClientTable

READ_BYTES = 32_768
_EVENTS = 1024
_LOOKUP_SECONDS = 1.0  # at least, between two looks at what a name means

_REASONS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ETIMEDOUT: "timed out: connect",
    errno.EADDRNOTAVAIL: "no local port left",
    errno.EMFILE: "no descriptor left",
    errno.ENFILE: "no descriptor left",
}


class Wrote(Enum):
    """How a write went."""

    WHOLE = "whole"
    BLOCKED = "blocked"
    """The send buffer is full; part of the frame may be in it, so the connection is spoilt."""
    BROKEN = "broken"


class Place:
    """Where a host's name leads: looked up at once, and again when connections ended.

    Raises:
        LoadError: nobody knows the name.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._found = _resolve(host, port)
        self._again_at = 0.0

    @property
    def address(self) -> tuple[socket.AddressFamily, tuple[object, ...]]:
        return self._found

    def look_again(self) -> None:
        """A Service that was deleted and made again has another address under its name.

        In a thread, since a resolver may take seconds to answer; what it finds is for later tries.
        """
        now = time.monotonic()
        if now >= self._again_at:
            self._again_at = math.inf  # until this look is over
            threading.Thread(target=self._look, name="look a name up", daemon=True).start()

    def _look(self) -> None:
        with contextlib.suppress(LoadError):  # no answer now: the one known may still be right
            self._found = _resolve(self._host, self._port)
        self._again_at = time.monotonic() + _LOOKUP_SECONDS


class Sockets:
    """The descriptors of a table's clients towards one address.

    A descriptor leaves in one place, `close`: unregistered, closed, its row cleared, so that a number
    used again at once can't be mistaken for the old one.
    """

    def __init__(self, host: str, port: int, table: ClientTable) -> None:
        self._place = Place(host, port)
        self._some_ended = False
        self._table = table
        self._owner = array("i")
        """Client of each descriptor, -1 for none."""
        self._epoll = select.epoll()

    def connect(self, client: int) -> str | None:
        """Begin to connect; a reason when it failed at once. Raises nothing."""
        if self._some_ended:
            self._some_ended = False
            self._place.look_again()
        family, address = self._place.address
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as exc:
            return reason_of(exc)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        problem = sock.connect_ex(address)
        if problem not in (0, errno.EINPROGRESS):
            self._some_ended = True
            sock.close()
            return reason_of(OSError(problem, ""))
        fd = self._table.fd[client] = sock.detach()
        while len(self._owner) <= fd:
            self._owner.extend([-1] * 1024)
        self._owner[fd] = client
        self._epoll.register(fd, select.EPOLLOUT)
        return None

    def listen(self, client: int) -> None:
        """From now on only what comes in matters."""
        self._epoll.modify(self._table.fd[client], select.EPOLLIN)

    def poll(self, timeout: float) -> Iterator[tuple[int, int]]:
        """Clients and descriptors with something to do; skips those closed since the poll."""
        owner = self._owner
        for fd, _ in self._epoll.poll(timeout, _EVENTS):
            client = owner[fd]
            if client >= 0:
                yield client, fd

    def begin(self, client: int, request: bytes) -> bool:
        """The connection stands: send the request, False when it does not fit. OSError: it was refused."""
        return os.write(self._table.fd[client], request) == len(request)

    def read(self, client: int, fd: int) -> bytes:
        """What came; empty at the end. Raises BlockingIOError when nothing did, OSError when it broke."""
        return os.read(fd, READ_BYTES)

    def write(self, client: int, frame: bytes) -> Wrote:
        """A small frame, whole or not at all."""
        fd = self._table.fd[client]
        if fd < 0:
            return Wrote.BROKEN
        try:
            return Wrote.WHOLE if os.write(fd, frame) == len(frame) else Wrote.BLOCKED
        except BlockingIOError:
            return Wrote.BLOCKED
        except OSError:
            return Wrote.BROKEN

    def close(self, client: int) -> None:
        """Let the client's descriptor go, if it has one."""
        fd = self._table.fd[client]
        if fd >= 0:
            self._epoll.unregister(fd)
            self._owner[fd] = -1
            self._table.fd[client] = -1
            self._some_ended = True
            os.close(fd)

    def end(self) -> None:
        """Close what is left and the epoll itself."""
        for client in range(len(self._table)):
            self.close(client)
        self._epoll.close()


def reason_of(exc: OSError) -> str:
    """What went wrong, in a word or two."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"tls: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        return f"tls: {(exc.reason or 'error').lower().replace('_', ' ')}"
    number = exc.errno or 0
    return _REASONS.get(number, os.strerror(number).lower() if number else "error")


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """The first address of the host. A blocking call."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise LoadError(f"host {host!r}: {getattr(exc, 'strerror', None) or exc}") from exc
    family, _, _, _, address = found[0]
    return family, address
