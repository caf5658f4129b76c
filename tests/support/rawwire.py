"""A WebSocket connection as nothing but a socket: for tests that say which bytes go and which come back."""

from __future__ import annotations

import contextlib
import itertools
import socket
import zlib
from types import TracebackType
from typing import Self

from tests.support.wsclient import TEXT, client_frame, request

TIMEOUT_SECONDS = 10.0
OFFER = "permessage-deflate; client_max_window_bits"
RSV1 = 0x40

# How a client sends its messages: without the extension; with it, but not using it; using it.
MODES = ["plain", "agreed", "compressed"]


def deflated(payload: bytes) -> bytes:
    """A message's payload as a client compresses it (RFC 7692, section 7.2.1)."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(mode: str, payload: bytes, cuts: tuple[int, ...] = (), opcode: int = TEXT) -> bytes:
    """A client's message in a mode, in a frame or cut into fragments at these places of what is sent."""
    data, bits = (deflated(payload), RSV1) if mode == "compressed" else (payload, 0)
    edges = [0, *(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    frames = [
        client_frame(0 if index else opcode, piece, fin=index == len(pieces) - 1, bits=0 if index else bits)
        for index, piece in enumerate(pieces)
    ]
    return b"".join(frames)


class RawWire:
    """A connection to a node. As a context manager it is closed at the end."""

    def __init__(self, port: int, first: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""
        self.send(first)

    @classmethod
    def open(cls, port: int, mode: str = "plain") -> Self:
        """A connection whose handshake is done and whose hello is read."""
        wire = cls(port, request(port, **({} if mode == "plain" else {"Sec_WebSocket_Extensions": OFFER})))
        status, headers, _ = wire.response()
        assert status == 101, status
        assert ("sec-websocket-extensions" in headers) is (mode != "plain")
        assert b'"type":"hello"' in wire.frame()
        return wire

    def send(self, data: bytes) -> None:
        """Sends bytes. Where the node has ended the connection already they go nowhere."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """The next bytes: `size` of them, or fewer at the end of the connection."""
        while len(self._read) < size:
            data = self._socket.recv(65_536)
            if not data:
                break
            self._read += data
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def frame(self) -> bytes:
        """The next frame as it came; those that a node sends of itself are passed over."""
        while True:
            frame = self.receive(2)
            if len(frame) == 2 and frame[1] == 126:
                frame += self.receive(2)
                frame += self.receive(int.from_bytes(frame[2:4], "big"))
            elif len(frame) == 2:
                assert frame[1] < 126, frame
                frame += self.receive(frame[1])
            if b'"type":"position"' not in frame and b'"type":"feed"' not in frame:
                return frame

    def ended(self) -> bool:
        """Whether nothing more came before the end of the connection."""
        return self.receive(1) == b""

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of an HTTP response."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.receive(1)
            assert byte, head
            head += byte
        first, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers, self.receive(int(headers.get("content-length", "0")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
