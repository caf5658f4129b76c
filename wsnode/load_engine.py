"""The load client's loop: when to open, retry, give up and close; arrays and deques instead of objects.

A client's way: idle -> connecting -> handshake -> open -> subscribed; after a failure or a close it
waits and starts again.
"""

from __future__ import annotations

import heapq
import os
import random
import time
from collections import deque

from wsnode.client_messages import HEARTBEAT, subscribe_message
from wsnode.load_figures import Figures, Snapshot, count
from wsnode.load_opening import Failed, Opened, Opener
from wsnode.load_options import LoadOptions, check_local_ports, raise_descriptor_limit
from wsnode.load_reader import Reader
from wsnode.load_sockets import READ_BYTES, Sockets, Wrote
from wsnode.load_table import CONNECTING, DOWN, HANDSHAKE, OPEN, SUBSCRIBED, WAITING, ClientTable
from wsnode.load_tls import SecureSockets
from wsnode.load_wire import close_frame, text_frame
from wsnode.reconnect import after_seconds, jittered_seconds
from wsnode.trust import client_context

_CONNECTS_A_TURN = 64
_BUSY_WAIT, _IDLE_WAIT = 0.005, 0.05
_FAREWELL_SECONDS = 2.0
_MOST_ATTEMPTS_COUNTED = 1000


