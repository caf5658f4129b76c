"""What clients hold besides their write buffers: counted, bounded in time, and let go once it is too old.

A client that takes messages in another order than they come (latest-value delivery, a resume) has no
buffer that could overflow, and one that sends a frame byte by byte writes nothing that could wait. All of
it is looked at once a second, so that no message on its way pays for it.
"""

from __future__ import annotations

from itertools import takewhile

from wsnode.link import Extra
from wsnode.links import Links
from wsnode.ring import Ring

PASSED_BYTES = 100
"""What a channel that a client is passed over takes, roughly; its message is the ring's."""
PLANNED_BYTES = 8
"""What a message takes that is looked up for a client; it is the ring's too."""

_ROUNDED_SECONDS = 1  # the node's clock is in whole seconds: nobody gets less than the time that is due


class Holdings:
    """Call `tick` once a second, after the sweep has set the clock."""

    def __init__(self, links: Links, ring: Ring) -> None:
        self._links, self._ring = links, ring
        self._turn = 0

    def tick(self) -> None:
        """Cuts who stands still, lets go what has left the ring, and keeps what is held to the budget."""
        self._end_half_sent()
        self._end_stalled()
        self._let_go()
        self._count()
        self._links.keep_to_budget()

    def _end_half_sent(self) -> None:
        """A frame or message has to end within WS_HANDSHAKE_TIMEOUT of its beginning."""
        links = self._links
        latest = links.now - links.settings.handshake_timeout - _ROUNDED_SECONDS
        for link in [link for link, begun in links.under_way.items() if begun <= latest]:
            links.close(link, 1008, "too slow: a message that was begun did not end", "timeout")

    def _end_stalled(self) -> None:
        """Whose buffer does not grow is never too full; it is too slow when nothing of it is taken."""
        links = self._links
        latest = links.now - links.settings.ping_timeout - _ROUNDED_SECONDS
        for link in [link for link, took in links.behind.items() if took <= latest and link.withheld]:
            links.too_slow(link)

    def _let_go(self) -> None:
        """What left the ring must not live on with those that do not take it: a part of them each time."""
        slots = max(1, round(self._links.settings.ping_interval))
        self._turn = (self._turn + 1) % slots
        oldest = self._ring.oldest
        for link in self._links.behind:
            if link.extra is not None and link.fd % slots == self._turn:
                lost = _let_go_below(link.extra, oldest)
                link.extra.lost = max(link.extra.lost, lost)

    def _count(self) -> None:
        links = self._links
        sizes = {
            link: size for link in links.behind if link.extra is not None and (size := _size_of(link.extra))
        }
        for link in links.under_way:
            partial = len(link.inb or b"") + (len(link.fragments.data) if link.fragments is not None else 0)
            sizes[link] = sizes.get(link, 0) + partial
        for link in [*links.held.keys() - sizes.keys()]:
            links.hold(link, 0)
        for link, size in sizes.items():
            links.hold(link, size)


def _let_go_below(extra: Extra, oldest: int) -> int:
    """Lets go what is older; returns the highest sequence that is lost with it, or 0."""
    lost = extra.joining.let_go_below(oldest) if extra.joining is not None else 0
    passed = (passed.message for passed in extra.passed.values())
    for message in list(takewhile(lambda message: message.seq < oldest, passed)):
        del extra.passed[message.channel]
        lost = max(lost, message.seq)
    return lost


def _size_of(extra: Extra) -> int:
    passed, joining = len(extra.passed), extra.joining
    if joining is None:
        return PASSED_BYTES * passed
    planned = len(joining.plan) + (len(joining.newest.found) if joining.newest is not None else 0)
    return PASSED_BYTES * (passed + len(joining.passed)) + PLANNED_BYTES * planned
