"""Replays: clients that are given messages of the past before they join the live ones.

A client that replays stands in no live set. What it is to be given is gathered from the ring, piece by
piece, and written at a pace that its socket takes, with what has come meanwhile, until the cursor meets
the line of the fan-out. In that same instant it joins, so nothing is doubled and nothing left out.

It is paced by the client's own socket (a step is written when the last one is gone), by a share of
each loop turn, and by the node's CPU: above its threshold replays slow down before anything else does.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from wsnode.channels import Channels, matches
from wsnode.conflation import Flusher
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.link import OPEN, Link
from wsnode.links import Links
from wsnode.protocol import answers
from wsnode.protocol.forms import event_id, reframe
from wsnode.protocol.messages import ClientError
from wsnode.replay import Joining, Missing, Replay, look_up, missing_of, newest_of, wider
from wsnode.ring import Ring

STEP_BYTES = 16_384
"""Written to one client at once: what its socket does not take of it is all that waits in the node."""
MAX_REPLAYS = 16
TURN_SECONDS = 0.004
_BUSY_TURN_SECONDS = 0.001  # when there is live work to be done
_SLOW_PAUSE_SECONDS = 0.02  # between two turns while the node's CPU is short
_WAIT_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0
"""How long a client that is ahead of this node waits for it, once the node has read all there is."""


class Joiner:
    """All replays of this process.

    Attributes:
        slow: the node's CPU is short.
        caught_up: says whether the node has read all that the stream has.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        links: Links,
        channels: Channels[Link],
        fanout: Fanout,
        flusher: Flusher,
        ring: Ring,
        counters: Counters,
    ) -> None:
        self.slow = False
        self.caught_up: Callable[[], bool] = lambda: True
        self._loop, self._links, self._channels = loop, links, channels
        self._fanout, self._flusher, self._ring, self._counters = fanout, flusher, ring, counters
        self._queue: deque[Link] = deque()
        self._scheduled = False

    @property
    def waiting(self) -> int:
        """Clients that get their next step soon."""
        return len(self._queue)

    # What sessions ask for, in the order of a client's messages.

    def hold(self, link: Link) -> Joining:
        """Takes a client out of the live sets; what it listens to goes on from here when it joins again."""
        extra = link.with_extra()
        if extra.joining is None:
            self._fanout.hasten(link)
            self._flusher.flush(link)
            self._channels.hold(link)
            head = self._fanout.head()
            extra.joining = Joining(dict.fromkeys(link.channels, head), head)
            self._loop.call_soon(self._enqueue, link)
        return extra.joining

    def begin_at(self, link: Link, hads: dict[str, int]) -> Joining:
        """Names begin at these sequences, whatever a client was still to be given of them."""
        joining = self.hold(link)
        joining.settle(link.options or {})
        joining.had |= hads
        joining.cursor = min([joining.cursor, *hads.values()])
        for name in hads:
            joining.resumed.pop(name, None)
            joining.missing.pop(name, None)
        # What it asked to have ahead of its time and gets in time now, comes once.
        joining.newest = deque(message for message in joining.newest if not joining.will_give(message))
        return joining

    def resume(self, link: Link, hads: dict[str, int]) -> dict[str, Missing | None]:
        """Gives a client what its names have above these sequences; returns what is missing of each.

        Names may overlap with others that are under way: each message comes once.
        """
        joining, head = self.begin_at(link, hads), self._fanout.head()
        found: dict[str, Missing | None] = {}
        for name, had in hads.items():
            joining.resumed[name] = head
            found[name] = missing = missing_of(self._ring, name, had, head)
            if missing is not None:
                joining.missing[name] = missing
                self._counters.gaps_told += 1
        self._counters.replays["resume"] += 1
        return found

    def last(self, link: Link, names: Iterable[str]) -> None:
        """Gives a held client the newest message of each channel that its names take."""
        joining = self.hold(link)
        waiting = {message.seq for message in joining.newest}
        joining.newest.extend(
            message
            for message in newest_of(self._ring, names, self._fanout.head())
            if message.seq not in waiting and not joining.will_give(message)
        )
        self._counters.replays["last"] += 1

    def replay(self, link: Link, above: int, upto: int | None) -> None:
        """Gives a client what its names have above a sequence, and up to another or to the head.

        Raises:
            ClientError: it has asked for so many already that were not given yet.
        """
        joining, head = self.hold(link), self._fanout.head()
        if len(joining.replays) >= MAX_REPLAYS:
            raise ClientError("RATE_LIMIT_EXCEEDED", f"{MAX_REPLAYS} replays wait to be given already")
        until = head if upto is None else min(upto, head)
        joining.replays.append(Replay(link.channels, above, until, head))
        self._counters.replays["replay"] += 1

    def claim(self, link: Link, known: Iterable[str], head: int) -> int:
        """What an acknowledgement may claim of names that a client has already: no more than it was given.

        Names that it resumes are told of by `caught_up`.
        """
        joining = link.extra.joining if link.extra is not None else None
        if joining is None:
            return head
        return min([head, *(joining.given(name) for name in known if name not in joining.resumed)])

    def forget(self, link: Link, names: Iterable[str]) -> None:
        """A client unsubscribes: it is given nothing more of these names."""
        joining = link.extra.joining if link.extra is not None else None
        if joining is None:
            return
        gone = set(names)
        joining.settle(link.options or {})
        for name in gone:
            joining.had.pop(name, None)
            joining.resumed.pop(name, None)
            joining.missing.pop(name, None)
        left = tuple(name for name in link.channels if name not in gone)
        for replay in joining.replays:
            replay.names = tuple(name for name in replay.names if name not in gone)
        joining.newest = deque(
            message for message in joining.newest if any(matches(name, message.channel) for name in left)
        )

    def reached(self, link: Link, seq: int) -> int:
        """The sequence up to which all that a client listens to has reached it, at most `seq`."""
        extra = link.extra
        if extra is None:
            return seq
        seq = min([seq, *(passed.first - 1 for passed in extra.passed.values())])
        joining = extra.joining
        return seq if joining is None else min([seq, *map(joining.given, joining.had)])

    def reset(self) -> None:
        """The stream is another one: nothing of the old can be given, all join at once."""
        for link in self._links.open_links():
            extra = link.extra
            if extra is None:
                continue
            extra.passed = {}
            extra.lost = extra.patched_after = 0
            if extra.joining is not None:
                extra.joining = None
                self._channels.release(link)

    def emptied(self, link: Link) -> None:
        """A client's socket took all that waited for it."""
        if link.extra is not None and link.extra.joining is not None:
            self._enqueue(link)

    # The work.

    def _enqueue(self, link: Link) -> None:
        joining = link.extra.joining if link.extra is not None else None
        if joining is None or joining.queued or link.state != OPEN:
            return
        joining.queued = True
        self._queue.append(link)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._queue:
            self._scheduled = True
            if self.slow:
                self._loop.call_later(_SLOW_PAUSE_SECONDS, self._turn)
            else:
                self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """A share of a loop turn: a step for each in the queue, as many as fit."""
        self._scheduled = False
        share = _BUSY_TURN_SECONDS if self._fanout.busy else TURN_SECONDS
        stop = time.monotonic() + share
        while self._queue and time.monotonic() < stop:
            link = self._queue.popleft()
            joining = link.extra.joining if link.extra is not None else None
            if joining is None:
                continue
            joining.queued = False
            if link.state == OPEN and link.out is None:
                self._step(link, joining)
        self._schedule()

    def _step(self, link: Link, joining: Joining) -> None:
        """Writes a piece to a client whose socket took all before."""
        frames: list[bytes] = []
        size = count = 0
        epoch, form = self._ring.epoch, link.form
        while size < STEP_BYTES:
            if joining.newest:
                frame = joining.newest.popleft().frame(form, epoch)
            elif joining.plan or self._gather(link, joining, frames):
                frame = joining.plan.popleft().frame(form, epoch)
                if joining.replaying:
                    joining.replays[0].count += 1
            else:
                break
            frames.append(frame)
            size += len(frame)
            count += 1
        ends = not joining.has_more and self._meets(joining)
        if ends:
            frames += self._join(link)
        data = b"".join(frames)
        self._counters.messages_out += count
        self._counters.messages_replayed += count
        self._counters.bytes_out += len(data)
        if data and not self._links.send(link, data):
            return
        if ends or link.out is not None:
            return
        if joining.has_more or size:
            self._enqueue(link)
        else:
            self._wait(link, joining)

    def _gather(self, link: Link, joining: Joining, frames: list[bytes]) -> bool:
        """Looks up what comes next, with an empty plan; what is to be said first goes to `frames`.

        False: there is nothing now.
        """
        options, head = link.options or {}, self._fanout.head()
        joining.settle(options)
        while joining.replays and joining.cursor >= joining.replays[0].after:
            replay = joining.replays[0]
            if replay.cursor < replay.until:
                for name in replay.names:
                    missing = missing_of(self._ring, name, replay.cursor, replay.until)
                    replay.missing = wider(replay.missing, missing)
                names = dict.fromkeys(replay.names, replay.cursor)
                items, replay.cursor = look_up(self._ring, {}, names, replay.cursor, replay.until)
                joining.plan.extend(items)
                joining.replaying = bool(items)
                if items:
                    return True
            else:
                joining.replays.popleft()
                frames.append(self._framed(link, answers.replay_ended_frame(replay.count, replay.missing)))
        frames += self._caught_up(link, joining)
        if joining.cursor >= head:
            return False
        frames += self._note_missing(link, joining, head)
        items, joining.cursor = look_up(self._ring, options, joining.had, joining.cursor, head)
        joining.whole = joining.cursor >= head
        joining.plan.extend(items)
        return bool(items) or self._gather(link, joining, frames)

    def _caught_up(self, link: Link, joining: Joining) -> list[bytes]:
        """Says of which resumed names all has come that was there when the client asked."""
        reached = [name for name, until in joining.resumed.items() if joining.cursor >= until]
        for name in reached:
            del joining.resumed[name]
        return [
            self._framed(
                link,
                answers.caught_up_frame(name, joining.given(name), joining.missing.pop(name, None)),
            )
            for name in reached
        ]

    def _note_missing(self, link: Link, joining: Joining, head: int) -> list[bytes]:
        """What can't be given any more: of resumed names `caught_up` tells it, of others a position.

        What left the ring just now is said at once, before anything newer: who is cut off in between
        may go on from one sequence for all its names.
        """
        extra = link.with_extra()
        told = 0
        for name in joining.had:
            missing = missing_of(self._ring, name, joining.given(name), head)
            if missing is None:
                continue
            if name in joining.resumed:
                known = joining.missing.get(name)
                joining.missing[name] = wider(known, missing) or missing
                if known is not None and known[1] >= missing[1]:
                    continue
            else:
                extra.lost = max(extra.lost, missing[1])
            told = max(told, missing[1])
        return [self._framed(link, answers.position_frame(0, told))] if told else []

    def _meets(self, joining: Joining) -> bool:
        """Whether the client has all that was broadcast, and nothing that was not."""
        head = self._fanout.head()
        return joining.cursor >= head and all(had <= head for had in joining.had.values())

    def _join(self, link: Link) -> list[bytes]:
        """Into the live sets. Returns what is to be said of losses that others were told of meanwhile."""
        extra, head = link.with_extra(), self._fanout.head()
        extra.joining = None
        extra.patched_after = head
        lost, extra.lost = extra.lost and max(extra.lost, self._fanout.untold(head)), 0
        self._channels.release(link)
        return [self._framed(link, answers.position_frame(head, lost), head)] if lost else []

    def _wait(self, link: Link, joining: Joining) -> None:
        """The client is ahead of the node, which catches up, or never does: then its stream was another."""
        patient = time.monotonic() - joining.begun < _PATIENCE_SECONDS
        if patient or not self.caught_up():
            self._loop.call_later(_WAIT_SECONDS, self._enqueue, link)
            return
        head = self._fanout.head()
        ahead = tuple(name for name, had in joining.had.items() if had > head)
        joining.had = {name: min(had, head) for name, had in joining.had.items()}
        joining.begun = time.monotonic()
        outcome = {name: {"recovered": False} for name in ahead}
        self._counters.gaps_told += len(ahead)
        frame = answers.subscription_ack_frame(ahead, len(link.channels), head, outcome)
        if self._links.send(link, self._framed(link, frame)):
            self._enqueue(link)

    def _framed(self, link: Link, frame: bytes, seq: int = 0) -> bytes:
        return reframe(link.form, frame, event_id(self._ring.epoch, seq) if seq else "")
