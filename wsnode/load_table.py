"""What the load client remembers of each of its connections: rows of arrays, some 50 bytes a client."""

from __future__ import annotations

from array import array

from wsnode.gapcheck import NONE

# States of a client.
IDLE, CONNECTING, HANDSHAKE, OPEN, SUBSCRIBED, WAITING, DOWN = range(7)


class ClientTable:
    """One row a client, by its number. `base` holds `each` numbers a client: the last seq of each channel.

    `base`, `position` and `epoch` outlive a connection: they are what a resume asks with.
    """

    __slots__ = (
        "ack",
        "attempt",
        "base",
        "channel_count",
        "each",
        "epoch",
        "fd",
        "generation",
        "node",
        "opened_before",
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
        self.opened_before = array("B")
        self.node = array("H")
        """Number of the node that said hello; 0 before it."""
        self.epoch = array("H")
        self.ack = array("q")
        self.position = array("q")
        self.seen = array("I")
        """Second (since the engine's start) of the last bytes from the node."""
        self.base = array("q")

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
            (self.opened_before, 0),
            (self.node, 0),
            (self.epoch, 0),
            (self.ack, NONE),
            (self.position, NONE),
            (self.seen, 0),
        ):
            rows.extend([value] * more)
        self.base.extend([NONE] * (more * self.each))

    def channels_of(self, client: int) -> list[int]:
        """The numbers of a client's channels: clients take them from the list in turn."""
        first = client * self.each
        return [(first + place) % self.channel_count for place in range(self.each)]

    def slot(self, client: int, channel: int) -> int:
        """Where `base` holds this client's last seq of the channel; -1 where it did not ask for it."""
        place = (channel - client * self.each) % self.channel_count
        return client * self.each + place if channel >= 0 and place < self.each else -1

    def greeted(self, client: int, epoch: int) -> None:
        """A hello: sequences of another epoch say nothing about this stream."""
        if self.epoch[client] not in (0, epoch):
            self._forget(client)
        self.epoch[client] = epoch

    def acknowledged(self, client: int, seq: int) -> None:
        """The acknowledgement. A node behind the last one may send again what was seen there."""
        self.ack[client] = seq
        self.position[client] = NONE
        for slot in range(client * self.each, (client + 1) * self.each):
            base = self.base[slot]
            self.base[slot] = seq if base == NONE else min(base, seq)

    def closed(self, client: int) -> None:
        """The connection is over; what a resume needs stays."""
        self.fd[client] = -1
        self.node[client] = 0
        self.ack[client] = NONE

    def retired(self, client: int) -> None:
        """The client itself is over: a new one of this number starts with nothing seen."""
        self.state[client] = IDLE
        self.attempt[client] = 0
        self.generation[client] += 1
        self.opened_before[client] = 0
        self.epoch[client] = 0
        self.position[client] = NONE
        self._forget(client)

    def _forget(self, client: int) -> None:
        for slot in range(client * self.each, (client + 1) * self.each):
            self.base[slot] = NONE
