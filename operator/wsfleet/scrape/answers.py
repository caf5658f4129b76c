"""One HTTP/1.1 answer out of a connection's bytes (RFC 9112, sections 4 and 6 to 7): no I/O.

A node's answers come from its own admin port, yet nothing in them is believed: every length is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

_HEAD_BYTES = 16 * 1024
_CHUNK_LINE_BYTES = 1024
_INTERIM = range(100, 200)
_BODILESS = (204, 304)
_READ = (b"content-length", b"transfer-encoding", b"connection")


class AnswerError(ValueError):
    """What came is no HTTP answer, is too long, or ends too early."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `stays` says whether the connection may be used again."""

    status: int
    body: bytes
    stays: bool


class AnswerReader:
    """Reads one answer to a GET, of at most `most_bytes` of body. `feed` until it gives the answer."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._buffer = bytearray()
        self._body = bytearray()
        self._status = 0
        self._stays = True
        self._chunked = self._trailing = False
        self._length: int | None = None
        """Of the body; None: it is chunked, or ends with the connection."""

    def feed(self, data: bytes) -> Answer | None:
        """Take bytes in; the answer once it is whole.

        Raises:
            AnswerError: no answer can come of it any more.
        """
        self._buffer += data
        while not self._status:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_BYTES:
                    raise AnswerError("the head of the answer does not end")
                return None
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._read_head(head)
        if self._chunked:
            return self._take_chunks()
        if len(self._buffer) > self._most:
            raise self._too_long()
        if self._length is None or len(self._buffer) < self._length:
            return None
        # More than was announced belongs to no question of ours.
        stays = self._stays and len(self._buffer) == self._length
        return Answer(self._status, bytes(self._buffer[: self._length]), stays)

    def end(self) -> Answer:
        """The answer of a connection that the other side has closed.

        Raises:
            AnswerError: it was not whole.
        """
        if not self._status or self._chunked or self._length is not None:
            raise AnswerError("the connection was closed before the answer was whole")
        return Answer(self._status, bytes(self._buffer), stays=False)

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        status = rest[:3]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(status) != 3 or not status.isdigit():
            raise AnswerError("the answer is not HTTP")
        if int(status) in _INTERIM:
            return
        found: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name in _READ:
                found[name] = value.strip().lower()
        connection = found.get(b"connection", b"keep-alive" if version == b"HTTP/1.1" else b"close")
        self._stays = b"close" not in connection
        self._chunked = found.get(b"transfer-encoding", b"").endswith(b"chunked")
        length = found.get(b"content-length")
        if int(status) in _BODILESS:
            self._chunked, self._length = False, 0
        elif not self._chunked and length is not None:
            if not length.isdigit() or len(length) > 19:
                raise AnswerError("the length of the answer is no number")
            self._length = int(length)
            if self._length > self._most:
                raise self._too_long()
        self._status = int(status)

    def _take_chunks(self) -> Answer | None:
        """Move whole chunks from the buffer to the body; the answer after the last one and its trailers."""
        at = 0
        while True:
            end = self._buffer.find(b"\r\n", at)
            if end < 0:
                break
            line = bytes(self._buffer[at:end])
            if self._trailing:
                at = end + 2
                if line:
                    continue  # a trailer
                stays = self._stays and at == len(self._buffer)
                return Answer(self._status, bytes(self._body), stays)
            size = _chunk_size(line)
            if len(self._body) + size > self._most:
                raise self._too_long()
            if not size:
                self._trailing, at = True, end + 2
                continue
            if len(self._buffer) < end + 2 + size + 2:
                break
            self._body += self._buffer[end + 2 : end + 2 + size]
            at = end + 2 + size + 2
        del self._buffer[:at]
        if len(self._buffer) > self._most + _CHUNK_LINE_BYTES:
            raise self._too_long()
        return None

    def _too_long(self) -> AnswerError:
        return AnswerError(f"the answer is longer than {self._most} bytes")


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not text.isalnum() or len(text) > 8:
        raise AnswerError("a chunk of the answer has no length")
    try:
        return int(text, 16)
    except ValueError as exc:
        raise AnswerError("a chunk of the answer has no length") from exc
