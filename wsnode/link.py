"""One client, as the node keeps it: a few slots, and nothing that is made before it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsnode.protocol.forms import DEFLATE, PLAIN, SSE
from wsnode.protocol.frames import Fragments

if TYPE_CHECKING:
    from wsnode.passed import Passed
    from wsnode.replay import Joining

__all__ = ["CLOSING", "DEFLATE", "DISCARDING", "HANDSHAKE", "OPEN", "PLAIN", "SSE", "Extra", "Link"]

# States of a link, in the order in which it passes through them.
HANDSHAKE, OPEN, CLOSING, DISCARDING = range(4)


class Extra:
    """What only some clients need.

    Attributes:
        joining: its replay under way; meanwhile it stands in no live set.
        passed: by channel, what it was passed over because it was behind, in the order of the messages;
            empty while it is not.
        patched_after: it was given every message above this sequence that it listens to, so that a
            patch on one of those means something to it.
        lost: the highest sequence that the node told others to have lost while this one got no positions,
            or that could not be kept for this one.
        told: the highest sequence that it was told by itself to be lost.
    """

    __slots__ = ("joining", "lost", "passed", "patched_after", "told")

    def __init__(self) -> None:
        self.joining: Joining | None = None
        self.passed: dict[str, Passed] = {}
        self.patched_after = 0
        self.lost = 0
        self.told = 0


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
        options: of those of its channels that were subscribed to with any.
        extra: what only some clients need, made when it is.
        seen: the node's clock when it last gave a sign of life.
        opened: the node's clock when it was accepted.
        paid_until: its rate limit, see `rates.spaced`.
        resting: nothing is read from it for a moment.
        address: where it comes from; of an open link kept only while addresses are limited.
        why: reason that its end will be counted under.
    """

    __slots__ = (
        "address",
        "channels",
        "extra",
        "fd",
        "form",
        "fragments",
        "inb",
        "opened",
        "options",
        "out",
        "paid_until",
        "resting",
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
        self.options: dict[str, int] | None = None
        self.extra: Extra | None = None
        self.seen = self.opened = now
        self.paid_until = 0
        self.resting = False
        self.address = address
        self.why = "gone"

    @property
    def withheld(self) -> bool:
        """No position may be told to it: it has not been given all that the others have."""
        extra = self.extra
        return extra is not None and (extra.joining is not None or bool(extra.passed) or extra.lost > 0)

    def with_extra(self) -> Extra:
        """Its extra state, made if it has none."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    @classmethod
    def nobody(cls) -> Link:
        """A link that is gone, to stand where one was."""
        link = cls(-1, 0, None)
        link.state, link.out = DISCARDING, bytearray()
        return link
