"""What a client is given of the past, and how far that is. Pure.

What can't be given is always told: as the range of sequences in which something may be missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from wsnode.channels import CONFLATE, is_pattern, takers
from wsnode.lookup import Wish, look_up, look_up_newest
from wsnode.message import Message
from wsnode.passed import Passed
from wsnode.protocol.envelope import MAX_SEQUENCE
from wsnode.ring import Ring

Missing = tuple[int, int]
Item = Message | Passed
_NEVER = MAX_SEQUENCE + 1


@dataclass(slots=True)
class Replay:
    """A stretch of the stream that a client asked for by itself, whether it has it or not.

    Attributes:
        names: what the client listened to when it asked.
        cursor: all up to it was given or is in the plan.
        until: the last sequence of the stretch.
        after: all up to it comes first, for the client was owed that when it asked.
        missing: what could not be given.
        count: messages given.
        found: see `lookup.Wish`.
    """

    names: tuple[str, ...]
    cursor: int
    until: int
    after: int
    missing: Missing | None = None
    count: int = 0
    found: dict[str, Message] = field(default_factory=dict)


@dataclass(slots=True)
class Newest:
    """The newest message of each channel, as a client asked for them: looked up piece by piece.

    Attributes:
        names: by name, the sequence up to which it was given them.
        cursor: up to where they were looked up.
        until: they are the newest of those up to there: what comes later comes in its time.
        found: looked up and not given yet, in order.
    """

    names: dict[str, int]
    until: int
    cursor: int = 0
    found: deque[Message] = field(default_factory=deque)

    @property
    def has_more(self) -> bool:
        """Something may be left to be given."""
        return bool(self.found) or (bool(self.names) and self.cursor < self.until)

    def ask(self, names: Iterable[str], until: int) -> None:
        """They are asked for again, by these names too: what was given already comes again by these alone."""
        given = self.found[0].seq - 1 if self.found else self.cursor
        self.names = {name: max(had, given) for name, had in self.names.items()} | dict.fromkeys(names, 0)
        self.found.clear()
        self.cursor, self.until = 0, until

    def end(self, names: Iterable[str]) -> None:
        """Names are unsubscribed from."""
        for name in names:
            self.names.pop(name, None)
        self.found = deque(message for message in self.found if takers(self.names, message.channel))

    def look_up(self, ring: Ring) -> None:
        """Finds the next ones, once those before are given; or none among those looked at."""
        if self.found or not self.has_more:
            return
        found, self.cursor = look_up_newest(ring, self.names, self.cursor, self.until)
        self.found.extend(found)


@dataclass(slots=True)
class Joining:
    """A client on its way into the live sets.

    What is due is looked up piece by piece, and each piece is a plan. A name that is asked for anew may
    set the cursor back; what others were given above it is then known by channel (`ahead`, `passed`).

    Attributes:
        had: by name, the sequence up to which the client has it.
        cursor: all names were given up to it, where they have less, but for what is in `passed`.
        started: by name, the sequence at which it began; 0 where it was before.
        begun: when, by the monotonic clock.
        upto: the same as the cursor, once the plan is written.
        ahead: channels that were given further than the cursor is.
        behind: channels that were given less far than their names were, for it was to be passed over.
        passed: by channel, what only the newest is to be given of; it comes when the cursor meets the line.
        newest: those that it is given first, ahead of their time: it asked for the last ones.
        plan: what was looked up and is not written yet, in order.
        replays: stretches that it asked for.
        replaying: the plan is of the first of these.
        resumed: by name, the sequence at which it is told to be caught up.
        missing: by resumed name, what could not be given.
        found: see `lookup.Wish`.
        queued: it has its place among those that get a step.
        resting: it looks again after a moment.
    """

    had: dict[str, int]
    cursor: int
    begun: float
    upto: int = 0
    started: dict[str, int] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)
    behind: dict[str, int] = field(default_factory=dict)
    passed: dict[str, Passed] = field(default_factory=dict)
    newest: Newest | None = None
    plan: deque[Item] = field(default_factory=deque)
    replays: deque[Replay] = field(default_factory=deque)
    replaying: bool = False
    resumed: dict[str, int] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    found: dict[str, Message] = field(default_factory=dict)
    queued: bool = False
    resting: bool = False

    def __post_init__(self) -> None:
        self.upto = self.cursor
        self.started = dict.fromkeys(self.had, 0)

    @property
    def has_more(self) -> bool:
        """Something is left to be written or said."""
        return bool(self.plan or self.passed or self.newest or self.replays or self.resumed)

    def hads(self) -> dict[str, int]:
        """By name, the sequence up to which it has come, or waits in `passed`."""
        hads = dict(self.had)
        for channel in self.behind:
            self._lower(hads, channel, self._behind_at(channel))
        return hads

    def givens(self) -> dict[str, int]:
        """By name, the sequence up to which it has come."""
        givens = self.hads()
        for channel, passed in self.passed.items():
            self._lower(givens, channel, passed.first - 1)
        return givens

    def level(self, most: int) -> int:
        """The sequence up to which all has come, but for what is resumed; at most this."""
        if not self.resumed:
            return self.reached(most)
        givens = self.givens()
        return min([most, *(givens[name] for name in self.had if name not in self.resumed)])

    def reached(self, most: int) -> int:
        """The sequence up to which all has come; at most this."""
        behind = (self._behind_at(channel) for channel in self.behind)
        passed = (passed.first - 1 for passed in self.passed.values())
        return min([most, *self.had.values(), *behind, *passed])

    def _behind_at(self, channel: str) -> int:
        return max(self.behind[channel], self.cursor, self.ahead.get(channel, 0))

    def _lower(self, levels: dict[str, int], channel: str, seq: int) -> None:
        """Those of the names that take a channel have come no further."""
        for name in takers(levels, channel):
            levels[name] = min(levels[name], seq)

    def will_give(self, message: Message) -> bool:
        """Whether a message is still to come."""
        channel = message.channel
        if channel in self.passed:
            return True
        own = takers(self.had, channel)
        if not own:
            return False
        had = min([self.had[name] for name in own])
        had = min(had, self.behind.get(channel, had))
        return message.seq > max(had, self.ahead.get(channel, 0), self.cursor)

    # How it goes on.

    def ask_newest(self, names: Iterable[str], head: int) -> None:
        """It is given the newest message of each channel that its names take, before all else."""
        if self.newest is None:
            self.newest = Newest(dict.fromkeys(names, 0), head)
        else:
            self.newest.ask(names, head)

    def next_newest(self) -> Message | None:
        """The next of those; None where no more was looked up: `newest` is gone where that was all."""
        newest = self.newest
        if newest is None:
            return None
        while newest.found:
            message = newest.found.popleft()
            if not self.will_give(message):  # what it gets in its time comes once
                return message
        if not newest.has_more:
            self.newest = None
        return None

    def take(self) -> Item:
        """The next item of the plan, which is now being written."""
        item = self.plan.popleft()
        if self.replaying:
            self.replays[0].count += 1
            return item
        message = message_of(item)
        self.ahead[message.channel] = message.seq
        if isinstance(item, Passed):
            del self.passed[message.channel]
        return item

    def advance(self) -> None:
        """The plan is written."""
        self.replaying = False
        self.cursor = max(self.cursor, self.upto)
        self.had = {name: max(had, self.cursor) for name, had in self.had.items()}
        if self.behind:
            most = max(self.had.values(), default=0)
            behind = {channel: max(seq, self.cursor) for channel, seq in self.behind.items()}
            self.behind = {channel: seq for channel, seq in behind.items() if seq < most}
        if self.ahead:
            self.ahead = {channel: seq for channel, seq in self.ahead.items() if seq > self.cursor}

    def until(self, head: int) -> int:
        """Up to where is looked next: something may have to be said, or given, before what is newer."""
        stops = [*self.resumed.values(), *(replay.after for replay in self.replays)]
        return min([head, *(seq for seq in stops if seq > self.cursor)])

    def look_up(self, ring: Ring, options: dict[str, int], until: int) -> None:
        """Plans what comes next, up to `until`: some or all of it."""
        found = look_up(ring, self._wish(options), self.cursor, until)
        self.upto = found.upto
        for message in found.newest:
            passed = self.passed.get(message.channel)
            if passed is None:
                self.passed[message.channel] = Passed(message)
            else:
                passed.take(message)
        if found.upto >= until:
            due: Iterable[Passed] = self.passed.values()
        else:  # and what must not come after what is whole of the same channel
            channels = {message.channel for message in found.whole}
            due = [passed for channel, passed in self.passed.items() if channel in channels]
        self.plan.extend(sorted([*due, *found.whole], key=_seq_of))

    def give_passed(self) -> None:
        """Plans what was passed over so far."""
        self.upto = self.cursor
        self.plan.extend(sorted(self.passed.values(), key=_seq_of))

    def look_up_replay(self, ring: Ring) -> None:
        """Plans what comes next of the first stretch that was asked for; of that nothing is passed over."""
        replay = self.replays[0]
        for name in replay.names:
            replay.missing = wider(replay.missing, missing_of(ring, name, replay.cursor, replay.until))
        wish = Wish(dict.fromkeys(replay.names, replay.cursor), found=replay.found)
        found = look_up(ring, wish, replay.cursor, replay.until)
        replay.cursor = found.upto
        self.plan.extend(found.whole)
        self.replaying = bool(found.whole)

    # How it changes.

    def begin(self, ring: Ring, names: Collection[str], head: int) -> None:
        """Names are subscribed to, and begin at the node's head.

        Who went on from other nodes may have more of their channels by names that it has already.
        """
        self._unplan()
        if names and head < max(self.had.values(), default=0):
            wish = self._wish({})
            for channel in {channel for name in names for channel in ring.channels_of(name)}:
                own = wish.of(channel)
                if own is not None and own[0] > head:
                    self.ahead[channel] = max(own[0], self.ahead.get(channel, 0))
        self.had |= dict.fromkeys(names, head)
        self.started |= dict.fromkeys(names, head)

    def begin_again(self, hads: Mapping[str, int]) -> None:
        """Names begin at sequences, whatever was given of them before, by these names or by others."""
        self._unplan()
        self.had |= hads
        self.started |= hads
        self.cursor = self.upto = min([self.cursor, *hads.values()])
        for channel, seq in self.ahead.items():
            self.ahead[channel] = min([seq, *(hads[name] for name in takers(hads, channel))])
        for channel, passed in list(self.passed.items()):
            begun = min((hads[name] for name in takers(hads, channel)), default=_NEVER)
            if begun < passed.message.seq:
                # From there on by these names, and what comes before it the client says to have.
                self._pass_again(channel, max(begun, passed.first - 1))
        for name in hads:
            self.resumed.pop(name, None)
            self.missing.pop(name, None)

    def give_whole(self, ring: Ring, options: dict[str, int]) -> None:
        """Options changed: what was to be passed over is given whole where a name wants it so now.

        Where the ring has all of it; else only the newest is left.
        """
        self._unplan()
        self._let_go()
        for channel, passed in list(self.passed.items()):
            own = takers(self.had, channel)
            if passed.first <= ring.floor or all(options.get(name, 0) & CONFLATE for name in own):
                continue
            # What came before its names began was owed to others, which are gone.
            self._pass_again(channel, max(passed.first - 1, min(self.started[name] for name in own)))

    def end(self, names: Iterable[str]) -> None:
        """Names are unsubscribed from."""
        self._unplan()
        gone = set(names)
        for name in gone:
            self.had.pop(name, None)
            self.resumed.pop(name, None)
            self.missing.pop(name, None)
        for replay in self.replays:
            replay.names = tuple(name for name in replay.names if name not in gone)
        self._let_go()
        if self.newest is not None:
            self.newest.end(gone)

    def let_go_below(self, seq: int) -> int:
        """Forgets messages below a sequence, which have left the ring, but for what is half written.

        Returns the highest of those that it was to be given in place of others, or 0: nothing else tells
        that they are lost. What was planned is looked up again, and what lacks then is told.
        """
        lost = [passed.message for passed in self.passed.values() if passed.message.seq < seq]
        if lost or (self.plan and message_of(self.plan[-1]).seq < seq):
            self._unplan()
        for message in lost:
            del self.passed[message.channel]
        if self.newest is not None:
            self.newest.found = deque(one for one in self.newest.found if one.seq >= seq)
        for found in (self.found, *(replay.found for replay in self.replays)):
            for name in [name for name, message in found.items() if message.seq < seq]:
                del found[name]
        return max((message.seq for message in lost), default=0)

    def _pass_again(self, channel: str, seq: int) -> None:
        """What was to be passed over of a channel above `seq` is looked up again: it was given less far."""
        del self.passed[channel]
        self.behind[channel] = min(seq, self.behind.get(channel, seq))
        self.cursor = self.upto = min(self.cursor, seq)

    def _let_go(self) -> None:
        """Forgets of channels what nobody is owed any more: whose names are gone, or began later."""
        started = {
            channel: min((self.started[name] for name in takers(self.had, channel)), default=_NEVER)
            for channel in self.passed.keys() | self.behind.keys() | self.ahead.keys()
        }
        self.passed = {c: passed for c, passed in self.passed.items() if started[c] < passed.message.seq}
        self.behind = {c: seq for c, seq in self.behind.items() if started[c] <= seq}
        self.ahead = {c: seq for c, seq in self.ahead.items() if started[c] < _NEVER}

    def _unplan(self) -> None:
        """Drops what is planned and not written yet: it is looked up again when it is due."""
        if not self.plan:
            self.advance()
            return
        if self.replaying:
            self.replays[0].cursor = message_of(self.plan[0]).seq - 1
            self.replaying = False
        self.plan.clear()
        self.upto = self.cursor

    def _wish(self, options: dict[str, int]) -> Wish:
        ahead = self.ahead
        if self.passed:
            ahead = ahead | {channel: passed.message.seq for channel, passed in self.passed.items()}
        conflated = frozenset(name for name in self.had if options.get(name, 0) & CONFLATE)
        return Wish(self.had, conflated, ahead, self.behind, self.found)


def message_of(item: Item) -> Message:
    """The message that an item gives in the end."""
    return item.message if isinstance(item, Passed) else item


def missing_of(ring: Ring, name: str, had: int, until: int) -> Missing | None:
    """What of a name, above `had` and up to `until`, can't be given; None where nothing lacks."""
    if is_pattern(name):
        return ring.missing_of_any(had, until)
    return ring.missing(name, had, until)


def wider(one: Missing | None, other: Missing | None) -> Missing | None:
    """The range that holds both."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def _seq_of(item: Item) -> int:
    return message_of(item).seq
