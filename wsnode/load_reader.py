"""What the load client does with the bytes of an open connection.

Thousands of clients get the same bytes, since a node encodes a message once for all: what was read is
looked up in a small cache of byte strings already understood, and only new ones are parsed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from wsnode.gapcheck import Finding, Ledger, Verdict
from wsnode.load_figures import Figures, count
from wsnode.load_table import SUBSCRIBED, ClientTable
from wsnode.load_wire import (
    ACK,
    BAD,
    CLOSE,
    DATA,
    ERROR,
    FEED,
    HELLO,
    PING,
    PONG,
    POSITION,
    Event,
    Scanner,
    pong_frame,
)

_CACHED_STRINGS = 1024
_CACHED_BYTES = 8192

Parsed = tuple[list[Event], int, int]
"""Events, bytes they took, and how many of them are data messages."""


class Reader:
    """Reads frames into the table and the figures; knows no sockets.

    `send` takes a client and a frame, `gone` a client, a close code in words and a reason.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        check: bool,
        table: ClientTable,
        figures: Figures,
        send: Callable[[int, bytes], None],
        gone: Callable[[int, str, str], None],
    ) -> None:
        self.channels = channels
        self.check = check
        self.table = table
        self.figures = figures
        self.ledger = Ledger()
        self.tick = 0
        """Whole seconds since the start; kept by the engine."""
        self._send = send
        self._gone = gone
        self._scanner = Scanner(channels)
        self._cache: dict[bytes, Parsed] = {}
        self._partial: dict[int, bytes] = {}
        self._newest = [-1] * len(channels)
        self._node_numbers: dict[str, int] = {}
        self._node_names = [""]
        self._epochs: dict[bytes, int] = {}

    def take(self, client: int, data: bytes) -> None:
        """Bytes that came for a client."""
        table, figures = self.table, self.figures
        figures.bytes_in += len(data)
        table.seen[client] = self.tick
        if self._partial and (rest := self._partial.pop(client, None)) is not None:
            data = rest + data
        events, used, deliveries = self._cache.get(data) or self._parse(data)
        if used != len(data):
            self._partial[client] = data[used:]
        if deliveries:
            figures.deliveries += deliveries
            now_ms = time.time() * 1000
        each, channel_count, base, position = table.each, table.channel_count, table.base, table.position
        for event in events:
            kind, channel, seq, prev, ts, _, _ = event
            if kind != DATA:
                if not self._control(client, event):
                    return
                continue
            if ts:
                figures.latency.add(now_ms - ts)
            if self.check:
                # The usual case, without a call; `_wrong` judges the others by the same rule.
                place = (channel - client * each) % channel_count
                slot = client * each + place
                if place < each and channel >= 0:
                    had = base[slot]
                    if prev <= had < seq and had >= 0 and seq > position[client]:
                        base[slot] = seq
                        continue
                self._judge(client, channel, seq, prev)

    def node_of(self, client: int) -> str:
        """The name of the node that greeted the client; empty before."""
        return self._node_names[self.table.node[client]]

    def forget(self, client: int) -> None:
        """The connection is over: half a frame is worth nothing."""
        self._partial.pop(client, None)

    def _parse(self, data: bytes) -> Parsed:
        events, used = self._scanner.scan(data)
        deliveries = 0
        for event in events:
            if event.kind == DATA:
                deliveries += 1
                if event.channel >= 0 and event.seq > self._newest[event.channel]:
                    self._newest[event.channel] = event.seq
                    self.figures.messages += 1
        parsed = (events, used, deliveries)
        if len(data) <= _CACHED_BYTES:
            if len(self._cache) >= _CACHED_STRINGS:
                self._cache.clear()
            self._cache[data] = parsed
        return parsed

    def _judge(self, client: int, channel: int, seq: int, prev: int) -> None:
        table = self.table
        slot = table.slot(client, channel)
        had = table.base[slot] if slot >= 0 else -1
        ack = table.ack[client]
        verdict, base = self.ledger.judge(slot, had, ack, table.position[client], seq, prev)
        if slot >= 0:
            table.base[slot] = base
        if verdict is Verdict.OK:
            return
        name = self.channels[channel] if channel >= 0 else "?"
        if verdict is Verdict.LOST:
            had = max(had, ack)
        self.figures.note(
            f"client {client} at {self.node_of(client)}: {Finding(verdict, name, seq, prev, had)}"
        )

    def _control(self, client: int, event: Event) -> bool:
        """Any other frame. False when the connection ended with it."""
        table, figures, kind = self.table, self.figures, event.kind
        if kind == POSITION:
            figures.positions += 1
            table.position[client] = max(table.position[client], event.value)
        elif kind == PING:
            figures.pings += 1
            self._send(client, pong_frame(event.payload))
        elif kind == PONG:
            figures.pongs += 1
        elif kind == HELLO:
            self._hello(client, event)
        elif kind == ACK:
            if table.state[client] != SUBSCRIBED:
                table.state[client] = SUBSCRIBED
                table.generation[client] += 1
                table.attempt[client] = 0
                figures.subscribed += 1
                table.acknowledged(client, event.value)
        elif kind == FEED:
            figures.feed_losses += 1 - event.value
        elif kind == ERROR:
            count(figures.errors, event.text)
        elif kind == CLOSE:
            self._gone(client, str(event.value), event.text)
            return False
        elif kind == BAD:
            figures.note(f"client {client} at {self.node_of(client)}: {event.text}")
            self._gone(client, "protocol error", "")
            return False
        # A send inside may have found the connection broken.
        return table.fd[client] >= 0

    def _hello(self, client: int, event: Event) -> None:
        number = self._node_numbers.get(event.text)
        if number is None:
            number = self._node_numbers[event.text] = len(self._node_names)
            self._node_names.append(event.text)
        if self.table.node[client] == 0:
            self.table.node[client] = number
            self.figures.greeted(event.text)
        epoch = self._epochs.setdefault(event.payload, len(self._epochs) + 1)
        self.table.greeted(client, epoch)
