"""The load client: a process that holds thousands of WebSocket connections and reads what comes.

Commands come as JSON lines on standard input, each answered by one line:
`open` (`count`, `channels` a client in turn, `flight` handshakes at once; answered when all have their
acknowledgement, failed or run out of time), `reset` (a new window begins) and `figures`. The end of the
input ends it. Usage: clients.py DIALECT PORT
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from array import array
from io import FileIO
from typing import Any

from tests.bench.chunks import ChunkReader
from tests.bench.dialects import DIALECTS, Dialect
from wsnode.load_figures import Histogram
from wsnode.load_options import raise_descriptor_limit
from wsnode.load_wire import handshake_request

_READ_BYTES = 65_536
_LONGEST_FRAME = 8 * 2**20
_EVENTS = 1024
_OPEN_SECONDS = 60.0
_BIN_MS, _BINS = 0.25, 40_000
_FREE, _CONNECTING, _HANDSHAKE, _OPEN, _SUBSCRIBED = range(5)


class Clients:
    """All connections of this process, by descriptor."""

    def __init__(self, dialect: Dialect, port: int) -> None:
        self._dialect, self._port = dialect, port
        self._request, _ = handshake_request(f"127.0.0.1:{port}", dialect.path, dialect.headers)
        self._reader = ChunkReader(dialect)
        self._epoll = select.epoll()
        self._epoll.register(0, select.EPOLLIN)
        self._state = array("B")
        self._rest: dict[int, bytes] = {}
        self._frames: dict[int, bytes] = {}
        """What a connection sends once it is open."""
        self._buffer = bytearray(_LONGEST_FRAME + _READ_BYTES)
        self._view = memoryview(self._buffer)
        self._opening = 0
        self.deflated = False
        """The server agreed to deflate."""
        self.subscribed = 0
        self.total = 0
        """Messages since the start, whatever the window."""
        self.failed: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """A new window."""
        self.messages = self.bytes = self.reads = 0
        self.latency = Histogram(_BIN_MS, _BINS)
        self.lost: dict[str, int] = {}
        self._cpu = time.process_time()
        self._began = time.monotonic()

    def figures(self) -> dict[str, Any]:
        """What the window saw."""
        return {
            "seconds": time.monotonic() - self._began,
            "cpu_seconds": time.process_time() - self._cpu,
            "subscribed": self.subscribed,
            "deflated": self.deflated,
            "messages": self.messages,
            "total": self.total,
            "bytes": self.bytes,
            "reads": self.reads,
            "latency_ms": self.latency.percentiles(50, 99, 99.9),
            "failed": self.failed,
            "lost": self.lost,
        }

    def open(self, count: int, channels: list[list[str]], flight: int) -> dict[str, Any]:
        """Opens `count` more, each with the next list of channels; returns when all are done."""
        raise_descriptor_limit(len(self._state) + count)
        frames = [self._dialect.subscribe(names) for names in channels]
        before, began, started = self.subscribed, time.monotonic(), 0
        while (started < count or self._opening) and time.monotonic() - began < _OPEN_SECONDS:
            while started < count and self._opening < flight:
                self._connect(frames[started % len(frames)])
                started += 1
            self.poll(0.05)
        return {
            "seconds": time.monotonic() - began,
            "opened": self.subscribed - before,
            "failed": self.failed,
        }

    def poll(self, timeout: float) -> bool:
        """One turn; False when a command waits."""
        commanded = False
        for fd, _ in self._epoll.poll(timeout, _EVENTS):
            if fd == 0:
                commanded = True
            elif self._state[fd] >= _OPEN:
                self._read(fd)
            elif self._state[fd] != _FREE:
                try:
                    self._open_further(fd)
                except OSError as error:
                    self._fail(fd, error.strerror or "error")
        return not commanded

    def _connect(self, frames: bytes) -> None:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect_ex(("127.0.0.1", self._port))
        fd = client.detach()
        if fd >= len(self._state):
            self._state.extend([_FREE] * (fd + 1024 - len(self._state)))
        self._state[fd] = _CONNECTING
        self._frames[fd] = frames
        self._opening += 1
        self._epoll.register(fd, select.EPOLLOUT)

    def _open_further(self, fd: int) -> None:
        if self._state[fd] == _CONNECTING:
            os.write(fd, self._request)
            self._state[fd] = _HANDSHAKE
            self._epoll.modify(fd, select.EPOLLIN)
            return
        data = self._rest.pop(fd, b"") + os.read(fd, 16_384)
        if not data:
            self._fail(fd, "closed in the handshake")
            return
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._rest[fd] = data
            return
        status = data.split(b" ", 2)[1].decode("latin-1")
        if status != "101":
            self._fail(fd, f"http {status}")
            return
        self.deflated = b"permessage-deflate" in data[:end]
        self._state[fd] = _OPEN
        os.write(fd, self._frames.pop(fd))
        if len(data) > end + 4:
            self._take(fd, memoryview(data)[end + 4 :])

    def _read(self, fd: int) -> None:
        rest = self._rest.pop(fd, b"") if self._rest else b""
        start = len(rest)
        self._view[:start] = rest
        try:
            size = os.readv(fd, [self._view[start : start + _READ_BYTES]])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._fail(fd, "closed by the server")
            return
        self.bytes += size
        self.reads += 1
        self._take(fd, self._view[: start + size])

    def _take(self, fd: int, data: memoryview) -> None:
        chunk = self._reader.read(data)
        if chunk.messages:
            self.messages += chunk.messages
            self.total += chunk.messages
            now, latency = time.monotonic_ns(), self.latency
            for stamp, weight in chunk.stamps:
                late_ms = (now - stamp) / 1e6
                latency.longest_ms = max(latency.longest_ms, late_ms)
                latency.bins[min(int(late_ms / _BIN_MS), _BINS - 1)] += weight
        if chunk.used != len(data):
            self._rest[fd] = bytes(data[chunk.used :])
            if len(self._rest[fd]) > _LONGEST_FRAME:
                self._fail(fd, "frame too long")
                return
        if chunk.acked and self._state[fd] == _OPEN:
            self._state[fd] = _SUBSCRIBED
            self._opening -= 1
            self.subscribed += 1
        if chunk.answer:
            with contextlib.suppress(OSError):
                os.write(fd, chunk.answer)
        if chunk.closed:
            self._fail(fd, chunk.closed)

    def _fail(self, fd: int, reason: str) -> None:
        """The connection is over, before or after its acknowledgement."""
        if self._state[fd] == _SUBSCRIBED:
            self.subscribed -= 1
            self.lost[reason] = self.lost.get(reason, 0) + 1
        else:
            self._opening -= 1
            self.failed[reason] = self.failed.get(reason, 0) + 1
        self._state[fd] = _FREE
        self._rest.pop(fd, None)
        self._frames.pop(fd, None)
        self._epoll.unregister(fd)
        os.close(fd)


def main() -> None:
    """Serves its caller until the end of its input."""
    clients = Clients(DIALECTS[sys.argv[1]], int(sys.argv[2]))
    commands = FileIO(0, closefd=False)
    while True:
        if clients.poll(1.0):
            continue
        line = commands.readline()
        if not line:
            return
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request["verb"] == "open":
            answer = clients.open(request["count"], request["channels"], request["flight"])
        elif request["verb"] == "reset":
            clients.reset()
        else:
            answer = clients.figures()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
