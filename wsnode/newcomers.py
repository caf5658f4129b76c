"""Connections that have not finished their handshake, by the address that they come from. Pure.

Nobody knows yet whether they will ever ask for anything, and they take places. Where those run out, the
address that holds the most of them gives one back: so no single one can keep the others out.
"""

from __future__ import annotations

import socket

from wsnode.link import Link

_V4_IN_V6 = "::ffff:"
_PREFIX_BYTES = 8


def counted_address(host: str) -> str:
    """What counts as one address of a peer: an IPv4 address, and of IPv6 the /64.

    A host chooses the lower half by itself, and as often as it likes (RFC 4291, section 2.5.1; RFC 8981). On
    a link of their own (fe80::/10) all have the same upper half: there each address counts.
    """
    host = host.removeprefix(_V4_IN_V6)
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
        return host
    return socket.inet_ntop(socket.AF_INET6, packed[:_PREFIX_BYTES].ljust(16, b"\0")) + "/64"


class Newcomers:
    """The links that were taken in and never were open, the oldest of each address first."""

    def __init__(self) -> None:
        self._by_address: dict[str, dict[Link, None]] = {}
        self._by_count: dict[int, dict[str, None]] = {}
        self._most = 0

    def add(self, link: Link) -> None:
        """One more."""
        assert link.address is not None
        links = self._by_address.setdefault(link.address, {})
        links[link] = None
        self._moved(link.address, len(links) - 1, len(links))

    def discard(self, link: Link) -> None:
        """It is open now, or gone; one that is not there is passed over."""
        links = self._by_address.get(link.address) if link.address is not None else None
        if links is None or link not in links:
            return
        assert link.address is not None
        del links[link]
        if not links:
            del self._by_address[link.address]
        self._moved(link.address, len(links) + 1, len(links))

    def of(self, address: str) -> int:
        """How many there are of an address."""
        return len(self._by_address.get(address, ()))

    def oldest_of_the_most(self) -> tuple[Link, int] | None:
        """The oldest one of the address with the most, and how many that has; None where there is none."""
        if not self._most:
            return None
        address = next(iter(self._by_count[self._most]))
        return next(iter(self._by_address[address])), self._most

    def _moved(self, address: str, before: int, now: int) -> None:
        if before:
            there = self._by_count[before]
            del there[address]
            if not there:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, {})[address] = None
        # It moves by one: where it was the only one of the most, it is of the most still.
        if now > self._most or self._most not in self._by_count:
            self._most = now
