"""What the load client remembers of each of its connections: rows of arrays, some 50 bytes a client."""

from __future__ import annotations

from array import array

from wsnode.gapcheck import NONE

# States of a client.
IDLE, CONNECTING, HANDSHAKE, OPEN, SUBSCRIBED, WAITING, DOWN = range(7)


class ClientTable:
    """One row a client, by its number; `base` and `bar` hold `each` numbers a client, one a channel.

    `base`, `position` and `epoch` outlive a connection: they are what a resume asks with.
    """

    __slots__ = (
        "asked",
        "attempt",
        "bar",
        "base",
        "catching",
        "channel_count",
        "each",
        "epoch",
        "fd",
        "generation",
        "node",
        "opens",
        "position",
        "seen",
        "state",
    )

    def __init__(self, channel_count: int, each: int) -> None:
        self.channel_count = channel_count
        self.each = each
        self.fd = array("i")
        self.state = array("B")
        self.attempt = array("H")
        """Opens that failed in a row."""
        self.generation = array("I")
        """Raised with each change of state that makes older deadlines and retries void."""
        self.opens = array("I")
        """Connections that were opened so far."""
        self.node = array("H")
        """Number of the node that said hello; 0 before it."""
        self.epoch = array("H")
        self.position = array("q")
        """What the node said last that the client has, on this connection."""
        self.asked = array("d")
        """When it subscribed, by the monotonic clock."""
        self.catching = array("H")
        """Channels whose replay has not ended."""
        self.seen = array("I")
        """Second (since the engine's start) of the last bytes from the node."""
        self.base = array("q")
        """The last seq of each channel."""
        self.bar = array("q")
        """What a `prev` may reach without a loss: the seq of the acknowledgement, or what was told."""

    def __len__(self) -> int:
        return len(self.fd)

    def grow(self, size: int) -> None:
        """Room for `size` clients."""
        more = size - len(self.fd)
        if more <= 0:
            return
        for rows, value in (
            (self.fd, -1),
            (self.state, IDLE),
            (self.attempt, 0),
            (self.generation, 0),
            (self.opens, 0),
            (self.node, 0),
            (self.epoch, 0),
            (self.position, NONE),
            (self.catching, 0),
            (self.seen, 0),
        ):
            rows.extend([value] * more)
        self.asked.extend([0.0] * more)
        self.base.extend([NONE] * (more * self.each))
        self.bar.extend([NONE] * (more * self.each))

    def channels_of(self, client: int) -> list[int]:
        """The numbers of a client's channels: clients take them from the list in turn."""
        first = client * self.each
        return [(first + place) % self.channel_count for place in range(self.each)]

    def slot(self, client: int, channel: int) -> int:
        """Where `base` holds this client's last seq of the channel; -1 where it did not ask for it."""
        place = (channel - client * self.each) % self.channel_count
        return client * self.each + place if channel >= 0 and place < self.each else -1

    def slots(self, client: int) -> range:
        """The places of a client's channels in `base` and `bar`, in the order of `channels_of`."""
        return range(client * self.each, (client + 1) * self.each)

    def greeted(self, client: int, epoch: int) -> bool:
        """A hello: sequences of another epoch say nothing about this stream. True when any were known.

        A second one on a connection says that the stream was made again, if not by name.
        """
        other = self.epoch[client] not in (0, epoch) or self.state[client] == SUBSCRIBED
        known = other and self.base[client * self.each] != NONE
        if known:
            self._forget(client)
        self.epoch[client] = epoch
        return known

    def go_on(self, client: int) -> list[int] | None:
        """From where each channel goes on, and is judged from now on; None where nothing is known yet.

        No position came while a channel was catching up: then it goes on from its own last message.
        """
        slots, stands = self.slots(client), self.position[client]
        if any(self.base[slot] == NONE for slot in slots):
            return None
        for slot in slots:
            self.base[slot] = self.bar[slot] = max(self.base[slot], stands)
        self.position[client] = NONE
        return [self.base[slot] for slot in slots]

    def acknowledged(self, client: int, seq: int) -> None:
        """The acknowledgement. A node behind the last one may send again what was seen there."""
        self.position[client] = NONE
        for slot in self.slots(client):
            base = self.base[slot]
            self.base[slot] = seq if base == NONE else min(base, seq)
            self.bar[slot] = seq

    def started_anew(self, slot: int, seq: int) -> bool:
        """A resume came to nothing: the channel begins at `seq`. True when something was known of it."""
        known = self.base[slot] != NONE
        self.base[slot] = self.bar[slot] = seq
        return known

    def closed(self, client: int) -> None:
        """The connection is over; what a resume needs stays."""
        self.fd[client] = -1
        self.node[client] = 0
        self.catching[client] = 0

    def retired(self, client: int) -> None:
        """The client itself is over: a new one of this number starts with nothing seen."""
        self.state[client] = IDLE
        self.attempt[client] = 0
        self.generation[client] += 1
        self.opens[client] = 0
        self.epoch[client] = 0
        self.position[client] = NONE
        self._forget(client)

    def _forget(self, client: int) -> None:
        for slot in self.slots(client):
            self.base[slot] = self.bar[slot] = NONE
