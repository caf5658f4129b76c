"""The publisher: a process that sends ticks at a steady rate, to NATS or to a WebSocket server.

Commands come as JSON lines on standard input, each answered by one line:
`{"verb":"rate","rate":r}` (messages a second, 0 stops), `{"verb":"send","count":k}` (at once) and
`{"verb":"count"}`; the answer is how many were sent. The end of the input ends it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from io import FileIO

from tests.bench.ticks import KINDS, Market, Ticks, payload
from wsnode.load_wire import handshake_request

_DRAWN = 4096
_LONGEST_SLEEP = 0.05


class NatsLine:
    """PUB lines of the NATS protocol on a plain socket: the cheapest publisher there is."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n')

    def send(self, channel: bytes, message: bytes) -> None:
        """Publishes one message."""
        self._socket.sendall(b"PUB odin.token.%b %d\r\n%b\r\n" % (channel, len(message), message))

    def heed(self) -> None:
        """Answers the server's pings."""
        while select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(65536)
            if not data:
                raise SystemExit("the broker closed the connection")
            if b"PING\r\n" in data:
                self._socket.sendall(b"PONG\r\n")


class WebSocketLine:
    """Binary frames `CHANNEL\\nPAYLOAD`, for a server that has no NATS client."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(handshake_request("127.0.0.1", "/")[0])
        if b" 101 " not in self._socket.recv(4096):
            raise SystemExit("the server refused the publisher")

    def send(self, channel: bytes, message: bytes) -> None:
        """Publishes one message. A mask of zeros is a mask, and leaves the bytes as they are."""
        body = channel + b"\n" + message
        self._socket.sendall(struct.pack("!BBHI", 0x82, 0xFE, len(body), 0) + body)

    def heed(self) -> None:
        """Answers pings: two bytes of header, no payload."""
        while select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(65536)
            if not data:
                raise SystemExit("the server closed the connection")
            if data[0] == 0x89:
                self._socket.sendall(b"\x8a\x80\0\0\0\0")


class Publisher:
    """Sends due messages; sleeps until the next is due."""

    def __init__(self, line: NatsLine | WebSocketLine, channels: list[str], ticks: Ticks | Market) -> None:
        self._line = line
        self._channels = [name.encode() for name in channels]
        # Drawn ahead, so that a message costs the shared core as little as can be.
        self._tails = [ticks.tail() for _ in range(_DRAWN)]
        self._rate = 0.0
        self._began = 0.0
        self._due = 0
        self.count = 0

    def set_rate(self, rate: float) -> None:
        """From now on `rate` messages a second."""
        self._rate, self._began, self._due = rate, time.monotonic(), 0

    def turn(self) -> float:
        """Sends what is due; seconds until the next message is."""
        if not self._rate:
            return _LONGEST_SLEEP
        due = int((time.monotonic() - self._began) * self._rate)
        self.send(due - self._due)
        self._due = due
        left = self._began + (self._due + 1) / self._rate - time.monotonic()
        return min(max(left, 0.0), _LONGEST_SLEEP)

    def send(self, count: int) -> None:
        """Sends messages at once, to the channels in turn; each channel's are numbered from 1."""
        channels, tails = self._channels, self._tails
        for _ in range(count):
            rounds, turn = divmod(self.count, len(channels))
            tail = tails[self.count % _DRAWN]
            self._line.send(channels[turn], payload(time.monotonic_ns(), rounds + 1, tail))
            self.count += 1


def main() -> None:
    """`publisher.py nats|ws PORT CHANNEL,... ticks|market`"""
    kind, port, names, ticks = sys.argv[1:5]
    line = NatsLine(int(port)) if kind == "nats" else WebSocketLine(int(port))
    publisher = Publisher(line, names.split(","), KINDS[ticks]())
    commands = FileIO(0, closefd=False)
    heeded = time.monotonic()
    while True:
        wait = publisher.turn()
        if select.select([0], [], [], wait)[0]:
            command = commands.readline()
            if not command:
                return
            request = json.loads(command)
            if request["verb"] == "rate":
                publisher.set_rate(float(request["rate"]))
            elif request["verb"] == "send":
                publisher.send(int(request["count"]))
            print(json.dumps({"count": publisher.count}), flush=True)
        if time.monotonic() - heeded > 1:
            heeded = time.monotonic()
            line.heed()


if __name__ == "__main__":
    main()
