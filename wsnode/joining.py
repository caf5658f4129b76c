"""Replays: clients that are given messages of the past before they join the live ones.

A client that replays stands in no live set. What it is to be given is gathered from the ring, piece by
piece, and written at a pace that its socket takes, with what has come meanwhile, until the cursor meets
the line of the fan-out. In that same instant it joins, so nothing is doubled and nothing left out.

It is paced by the client's own socket (a step is written when the last one is gone), by a share of
each loop turn, and by the node's CPU: above its threshold replays slow down before anything else does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable

from wsnode.channels import Channels, takers
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.link import OPEN, SSE, Link
from wsnode.links import Links
from wsnode.passed import Passed
from wsnode.protocol import answers
from wsnode.protocol.forms import encode, event_id, reframe
from wsnode.protocol.messages import ClientError
from wsnode.replay import Item, Joining, Missing, Replay, missing_of, wider
from wsnode.ring import Ring

STEP_BYTES = 16_384
"""Written to one client at once: what its socket does not take of it is all that waits in the node."""
STEP_SECONDS = 0.001
"""Given to one client at once, but for a single message or piece of the past."""
MAX_REPLAYS = 16
TURN_SECONDS = 0.004
_BUSY_TURN_SECONDS = 0.001  # when there is live work to be done
_SLOW_PAUSE_SECONDS = 0.02  # between two turns while the node's CPU is short
_WAIT_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0
"""How long a client that is ahead of this node waits for it, once the node has read all there is."""

_log = logging.getLogger(__name__)


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
        ring: Ring,
        counters: Counters,
    ) -> None:
        self.slow = False
        self.caught_up: Callable[[], bool] = lambda: True
        self._loop, self._links, self._channels = loop, links, channels
        self._fanout, self._ring, self._counters = fanout, ring, counters
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
            # Also of who listens to nothing yet: a position under way must not claim what is asked for now.
            self._fanout.hasten(link)
            self._channels.hold(link)
            head = self._fanout.head()
            extra.lost = max(extra.lost, self._fanout.untold(head))
            extra.joining = Joining(dict.fromkeys(link.channels, head), head, time.monotonic())
            extra.joining.passed, extra.passed = extra.passed, {}
            self._loop.call_soon(self._enqueue, link)
        return extra.joining

    def begin(self, link: Link, names: Collection[str]) -> None:
        """Names that a client has not had begin here; others may have other options now."""
        joining, head = self.hold(link), self._fanout.head()
        joining.begin(self._ring, names, head)
        joining.give_whole(self._ring, link.options or {})

    def resume(self, link: Link, hads: dict[str, int]) -> dict[str, Missing | None]:
        """Gives a client what its names have above these sequences; returns what is missing of each.

        Names may overlap with others that are under way: each message comes once.
        """
        joining, head = self.hold(link), self._fanout.head()
        found: dict[str, Missing | None] = {}
        joining.begin_again(hads)
        joining.give_whole(self._ring, link.options or {})
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
        self.hold(link).ask_newest(names, self._fanout.head())
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

    def level(self, link: Link) -> int:
        """The sequence at which a client's names stand, as an acknowledgement may claim it.

        Not those that it resumes: `caught_up` tells of them.
        """
        head = self._fanout.head()
        joining = link.extra.joining if link.extra is not None else None
        return head if joining is None else joining.level(head)

    def forget(self, link: Link, names: Iterable[str]) -> None:
        """A client unsubscribes: it is given nothing more of these names."""
        extra = link.extra
        if extra is None:
            return
        if extra.joining is not None:
            extra.joining.end(names)
        left = set(link.channels).difference(names)
        extra.passed = {channel: passed for channel, passed in extra.passed.items() if takers(left, channel)}

    def reached(self, link: Link, seq: int) -> int:
        """The sequence up to which all that a client listens to has reached it, at most `seq`."""
        extra = link.extra
        if extra is None:
            return seq
        seq = min([seq, *(passed.first - 1 for passed in extra.passed.values())])
        joining = extra.joining
        return seq if joining is None else joining.reached(seq)

    def reset(self) -> None:
        """The stream is another one: nothing of the old can be given, all join at once."""
        for link in self._links.open_links():
            extra = link.extra
            if extra is None:
                continue
            extra.passed = {}
            extra.lost = extra.told = extra.patched_after = 0
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
                try:
                    self._step(link, joining)
                except Exception:
                    # A fault of the node's own must not leave its client waiting for ever, nor the others.
                    _log.exception("a replay failed")
                    self._links.close(link, 1011, "internal error", "error")
        self._schedule()

    def _step(self, link: Link, joining: Joining) -> None:
        """Writes a piece to a client whose socket took all before."""
        frames: list[bytes] = []
        items: list[Item] = []
        size = 0
        epoch, form = self._ring.epoch, link.form
        stop = time.monotonic() + STEP_SECONDS
        self._tell_loss(link, frames)
        if joining.newest is not None:
            joining.newest.look_up(self._ring)
        while size < STEP_BYTES and (not items or time.monotonic() < stop):
            newest = joining.next_newest() if joining.newest is not None else None
            if newest is not None:
                items.append(newest)
            elif joining.newest is not None:
                break  # to look for more is the next step's
            elif joining.plan or self._gather(link, joining, frames):
                items.append(joining.take())
            else:
                break
            item = items[-1]
            if newest is not None and form == SSE:
                # Ahead of its time: who goes on from its id would get what it had before once more.
                frame = encode(form, newest.text())
            elif isinstance(item, Passed) and form == SSE:
                frame = item.frame(form, epoch, joining.passed.values())
            else:
                frame = item.frame(form, epoch)
            frames.append(frame)
            size += len(frame)
        ends = not joining.has_more and self._meets(joining)
        if ends:
            self._join(link, frames)
        data = b"".join(frames)
        self._count(items, len(data))
        if data and not self._links.send(link, data):
            return
        if ends or link.out is not None:
            return
        if size or joining.has_more or joining.cursor < self._fanout.head():
            self._enqueue(link)
        else:
            self._wait(link, joining)

    def _gather(self, link: Link, joining: Joining, frames: list[bytes]) -> bool:
        """Looks up what comes next, with an empty plan; what is to be said first goes to `frames`.

        False: there is nothing now.
        """
        joining.advance()
        frames += self._caught_up(link, joining)
        while joining.replays and joining.cursor >= joining.replays[0].after:
            replay = joining.replays[0]
            if joining.passed:
                joining.give_passed()
                return True
            if replay.cursor < replay.until:
                joining.look_up_replay(self._ring)
                return bool(joining.plan)
            joining.replays.popleft()
            frames.append(self._framed(link, answers.replay_ended_frame(replay.count, replay.missing)))
        head = self._fanout.head()
        if joining.cursor >= head:
            joining.give_passed()
            return bool(joining.plan)
        self._note_missing(link, joining, head)
        self._tell_loss(link, frames)
        joining.look_up(self._ring, link.options or {}, joining.until(head))
        if not joining.plan:
            joining.advance()
            frames += self._caught_up(link, joining)
        return bool(joining.plan)

    def _caught_up(self, link: Link, joining: Joining) -> list[bytes]:
        """Says of which resumed names all has come that was there when the client asked."""
        if not any(joining.had[name] >= until for name, until in joining.resumed.items()):
            return []
        givens = joining.givens()
        reached = [name for name, until in joining.resumed.items() if givens[name] >= until]
        for name in reached:
            del joining.resumed[name]
        return [
            self._framed(link, answers.caught_up_frame(name, givens[name], joining.missing.pop(name, None)))
            for name in reached
        ]

    def _note_missing(self, link: Link, joining: Joining, head: int) -> None:
        """What can't be given any more is told before what follows, and by `caught_up` for resumed names."""
        extra = link.with_extra()
        for name, had in joining.hads().items():
            missing = missing_of(self._ring, name, had, head)
            if missing is None:
                continue
            told = joining.missing.get(name)
            if missing[0] <= joining.resumed.get(name, 0):
                until = min(missing[1], joining.resumed[name])
                joining.missing[name] = wider(told, (missing[0], until)) or missing
            if (told is None or missing[1] > told[1]) and missing[1] > extra.told:
                extra.lost = max(extra.lost, missing[1])

    def _tell_loss(self, link: Link, frames: list[bytes]) -> None:
        """Says what was lost before more is given, see `Fanout`."""
        extra = link.with_extra()
        if extra.lost:
            head = self._fanout.head()
            reached = self.reached(link, head)
            joining = extra.joining
            # Who is ahead of this node, or was given a part of what is planned, keeps the id that it has: a
            # lower one would bring all since again.
            ahead = joining is not None and (
                joining.upto > joining.cursor or any(had > head for had in joining.had.values())
            )
            frame = answers.position_frame(reached, extra.lost)
            frames.append(self._framed(link, frame, 0 if ahead else reached))
            extra.told, extra.lost = max(extra.told, extra.lost), 0

    def _meets(self, joining: Joining) -> bool:
        """Whether the client has all that was broadcast, and nothing that was not."""
        head = self._fanout.head()
        return joining.cursor >= head and all(had <= head for had in joining.had.values())

    def _join(self, link: Link, frames: list[bytes]) -> None:
        """Into the live sets."""
        extra = link.with_extra()
        extra.joining = None
        extra.patched_after = self._fanout.head()
        self._tell_loss(link, frames)
        self._channels.release(link)

    def _wait(self, link: Link, joining: Joining) -> None:
        """The client is ahead of the node, which catches up, or never does: then its stream was another."""
        patient = time.monotonic() - joining.begun < _PATIENCE_SECONDS
        if patient or not self.caught_up():
            if not joining.resting:
                joining.resting = True
                self._loop.call_later(_WAIT_SECONDS, self._rested, link, joining)
            return
        head = self._fanout.head()
        ahead = tuple(name for name, had in joining.had.items() if had > head)
        joining.had = {name: min(had, head) for name, had in joining.had.items()}
        joining.ahead.clear()
        joining.begun = time.monotonic()
        outcome = {name: {"recovered": False} for name in ahead}
        self._counters.gaps_told += len(ahead)
        frame = answers.subscription_ack_frame(ahead, len(link.channels), head, outcome)
        if self._links.send(link, self._framed(link, frame)):
            self._enqueue(link)

    def _rested(self, link: Link, joining: Joining) -> None:
        joining.resting = False
        self._enqueue(link)

    def _count(self, items: list[Item], size: int) -> None:
        self._counters.messages_out += len(items)
        self._counters.messages_replayed += len(items)
        self._counters.messages_skipped += sum(i.skipped for i in items if isinstance(i, Passed))
        self._counters.bytes_out += size

    def _framed(self, link: Link, frame: bytes, seq: int = 0) -> bytes:
        return reframe(link.form, frame, event_id(self._ring.epoch, seq) if seq else "")
