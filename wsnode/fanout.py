"""The line of broadcast jobs, written to clients slice by slice.

First in, first out. What waits in the line when a round begins is taken together, in stream order:
frames of one channel are joined and written once a subscriber; a client with several channels due
gets one `writev`. A round is cut into shards (a WS_WORKER_POOL_SIZE-th of its clients, 32 to 64 of
them), and a loop turn writes shards until 2 ms have passed, so that the loop breathes.

A job's subscribers are those of the moment its round begins; a subscribe that comes later takes
effect behind it. Rounds do not overlap, so each client sees the stream's order.

Where messages are dense, so that a round brings each client several, the next one waits about as long
as this one took: it brings twice as many for the same number of writes. Without that a node at 200
messages a second would show the CPU of one at 4,000, and be scaled out for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from wsnode.channels import Channels, is_pattern
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.link import OPEN, Link
from wsnode.links import Links
from wsnode.losses import Losses
from wsnode.message import Message
from wsnode.position import PAUSE_SECONDS, PositionDue
from wsnode.preparation import NOBODY, Preparation
from wsnode.protocol.answers import position_frame
from wsnode.protocol.forms import event_id, reframe
from wsnode.rates import TokenBucket
from wsnode.ring import Ring
from wsnode.rounds import (
    ROUND_BYTES,
    Announcement,
    Control,
    Job,
    Part,
    Round,
    announced_parts,
    take_round,
)
from wsnode.writer import writer_for

SHARD_SOCKETS = 64
LEAST_SHARD_SOCKETS = 32
"""Cut smaller, a round costs a call and a look at the clock a client, and the loop breathes no sooner."""
TURN_SECONDS = 0.002
REST_SHARE, REST_AT_MOST_SECONDS = 1.25, 0.025
"""Of the time that a dense round took, until the next; added to what its messages wait."""
DENSE_MESSAGES = 2
"""So many for each client make a round dense."""
_log = logging.getLogger(__name__)
PERSONAL_LINKS = 128
"""Clients that are told in one go what is made for each of them."""


def shard_sockets(clients: int, pool: int, *, paced: bool) -> int:
    """How many clients of a part are written to before the clock is looked at.

    `paced`: a rate is to be kept, and small steps keep a low one even.
    """
    return min(SHARD_SOCKETS, max(-(-clients // pool), 1 if paced else LEAST_SHARD_SOCKETS))


class Fanout:
    """Takes messages from the feed and writes them to their subscribers."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        links: Links,
        channels: Channels[Link],
        ring: Ring,
        counters: Counters,
    ) -> None:
        self._loop, self._links, self._channels = loop, links, channels
        self._ring, self._counters = ring, counters
        self._line: deque[Job] = deque()
        self._waiting = 0
        self._round: Round | None = None
        self._preparing: Preparation | None = None  # of the round, before the first is written to
        self._scheduled = False
        self._losses = Losses()
        self._begun = 0  # the last sequence that a round took
        self._lost_ever = 0
        self._position = PositionDue()
        self._telling = 0  # by the last of a position, which the round under way writes
        self._later: asyncio.TimerHandle | None = None
        self._round_began = self._rest_until = 0.0
        self._out_before = 0
        self._more_waits = False  # when the round under way began: it was full
        self._resting = False
        self._writer = writer_for(links, counters)
        self._bucket = TokenBucket(links.settings.max_broadcast_rate)

    @property
    def depth(self) -> int:
        """Messages that wait."""
        return self._waiting

    @property
    def busy(self) -> bool:
        """There is something to be written."""
        return self._round is not None or bool(self._line)

    @property
    def personal(self) -> bool:
        """Clients are being told something that was made for each of them when the round began."""
        return self._round is not None and self._round.personal

    def update(self, settings: Settings) -> None:
        """Takes new settings over."""
        if settings.max_broadcast_rate != self._bucket.rate:
            self._bucket = TokenBucket(settings.max_broadcast_rate)
            if self._later is not None:  # how long to wait was the old rate's
                self._wake()
        self._fit()

    def head(self) -> int:
        """The last sequence whose job has started: who subscribes now gets what comes after it."""
        for job in self._line:
            if isinstance(job, Message):
                return job.seq - 1
        return self._ring.position

    @property
    def lost_ever(self) -> int:
        """The last sequence that some client was not given, since the stream began; 0 for none."""
        return self._lost_ever

    def untold_of(self, had: Iterable[str]) -> int:
        """What was lost on names that a client has, and that no `prev` has told yet; 0 for nothing.

        An acknowledgement that claims more has to come with it, or it would never be told.
        """
        names = frozenset(had)
        if not self._lost_ever or not names:
            return 0
        if any(is_pattern(name) for name in names):
            return self._lost_ever
        prevs = {name: self._ring.prev(name) for name in names}
        for job in reversed(self._line):  # the first of each channel tells it
            if isinstance(job, Message) and job.channel in prevs:
                prevs[job.channel] = job.prev
        return self._lost_ever if min(prevs.values()) <= self._lost_ever else 0

    def settled(self) -> int:
        """The last sequence that has reached all its subscribers."""
        if self._round is not None and self._round.messages:
            # After a restart the round may still be of the stream before.
            return min(self._round.messages[0].seq - 1, self.head())
        return self.head()

    def untold(self, upto: int) -> int:
        """The highest sequence up to this one that was lost and that no position has told yet, or 0."""
        return max(self._losses.upto(upto), min(self._telling, upto))

    def push(self, message: Message) -> None:
        """Takes a message in. Where the line is full the oldest is let go, counted, and told by `prev`."""
        self._line.append(message)
        self._waiting += 1
        if self._resting and not self._may_rest():
            self._wake()
        self._fit()
        self._schedule()

    def announce(self, announcement: Announcement) -> None:
        """Takes a control message in: it leaves in order with the data."""
        self._line.append(announcement)
        self._schedule()

    def position(self) -> None:
        """A position is due: it travels with each client's next data, or alone when none comes soon."""
        if self._position.pending:
            return
        head = self.head()
        interval = self._links.settings.position_interval
        wait = self._position.begin(self._links.open_links(), head, self._losses.upto(head), interval)
        if self._position.pending:
            self._position.wait(self._loop.call_later(wait, self._position_alone))
        else:
            self._losses.forget(head)

    def note_loss(self, seq: int) -> None:
        """Messages up to `seq` could not be delivered; the next position tells it."""
        self._losses.note(seq)
        self.note_unsent(seq)

    def note_unsent(self, seq: int) -> None:
        """The message `seq` can be sent to nobody; the next `prev` of its channel tells it."""
        self._lost_ever = max(self._lost_ever, seq)

    def restart(self) -> None:
        """The stream is another one: what waits is of the old one and goes."""
        self._counters.dropped_broadcasts += self._waiting
        # News of the feed go out all the same; all else would speak of the stream before, or of none.
        news = [job for job in self._line if isinstance(job, Announcement) and job.frame is not None]
        self._line = deque(news)
        self._losses.clear()
        self._position.cancel()
        self._waiting = self._lost_ever = self._begun = self._telling = 0

    def _fit(self) -> None:
        while self._waiting > self._links.settings.worker_queue_size:
            self._let_go()

    def _let_go(self) -> None:
        held: list[Announcement] = []
        while not isinstance(job := self._line.popleft(), Message):
            held.append(job)
        self._line.extendleft(reversed(held))
        self._waiting -= 1
        self._counters.dropped_broadcasts += 1
        self._losses.note_next(job.seq, self._begun)
        self.note_unsent(job.seq)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def hasten(self, link: Link) -> None:
        """Gives a client at once what the round under way still has for it.

        For a client whose subscriptions change: what it gets after the answer follows the new ones.
        """
        writing = self._round
        if writing is None:
            return
        if self._preparing is not None:
            own = self._preparing.hasten(link)
            if own is not None:
                self._writer.write(own, 0, 1)
            return
        for index in range(writing.part, len(writing.parts)):
            part = writing.parts[index]
            at = part.place(link)
            if at < 0:
                continue
            if index > writing.part or at >= writing.link:
                self._writer.write(part, at, at + 1)
                part.links[at] = NOBODY
            return

    def _may_rest(self) -> bool:
        """Whether there is room in the line for what comes meanwhile."""
        return 4 * self._waiting <= self._links.settings.worker_queue_size

    def _wake(self) -> None:
        """Works now and not later."""
        assert self._later is not None
        self._later.cancel()
        self._later, self._resting = None, False
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """A loop turn's work. Whatever goes wrong in a round ends that round and not the fan-out."""
        self._later, self._resting = None, False
        try:
            self._work()
        except Exception:
            _log.exception("a round of the fan-out failed")
            self._round = self._preparing = None
            self._waiting = sum(isinstance(job, Message) for job in self._line)
            self.note_loss(self.head())
            self._position.cancel()  # who has it is not known; the next one tells all
            if self._telling:
                self.note_loss(self._telling)
            for link in self._links.open_links():
                if link.extra is not None:  # a patch could rest on what it was not given
                    link.extra.patched_after = self.head()
            self._loop.call_soon(self._turn)

    def _work(self) -> None:
        """Writes until the line is empty, the turn's time is up, or the rate is reached."""
        stop = time.monotonic() + TURN_SECONDS
        while self._round is not None or self._line:
            if self._round is None:
                rest = self._rest_until - time.monotonic()
                if rest > 0 and self._may_rest():
                    self._resting = True
                    self._later = self._loop.call_later(rest, self._turn)
                    return
                self._round_began, self._out_before = time.monotonic(), self._counters.messages_out
                self._round = self._begin()
            wait = self._write(self._round, stop) if self._prepared(stop) else 0.0
            if wait is not None:
                if wait:
                    self._later = self._loop.call_later(wait, self._turn)
                else:
                    self._loop.call_soon(self._turn)
                return
            self._end(self._round)
            self._round = None
        self._scheduled = False

    def _prepared(self, stop: float) -> bool:
        """Goes on finding out who is written what; True when that is known of all."""
        preparing = self._preparing
        while preparing is not None and preparing.step():
            if time.monotonic() >= stop:
                return False
        self._preparing = None
        return True

    def _begin(self) -> Round:
        """Takes the next round out of the line."""
        job = self._line[0]
        if isinstance(job, Announcement):
            if job.frame_for is not None:
                return self._introduced(job, job.frame_for)
            self._line.popleft()
            return self._announced(job)
        # What one socket may leave of a round must fit into its client's buffer.
        most = min(ROUND_BYTES, self._links.settings.client_buffer_bytes)
        lost = self._losses.upto(job.seq - 1)
        ahead = self._losses.after(lost)
        behind = self._links.behind.keys()
        taken, flows = take_round(self._line, self._channels, self._ring.epoch, most, ahead, behind)
        self._waiting -= len(taken.messages)
        self._more_waits = bool(self._line)
        self._begun = taken.messages[-1].seq
        if flows:
            # Told before anything newer comes: who resumes by one sequence for all its channels, as every
            # EventSource does, would go on past a loss on a channel of which nothing newer has come.
            head = self._loss_head(lost) if lost else None
            # To a client that was passed over, what it waits for must not be claimed by a position.
            rides = self._position.rides(flows) and not any(link.withheld for link in behind)
            tail = self._position_tail() if rides else None
            if rides:
                self._position_told(self._position.ride(flows))
            self._preparing = Preparation(taken, flows, tail, head)
        return taken

    def _introduced(self, job: Announcement, frame_for: Callable[[Link], bytes]) -> Round:
        """Some of those who are told something of their own; nothing else comes before all are."""
        some = list(islice(job.links, PERSONAL_LINKS))
        job.links.difference_update(some)
        if not job.links:
            self._line.popleft()
        links = [link for link in some if link.state == OPEN]
        part = Part(links, b"", 0, [[frame_for(link)] for link in links], 1)
        return Round(parts=[part], personal=True)

    def _announced(self, job: Announcement) -> Round:
        if job.frame is not None:
            return Round(parts=announced_parts(self._links.open_links(), job.frame))
        due = self._position
        # Those of the group that data has reached since have it already.
        group = job.links & due.pending
        links = due.ready(group, self._losses.upto(due.upto))
        told = Round(parts=announced_parts(links, self._position_tail()))
        if group:
            self._position_told(due.told(group))
        if due.pending:
            due.wait(self._loop.call_later(PAUSE_SECONDS, self._position_alone))
        return told

    def _position_alone(self) -> None:
        """The next of those for whom no data came."""
        if self._position.pending:
            self.announce(Announcement(links=self._position.some()))

    def _position_told(self, all_have_it: bool) -> None:
        """Some get it with the round that begins."""
        due = self._position
        if all_have_it:
            due.cancel()
            self._telling = self._losses.upto(due.upto)
            self._losses.forget(due.upto)

    def _loss_head(self, lost: int) -> Control:
        """Claims no sequence, and is told again with the next position: that one is for all."""
        frame = position_frame(0, lost)
        return lambda form: reframe(form, frame)

    def _position_tail(self) -> Control:
        """Made when a round begins: all before it has been written, and what it takes is not in the line."""
        seq = self.head()
        frame = position_frame(seq, self._losses.upto(seq))
        return lambda form: reframe(form, frame, event_id(self._ring.epoch, seq))

    def _write(self, writing: Round, stop: float) -> float | None:
        """Writes shards. None when the round is done, else the seconds after which to go on."""
        pool, paced = self._links.settings.worker_pool_size, bool(self._bucket.rate)
        while writing.part < len(writing.parts):
            part = writing.parts[writing.part]
            shard = shard_sockets(len(part.links), pool, paced=paced)
            while writing.link < len(part.links):
                now = time.monotonic()
                wait = self._bucket.wait_seconds(now)
                if wait or now >= stop:
                    return wait
                until = writing.link + shard
                frames = self._writer.write(part, writing.link, until)
                self._bucket.take(now, frames)
                writing.link = until
            writing.part += 1
            writing.link = 0
        return None

    def _end(self, written: Round) -> None:
        clients = sum(len(part.links) for part in written.parts)
        dense = self._counters.messages_out - self._out_before >= DENSE_MESSAGES * clients > 0
        # A full round left some behind: to wait would bring no more with the next one.
        if dense and not self._more_waits:
            now = time.monotonic()
            took = now - self._round_began
            self._rest_until = now + min(REST_SHARE * took, REST_AT_MOST_SECONDS)
        if written.heard:
            now_ms = time.time_ns() / 1e6
            for message in written.heard:
                self._counters.observe_fanout(max(0.0, now_ms - message.ts_ms) / 1000)
        self._telling = 0
