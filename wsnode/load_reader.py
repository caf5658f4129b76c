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
    CAUGHT_UP,
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
        *,
        resumes: bool = False,
    ) -> None:
        self.channels = channels
        self.check = check
        self.table = table
        self.figures = figures
        self.ledger = Ledger(resumes=resumes)
        self.tick = 0
        """Whole seconds since the start; kept by the engine."""
        self._send = send
        self._gone = gone
        self._resumes = resumes
        self._scanner = Scanner(channels)
        self._cache: dict[bytes, Parsed] = {}
        self._partial: dict[int, bytes] = {}
        self.newest = [-1] * len(channels)
        """The last seq of each channel that any client has had."""
        self._node_numbers: dict[str, int] = {}
        self._node_names = [""]
        self._epochs: dict[bytes, int] = {}
        self._epoch_names = [""]

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
        live = not table.catching[client]
        each, channel_count, base, position = table.each, table.channel_count, table.base, table.position
        for event in events:
            kind, channel, seq, prev, ts, _, _, _ = event
            if kind != DATA:
                if not self._control(client, event):
                    return
                live = not table.catching[client]
                continue
            if ts and live:
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

    def epoch_of(self, client: int) -> str:
        """The epoch of the stream that the client saw last; empty before it saw any."""
        return self._epoch_names[self.table.epoch[client]]

    def behind(self) -> int:
        """Channels of subscribed clients of which others have had something newer."""
        table = self.table
        return sum(
            table.base[slot] < self.newest[channel]
            for client in range(len(table))
            if table.state[client] == SUBSCRIBED
            for slot, channel in zip(table.slots(client), table.channels_of(client), strict=True)
        )

    def forget(self, client: int) -> None:
        """The connection is over: half a frame is worth nothing."""
        self._partial.pop(client, None)

    def _parse(self, data: bytes) -> Parsed:
        events, used = self._scanner.scan(data)
        deliveries = 0
        for event in events:
            if event.kind == DATA:
                deliveries += 1
                if event.channel >= 0 and event.seq > self.newest[event.channel]:
                    self.newest[event.channel] = event.seq
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
        bar = table.bar[slot] if slot >= 0 else -1
        verdict, base = self.ledger.judge(slot, had, bar, table.position[client], seq, prev)
        if slot >= 0:
            table.base[slot] = base
        if verdict is Verdict.OK:
            return
        name = self.channels[channel] if channel >= 0 else "?"
        if verdict is Verdict.LOST:
            had = max(had, bar)
        self.figures.note(
            f"client {client} at {self.node_of(client)}: {Finding(verdict, name, seq, prev, had)}"
        )

    def _control(self, client: int, event: Event) -> bool:
        """Any other frame. False when the connection ended with it."""
        table, figures, kind = self.table, self.figures, event.kind
        if kind == POSITION:
            figures.positions += 1
            self._position(client, event)
        elif kind == PING:
            figures.pings += 1
            self._send(client, pong_frame(event.payload))
        elif kind == PONG:
            figures.pongs += 1
        elif kind == HELLO:
            self._hello(client, event)
        elif kind == ACK:
            self._acknowledged(client, event)
        elif kind == CAUGHT_UP:
            self._told(client, event)
            self._caught_up(client)
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
        table = self.table
        number = self._node_numbers.get(event.text)
        if number is None:
            number = self._node_numbers[event.text] = len(self._node_names)
            self._node_names.append(event.text)
        if table.node[client] == 0:
            table.node[client] = number
            self.figures.greeted(event.text)
        if self._resumes and not event.payload and table.epoch[client]:
            self._gone(client, "no stream yet", "")  # it would know nothing of what was seen
            return
        epoch = self._epochs.get(event.payload)
        if epoch is None:
            epoch = self._epochs[event.payload] = len(self._epoch_names)
            self._epoch_names.append(event.payload.decode("utf-8", "replace"))
        if table.greeted(client, epoch) and self._resumes:
            self.figures.unrecovered += 1

    def _acknowledged(self, client: int, event: Event) -> None:
        """A node whose stream was made again says it once more, by itself."""
        table = self.table
        if table.state[client] != SUBSCRIBED:
            table.state[client] = SUBSCRIBED
            table.generation[client] += 1
            table.attempt[client] = 0
            self.figures.subscribed += 1
        if not event.outcomes:
            table.acknowledged(client, event.value)
            return
        known = [each for each in event.outcomes if each.recovered or each.last]
        self.figures.resumed += bool(known)
        table.catching[client] += len(known)
        self._told(client, event)
        anew = False
        for each in event.outcomes:
            slot = table.slot(client, each.channel)
            if slot >= 0 and not each.recovered and not each.last:
                anew |= table.started_anew(slot, event.value)
        self.figures.unrecovered += anew

    def _told(self, client: int, event: Event) -> None:
        """What is missing of its channels: counted now, and no message counts it again."""
        for each in event.outcomes:
            slot = self.table.slot(client, each.channel)
            if slot >= 0 and each.last > max(self.table.bar[slot], 0):
                self.ledger.told += 1
                self.table.bar[slot] = each.last

    def _caught_up(self, client: int) -> None:
        table = self.table
        if table.catching[client]:
            table.catching[client] -= 1
            if not table.catching[client]:
                self.figures.catch_up.add((time.monotonic() - table.asked[client]) * 1000)

    def _position(self, client: int, event: Event) -> None:
        """Before the acknowledgement it says nothing of the client's channels."""
        table = self.table
        if table.state[client] != SUBSCRIBED:
            return
        if event.prev > 0:
            for slot in table.slots(client):
                had = max(table.base[slot], table.bar[slot], table.position[client])
                self.ledger.told += event.prev > had
                table.bar[slot] = max(table.bar[slot], event.prev)
        table.position[client] = max(table.position[client], event.value)
