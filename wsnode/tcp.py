"""What the kernel knows of a TCP connection, and what only it can do; by descriptor."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Iterator

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TCP_INFO = struct.Struct("56xI")  # the head of struct tcp_info up to tcpi_last_ack_recv, in milliseconds


def holds_unsent(fd: int) -> bool:
    """Whether the kernel has bytes that the peer has not acknowledged (SIOCOUTQ, see tcp(7))."""
    return any(fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))


def unheard_seconds(fd: int) -> int:
    """For how long the peer's kernel has acknowledged nothing, in whole seconds, rounded up."""
    with _borrowed(fd) as handle:
        milliseconds: int = _TCP_INFO.unpack(
            handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        )[0]
    return -(-milliseconds // 1000)


def half_close(fd: int) -> None:
    """Ends the sending side behind what is written; without effect on a peer that is gone."""
    with _borrowed(fd) as handle, contextlib.suppress(OSError):
        handle.shutdown(socket.SHUT_WR)


def reset(fd: int) -> None:
    """Closes the descriptor, and has the kernel forget what it holds for the peer."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object over a descriptor, which stays open."""
    handle = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        yield handle
    finally:
        handle.detach()
