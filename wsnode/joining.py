"""Replays: clients that are given messages of the past before they join the live ones.

A client that replays stands in no live set. What it is to be given is gathered from the ring, span by
span, and written at a pace that its socket takes; then what has come meanwhile, until the cursor meets
the line of the fan-out. In that same instant it joins, so nothing is doubled and nothing left out.

It is paced by the client's own socket (a step is written when the last one is gone), by a share of
each loop turn, and by the node's CPU: above its threshold replays slow down before anything else does.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from wsnode.channels import CONFLATE, Channels, matches
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.link import OPEN, Link
from wsnode.links import Links
from wsnode.protocol import answers
from wsnode.protocol.forms import event_id, reframe
from wsnode.protocol.messages import ClientError
from wsnode.replay import Joining, Missing, Span, look_up, message_of, missing_of, newest_of, wider
from wsnode.ring import Ring

STEP_BYTES = 16_384
"""Written to one client at once: what its socket does not take of it is all that waits in the node."""
MAX_SPANS = 16
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
            self._fanout.hasten(link)
            self._channels.hold(link)
            head = self._fanout.head()
            extra.joining = Joining(dict.fromkeys(link.channels, head))
            self._loop.call_soon(self._enqueue, link)
        return extra.joining

    def resume(self, link: Link, hads: dict[str, int]) -> dict[str, Missing | None]:
        """Gives a client what its names have above these sequences; returns what is missing of each."""
        joining, head = self.hold(link), self._fanout.head()
        self.forget(link, hads)
        span = Span({}, head, "resume")
        found: dict[str, Missing | None] = {}
        for name, had in hads.items():
            joining.had[name] = max(had, head)
            missing = missing_of(self._ring, name, had, head)
            found[name] = missing
            if missing is not None:
                span.missing[name] = missing
                self._counters.gaps_told += 1
            span.names[name] = had
        span.cursor = min(hads.values(), default=head)
        joining.spans.append(span)
        self._counters.replays["resume"] += 1
        return found

    def last(self, link: Link, names: Iterable[str]) -> None:
        """Gives a held client the newest message of each channel that its names take."""
        joining, head = self.hold(link), self._fanout.head()
        # Who resumes a channel gets its newest message anyway.
        spanned = {name for span in joining.spans for name in span.names}
        wanted = [name for name in names if name not in spanned]
        joining.plan.extend(newest_of(self._ring, wanted, head))
        self._counters.replays["last"] += 1

    def replay(self, link: Link, above: int, upto: int | None) -> None:
        """Gives a client what its names have above a sequence, and up to another or to the head.

        Raises:
            ClientError: it has asked for so many already that were not given yet.
        """
        joining = link.extra.joining if link.extra is not None else None
        if joining is not None and len(joining.spans) >= MAX_SPANS:
            raise ClientError("RATE_LIMIT_EXCEEDED", f"{MAX_SPANS} replays wait to be given already")
        joining, head = self.hold(link), self._fanout.head()
        until = head if upto is None else min(upto, head)
        span = Span(dict.fromkeys(link.channels, above), until, "replay", cursor=above)
        for name in link.channels:
            missing = missing_of(self._ring, name, above, until)
            if missing is not None:
                span.missing[name] = missing
                self._counters.gaps_told += 1
        joining.spans.append(span)
        self._counters.replays["replay"] += 1

    def begin_at(self, link: Link, names: Iterable[str], seq: int) -> None:
        """Names that a held client subscribes to without asking for the past."""
        assert link.extra is not None
        assert link.extra.joining is not None
        for name in names:
            link.extra.joining.had.setdefault(name, seq)

    def forget(self, link: Link, names: Iterable[str]) -> None:
        """A client is given nothing more of these names: it unsubscribes, or begins anew."""
        extra = link.extra
        if extra is None:
            return
        gone = set(names)
        for name in gone:
            self._forget_passed(link, name)
        joining = extra.joining
        if joining is None:
            return
        for name in gone:
            joining.had.pop(name, None)
        for span in joining.spans:
            for name in gone:
                span.names.pop(name, None)
                span.missing.pop(name, None)
        left = [name for name in link.channels if name not in gone]
        joining.plan = deque(
            item for item in joining.plan if any(matches(name, message_of(item).channel) for name in left)
        )

    def reached(self, link: Link, seq: int) -> int:
        """The sequence up to which all that a client listens to has reached it, at most `seq`."""
        extra = link.extra
        if extra is None:
            return seq
        for passed in extra.passed.values():
            seq = min(seq, passed.message.seq - 1)
        joining = extra.joining
        if joining is None:
            return seq
        for item in joining.plan:
            seq = min(seq, message_of(item).seq - 1)
            break
        for span in joining.spans:
            seq = min([seq, *(max(had, span.cursor) for had in span.names.values())])
        return min([seq, *joining.had.values()])

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
        while size < STEP_BYTES and (joining.plan or self._gather(link, joining, frames)):
            frame = joining.plan.popleft().frame(form, epoch)
            frames.append(frame)
            size += len(frame)
            count += 1
            if joining.spans:
                joining.spans[0].count += 1
        ends = not joining.plan and not joining.spans and self._meets(joining)
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
        if joining.plan or joining.spans or size:
            self._enqueue(link)
        else:
            self._wait(link, joining)

    def _gather(self, link: Link, joining: Joining, frames: list[bytes]) -> bool:
        """Looks up what comes next; what is said between spans goes to `frames`. False: nothing now."""
        while joining.spans:
            span = joining.spans[0]
            if span.cursor < span.until:
                self._note_missing(span)
                names, cursor = span.names, span.cursor
                items, span.cursor = look_up(self._ring, link.options or {}, names, cursor, span.until)
                joining.plan.extend(items)
                if items:
                    return True
            else:
                frames += self._ended(link, joining.spans.popleft())
        head = self._fanout.head()
        if not joining.had or min(joining.had.values()) >= head:
            return False
        extra = link.with_extra()
        for name, had in joining.had.items():
            missing = missing_of(self._ring, name, had, head)
            if missing is not None:
                extra.lost = max(extra.lost, missing[1])
        options = link.options or {}
        items, cursor = look_up(self._ring, options, joining.had, 0, head)
        joining.had = {
            name: had if cursor < head and options.get(name, 0) & CONFLATE else max(had, cursor)
            for name, had in joining.had.items()
        }
        joining.plan.extend(items)
        return bool(items)

    def _note_missing(self, span: Span) -> None:
        """What left the ring since the last look, while the client read."""
        for name, had in span.names.items():
            missing = missing_of(self._ring, name, max(had, span.cursor), span.until)
            if missing is not None:
                span.missing[name] = wider(span.missing.get(name), missing)

    def _ended(self, link: Link, span: Span) -> list[bytes]:
        """What is said at the end of a span."""
        if span.kind == "replay":
            missing: Missing | None = None
            for part in span.missing.values():
                missing = wider(missing, part)
            return [self._framed(link, answers.replay_ended_frame(span.count, missing))]
        return [
            self._framed(link, answers.caught_up_frame(name, max(had, span.until), span.missing.get(name)))
            for name, had in span.names.items()
        ]

    def _meets(self, joining: Joining) -> bool:
        """Whether the client has all that was broadcast, and nothing that was not."""
        head = self._fanout.head()
        return all(had == head for had in joining.had.values())

    def _join(self, link: Link) -> list[bytes]:
        """Into the live sets. Returns what is to be said of losses that others were told of meanwhile."""
        extra, head = link.with_extra(), self._fanout.head()
        extra.joining = None
        extra.patched_after = head
        lost, extra.lost = extra.lost, 0
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
        outcome = {name: {"recovered": False} for name in ahead}
        self._counters.gaps_told += len(ahead)
        frame = answers.subscription_ack_frame(ahead, len(link.channels), head, outcome)
        if self._links.send(link, self._framed(link, frame)):
            self._enqueue(link)

    def _framed(self, link: Link, frame: bytes, seq: int = 0) -> bytes:
        return reframe(link.form, frame, event_id(self._ring.epoch, seq) if seq else "")

    def _forget_passed(self, link: Link, name: str) -> None:
        extra = link.extra
        if extra is not None and extra.passed:
            extra.passed = {
                channel: passed for channel, passed in extra.passed.items() if not matches(name, channel)
            }
