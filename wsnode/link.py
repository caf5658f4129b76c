"""One client, as the node keeps it: a few slots, and nothing that is made before it is needed."""

from __future__ import annotations

from wsnode.protocol.frames import Fragments

# States of a link, in the order in which it passes through them.
HANDSHAKE, OPEN, CLOSING, DISCARDING = range(4)

# Forms in which a client gets its messages: text frames, compressed text frames, server-sent events.
PLAIN, DEFLATE, SSE = range(3)


class Link:
    """One client.

    Attributes:
        fd: its descriptor, -1 once it is gone.
        state: HANDSHAKE; OPEN; CLOSING: our close frame is sent, theirs awaited; DISCARDING: all
            is said, the rest of what it sends is thrown away until it closes.
        out: what the socket has not taken; None on an open link that is not behind. An empty one
            on a link that is no longer open keeps the fan-out's fast path away from it.
        inb: the partial request or frame received last.
        form: PLAIN, DEFLATE or SSE, known once the request is read.
        fragments: the fragmented message under way.
        channels: what it subscribed to.
        seen: the node's clock when it last gave a sign of life.
        opened: the node's clock when it was accepted.
        paid_until: its rate limit, see `rates.spaced`.
        address: where it comes from, kept only while addresses are limited.
        why: reason that its end will be counted under.
    """

    __slots__ = (
        "address",
        "channels",
        "fd",
        "form",
        "fragments",
        "inb",
        "opened",
        "out",
        "paid_until",
        "seen",
        "state",
        "why",
    )

    def __init__(self, fd: int, now: int, address: str | None) -> None:
        self.fd = fd
        self.state = HANDSHAKE
        self.form = PLAIN
        self.out: bytearray | None = None
        self.inb: bytearray | None = None
        self.fragments: Fragments | None = None
        self.channels: tuple[str, ...] = ()
        self.seen = self.opened = now
        self.paid_until = 0
        self.address = address
        self.why = "gone"

    @classmethod
    def nobody(cls) -> Link:
        """A link that is gone, to stand where one was."""
        link = cls(-1, 0, None)
        link.state, link.out = DISCARDING, bytearray()
        return link
