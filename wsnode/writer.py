"""The hot path of the whole node: one system call a client."""

from __future__ import annotations

import os

from wsnode.counters import Counters
from wsnode.link import Link
from wsnode.links import Links
from wsnode.rounds import Part


def writer_for(links: Links, counters: Counters) -> Writer:
    """The one that fits these links."""
    return SealingWriter(links, counters) if links.secure else Writer(links, counters)


class Writer:
    """Writes parts of a round to sockets, or to the buffers of those that are behind."""

    def __init__(self, links: Links, counters: Counters) -> None:
        self._links, self._counters = links, counters

    def write(self, part: Part, start: int, until: int) -> int:
        """Writes to some clients of a part. Returns how many data frames they were given.

        A link that is gone has the descriptor -1, and the write fails like any other.
        """
        if part.own is not None:
            return self._own(part, start, until)
        data, size, keep, write = part.data, len(part.data), self._links.keep, os.write
        links = part.links[start:until]
        given = len(links)
        for link in links:
            if link.out is None:
                try:
                    taken = write(link.fd, data)
                except OSError as error:
                    given -= not self._failed(link, data, error)
                    continue
                if taken != size:
                    given -= not keep(link, data[taken:])
            else:
                given -= not keep(link, data)
        self._counters.messages_out += given * part.frames
        self._counters.bytes_out += given * size
        return given * part.frames

    def _own(self, part: Part, start: int, until: int) -> int:
        """The same for clients of which each gets its own frames."""
        assert part.own is not None
        total = 0
        for link, frames in zip(part.links[start:until], part.own[start:until], strict=True):
            data = None
            taken = 0
            if link.out is None:
                try:
                    taken = os.writev(link.fd, frames)
                except OSError as error:
                    data = b"".join(frames)
                    if not self._failed(link, data, error):
                        continue
                    taken = len(data)
            size = sum(map(len, frames))
            if taken != size and not self._links.keep(link, b"".join(frames)[taken:]):
                continue
            total += len(frames) - part.control
            self._counters.bytes_out += size
        self._counters.messages_out += total
        return total

    def _failed(self, link: Link, data: bytes, error: OSError) -> bool:
        """A write that did not go: kept for a full socket; the end of one that is broken or gone."""
        if isinstance(error, BlockingIOError):
            return self._links.keep(link, data)
        self._links.drop(link, "gone")
        return False


class SealingWriter(Writer):
    """The same where TLS ends in the node: each client gets its own ciphertext, made by its link."""

    def write(self, part: Part, start: int, until: int) -> int:
        if part.own is not None:
            return self._own(part, start, until)
        data, send = part.data, self._links.send
        given = 0
        for link in part.links[start:until]:
            given += send(link, data)
        self._counters.messages_out += given * part.frames
        self._counters.bytes_out += given * len(data)
        return given * part.frames

    def _own(self, part: Part, start: int, until: int) -> int:
        assert part.own is not None
        total = 0
        for link, frames in zip(part.links[start:until], part.own[start:until], strict=True):
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            if self._links.send(link, data):
                total += len(frames) - part.control
                self._counters.bytes_out += len(data)
        self._counters.messages_out += total
        return total