class Engine:
    """One run. `run` blocks; `ramp`, `stop` and `snapshot` may be called from other threads.

    Raises LoadError where the host is unknown or the process may not hold the connections.
    """

    def __init__(self, options: LoadOptions, rng: random.Random | None = None) -> None:
        self.options = options
        self.target = options.connections
        self.rate = options.rate
        self.error: str | None = None
        self.figures = Figures(options.marks)
        self.table = ClientTable(len(options.channels), options.channels_each)
        self.reader = Reader(
            options.channels,
            options.check,
            self.table,
            self.figures,
            self._send,
            self._gone,
            resumes=options.resume,
        )
        self._limits(options.connections)
        self._sockets = _sockets(options, self.table)
        self._opener = Opener(options.target, self.table, self._sockets)
        self._rng = rng or random.Random()
        self._retries: list[tuple[float, int, int]] = []
        """Due time, client, generation: void when the client's generation has moved on. So are deadlines."""
        self._deadlines: deque[tuple[float, int, int]] = deque()
        self._cuts: list[tuple[float, int, int]] = []
        """Due time, client, which of its connections."""
        self.churn = options.churn
        """As in the options, until `calm`."""
        self._started = 0
        self._budget = 1.0
        self._last_turn = self._began = self._next_second = time.monotonic()
        self._heartbeat_at = 0.0
        self._stopping = False

    def ramp(self, connections: int, rate: float | None = None) -> None:
        """A new number of clients, opened at `rate` a second; fewer than now closes the last ones.

        Raises LoadError.
        """
        LoadOptions(self.options.url, connections, self.rate if rate is None else rate)
        self._limits(connections)
        if rate is not None:
            self.rate = rate
        self.target = connections

    def calm(self) -> None:
        """Cut no more connections."""
        self.churn = None

    def stop(self) -> None:
        """Ask the loop to close all politely and end."""
        self._stopping = True

    def snapshot(self) -> Snapshot:
        """All figures now."""
        ledger = self.reader.ledger
        return self.figures.snapshot(
            wanted=self.target,
            started=self._started,
            waiting=self.table.state[: self._started].count(WAITING),
            checked=self.options.check,
            lost=ledger.lost,
            doubled=ledger.doubled,
            reordered=ledger.reordered,
            unasked=ledger.unasked,
            missed_while_away=ledger.missed_while_away,
            told=ledger.told,
            behind=self.reader.behind() if self.options.check else 0,
            error=self.error,
        )

    def run(self) -> None:
        """Until `stop`."""
        try:
            while not self._stopping:
                self._turn(time.monotonic())
                busy = self._started != self.target or self._opener or self._retries or self._cuts
                for client, fd in self._sockets.poll(_BUSY_WAIT if busy else _IDLE_WAIT):
                    self._event(client, fd)
            self._farewell(range(self._started))
            for client in range(self._started):
                self._release(client)
        finally:
            self._sockets.end()

    # One turn of the loop.

    def _event(self, client: int, fd: int) -> None:
        if self.table.state[client] < OPEN:
            self._open_further(client, fd)
            return
        try:
            data = self._sockets.read(client, fd)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.reader.take(client, data)
        else:
            self._gone(client, "1006", "")

    def _turn(self, now: float) -> None:
        elapsed, self._last_turn = now - self._last_turn, now
        self.reader.tick = int(now - self._began)
        self._grow(now, elapsed)
        for _ in range(_CONNECTS_A_TURN):
            if not self._retries or self._retries[0][0] > now:
                break
            _, client, generation = heapq.heappop(self._retries)
            if self.table.generation[client] == generation:
                self._connect(client, now)
        while self._deadlines and self._deadlines[0][0] <= now:
            _, client, generation = self._deadlines.popleft()
            if self.table.generation[client] == generation:
                self._expired(client)
        while self._cuts and self._cuts[0][0] <= now:
            _, client, opens = heapq.heappop(self._cuts)
            if self.churn is not None and self.table.opens[client] == opens:
                self._cut(client)
        if self.options.heartbeat and self._started:
            self._heartbeats(elapsed)
        if now >= self._next_second:
            self._next_second = now + 1
            self.figures.sample(now)
            self._drop_silent()

    def _grow(self, now: float, elapsed: float) -> None:
        """Start the clients that are due, or retire those above the target."""
        target = self.target
        if self._started > target:
            leaving = range(target, self._started)
            self._started = target
            self._farewell(leaving)
            for client in leaving:
                self._release(client)
                self.table.retired(client)
        self._budget = min(self._budget + elapsed * self.rate, max(1.0, self.rate / 10))
        due = min(int(self._budget), target - self._started, _CONNECTS_A_TURN)
        if due <= 0:
            return
        self._budget -= due
        self.table.grow(self._started + due)
        for client in range(self._started, self._started + due):
            self._connect(client, now)
        self._started += due

    def _heartbeats(self, elapsed: float) -> None:
        """Each client's turn comes once a heartbeat; a cursor instead of timers."""
        step = elapsed / self.options.heartbeat * self._started
        first = int(self._heartbeat_at)
        self._heartbeat_at += min(step, self._started)
        for number in range(first, int(self._heartbeat_at)):
            client = number % self._started
            if self.table.state[client] == SUBSCRIBED:
                self._send(client, text_frame(HEARTBEAT))
        self._heartbeat_at %= self._started

    def _drop_silent(self) -> None:
        """A node that greeted sends a position every 5 s; without it a dead peer is never noticed."""
        oldest = self.reader.tick - self.options.silence
        if not self.options.silence or oldest < 0:
            return
        table = self.table
        for client in range(self._started):
            if table.seen[client] < oldest and table.node[client] and table.fd[client] >= 0:
                self._gone(client, "silent", "")

    @staticmethod
    def _limits(connections: int) -> None:
        check_local_ports(connections)
        raise_descriptor_limit(connections)

    # Opening.

    def _connect(self, client: int, now: float) -> None:
        self._deadline(client, now)
        failed = self._opener.begin(client, now)
        if failed is not None:
            self._failed(client, failed)

    def _deadline(self, client: int, now: float) -> None:
        """One time for all, so the deque stays in order."""
        self.table.generation[client] += 1
        self._deadlines.append((now + self.options.open_timeout, client, self.table.generation[client]))

    def _open_further(self, client: int, fd: int) -> None:
        outcome = self._opener.further(client, fd)
        if isinstance(outcome, Failed):
            self._failed(client, outcome)
        elif outcome is not None:
            self._opened(client, outcome)

    def _opened(self, client: int, outcome: Opened) -> None:
        table, now = self.table, time.monotonic()
        self._opener.forget(client)
        table.state[client] = OPEN
        table.seen[client] = self.reader.tick
        self.figures.connect.add((now - outcome.began) * 1000)
        self.figures.opened()
        self.figures.reconnects += table.opens[client] > 0
        table.opens[client] += 1
        table.asked[client] = now
        if self.churn is not None:
            heapq.heappush(self._cuts, (now + self._rng.uniform(*self.churn), client, table.opens[client]))
        self._deadline(client, now)  # the acknowledgement has its own
        self._send(client, text_frame(self._subscribe(client)))
        if outcome.rest and table.fd[client] >= 0:
            self.reader.take(client, outcome.rest)

    def _subscribe(self, client: int) -> bytes:
        table = self.table
        names = [self.options.channels[number] for number in table.channels_of(client)]
        points = table.go_on(client) if self.options.resume else None
        if points is None:
            return subscribe_message(names)
        seq = max(points)
        own = {name: point for name, point in zip(names, points, strict=True) if point != seq}
        resume = {"epoch": self.reader.epoch_of(client), "seq": seq, **({"channels": own} if own else {})}
        return subscribe_message(names, resume)

    def _expired(self, client: int) -> None:
        state = self.table.state[client]
        if state == OPEN:
            count(self.figures.failed_opens, "timed out: acknowledgement")
            self._gone(client, "no acknowledgement", "")
        elif state in (CONNECTING, HANDSHAKE):
            self._failed(client, Failed(f"timed out: {'connect' if state == CONNECTING else 'handshake'}"))

    def _failed(self, client: int, failed: Failed) -> None:
        count(self.figures.failed_opens, failed.reason)
        self._release(client)
        self._again(client, self._jitter(client, failed.retry_after))

    # An open connection's end.

    def _send(self, client: int, frame: bytes) -> None:
        if self.table.fd[client] < 0:
            return
        wrote = self._sockets.write(client, frame)
        if wrote is Wrote.BROKEN:
            self._gone(client, "1006", "")
        elif wrote is Wrote.BLOCKED:
            # These frames are tiny: a full send buffer means the node has stopped reading.
            self._gone(client, "send blocked", "")

    def _gone(self, client: int, code: str, reason: str) -> None:
        """An open connection is over; `code` is a close code, or what happened in words."""
        if self.table.fd[client] < 0:
            return
        count(self.figures.closes, code)
        told = int(code) if code.isdigit() else None
        if told is not None and told not in (1005, 1006):
            self._sockets.write(client, close_frame(told))
        if self.table.state[client] == SUBSCRIBED:
            self.table.attempt[client] = 0
        self._release(client)
        after = after_seconds(told, reason)
        self._again(client, self._jitter(client) if after is None else after)

    def _cut(self, client: int) -> None:
        """As a network does: no goodbye, and the client comes back as after any lost connection."""
        if self.table.fd[client] >= 0:
            count(self.figures.closes, "cut")
            self.table.attempt[client] = 0
            self._release(client)
            self._again(client, self._jitter(client))

    def _jitter(self, client: int, retry_after: float = 0.0) -> float:
        attempt = self.table.attempt[client] = min(self.table.attempt[client] + 1, _MOST_ATTEMPTS_COUNTED)
        longest = self.options.retry_longest
        return jittered_seconds(attempt, self._rng, retry_after=retry_after, longest=longest)

    def _again(self, client: int, delay: float) -> None:
        table = self.table
        table.generation[client] += 1
        if self.options.reconnect and not self._stopping:
            table.state[client] = WAITING
            heapq.heappush(self._retries, (time.monotonic() + delay, client, table.generation[client]))

    def _release(self, client: int) -> None:
        """Let the connection go and take it out of the figures."""
        table = self.table
        self._opener.forget(client)
        if table.fd[client] < 0:
            return
        if table.state[client] in (OPEN, SUBSCRIBED):
            self.figures.open -= 1
            self.figures.subscribed -= table.state[client] == SUBSCRIBED
            if table.node[client]:
                self.figures.left(self.reader.node_of(client))
        self._sockets.close(client)
        self.reader.forget(client)
        table.closed(client)
        table.state[client] = DOWN

    def _farewell(self, clients: range) -> None:
        """Close politely: tell all, then wait until the nodes have closed, but not for long."""
        left = {client for client in clients if self.table.state[client] in (OPEN, SUBSCRIBED)}
        for client in left:
            self._sockets.write(client, close_frame(1000))
        until = time.monotonic() + _FAREWELL_SECONDS
        while left and time.monotonic() < until:
            for client, fd in self._sockets.poll(_IDLE_WAIT):
                if client not in left:
                    self._event(client, fd)
                elif _at_end(fd):
                    left.discard(client)
                    count(self.figures.closes, "1000")
                    self._release(client)


def _sockets(options: LoadOptions, table: ClientTable) -> Sockets:
    target = options.target
    if not target.secure:
        return Sockets(target.host, target.port, table)
    context = client_context(options.ca, insecure=options.insecure)
    return SecureSockets(target.host, target.port, table, context)


def _at_end(fd: int) -> bool:
    """Read and forget what still comes; True when the peer has closed."""
    try:
        return not os.read(fd, READ_BYTES)
    except BlockingIOError:
        return False
    except OSError:
        return True
