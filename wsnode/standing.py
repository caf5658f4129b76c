"""Where a client stands in the stream: what it has, what it has missed, and from where it goes on. Pure.

A client subscribes to names: channels, and patterns whose channels appear as they come. It keeps, over
any number of connections, the last sequence of each channel, and for each name a sequence up to which
all of it came or was told as missing. Three rules of the wire protocol make this exact:

- A client may have lost something exactly when a message's `prev` is above the last sequence seen on
  that channel and above the sequence of the acknowledgement or resume. Nothing else raises that bar,
  but for what was told as missing already: a position that did would hide a loss.
- A position lets names that are caught up go on from there on another node. One that a replay has not
  reached yet (no `caught_up` so far) goes on from its own last message, or from where it resumed.
- Of a pattern no message says how far the pattern itself has come: messages of its other channels may
  be lost, and nobody was told yet. So it goes on from the last position, and what comes twice is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeGuard

from wsnode.channels import is_pattern, matches
from wsnode.gapcheck import NONE, may_have_lost
from wsnode.protocol.envelope import MAX_SEQUENCE


class Why(StrEnum):
    """How a client learnt that it missed something."""

    GONE = "the stream no longer had it"
    LOST = "it was not delivered"
    NODE = "the node could not deliver it"
    UNRECOVERED = "the server does not resume"
    OTHER_STREAM = "the stream is another one"


@dataclass(frozen=True, slots=True)
class Missed:
    """Something of a name may be missing: among the sequences `first` to `last`, both inclusive.

    Both are 0 where the stream became another one: then nothing is known of what the client missed.
    """

    name: str
    first: int
    last: int
    why: Why


@dataclass(slots=True)
class _Name:
    """One name. `stands`: all up to it came or was told; `bar`: what a `prev` may reach without a loss."""

    name: str
    stands: int = NONE
    bar: int = NONE
    live: bool = False
    catching: bool = False


class Standing:
    """One client's place in the stream. Everything it is told returns what it says to be missing.

    Args:
        names: what the client subscribes to, all in one go.
        resume: from where it goes on, as `point` gave it to an earlier client.

    Attributes:
        epoch: of the stream that all sequences are of; empty before it is known.
        last: the last sequence seen of each channel.
        repeated: messages that came again after a resume further back, and were dropped.
        doubled: messages that came again, or out of order, on one connection: a node never does that.
        unasked: messages of channels that no name takes.

    Raises:
        ValueError: `resume` has not the shape of a resume.
    """

    def __init__(self, names: Iterable[str], resume: Mapping[str, Any] | None = None) -> None:
        self._names = {name: _Name(name) for name in names}
        self.epoch = ""
        self.last: dict[str, int] = {}
        self.repeated = self.doubled = self.unasked = 0
        self._newest: tuple[int, int] = NONE, 0
        self._takers: dict[str, list[_Name]] = {}
        self._here: set[str] = set()
        if resume is not None:
            self._go_on(resume)

    def _go_on(self, resume: Mapping[str, Any]) -> None:
        epoch, seq = resume.get("epoch"), resume.get("seq")
        own, ts = resume.get("channels", {}), resume.get("ts", 0)
        if not isinstance(epoch, str) or not isinstance(own, dict):
            raise ValueError("its epoch must be a string, its channels an object")
        if not _is_sequence(seq) or not all(map(_is_sequence, own.values())):
            raise ValueError(f"its sequences must be integers from 0 to {MAX_SEQUENCE}")
        if type(ts) is not int:
            raise ValueError("its ts must be an integer, in milliseconds")
        self.epoch = epoch
        for name, state in self._names.items():
            state.stands = own.get(name, seq)
            if not is_pattern(name):
                self.last[name] = state.stands
        if ts:
            self._newest = seq, ts

    # What a node says.

    def greeted(self, epoch: str, *, again: bool = False) -> list[Missed]:
        """A hello. `again`: on a connection with live names, so its stream was made again, if not by name."""
        missed = []
        if again or epoch != self.epoch:
            if self.epoch:
                known = [state for state in self._names.values() if state.stands != NONE]
                missed = [Missed(state.name, 0, 0, Why.OTHER_STREAM) for state in known]
            self._forget()
            self.epoch = epoch
        self._here.clear()
        for state in self._names.values():
            state.live = state.catching = False
        return missed

    def resume(self) -> dict[str, Any] | None:
        """What to put beside the names of a subscribe; None where nothing is known yet.

        From now on the client goes on from there: what the node says next has to be its acknowledgement.
        """
        point = self.point()
        if point is None:
            return None
        self._here.clear()
        for state in self._names.values():
            state.stands = state.bar = point["channels"].get(state.name, point["seq"])
            state.live = state.catching = False
        return point

    def acknowledged(
        self, names: Iterable[str], seq: int, outcome: Mapping[str, Any] | None = None
    ) -> list[Missed]:
        """The answer to a subscribe: these are live after `seq`; `outcome` is what became of a resume."""
        missed = []
        for name in names:
            state = self._names.get(name)
            if state is None:
                continue
            told = outcome.get(name) if outcome is not None else None
            if isinstance(told, dict):
                missed += self._resumed(state, seq, told)
                continue
            if NONE < state.stands < seq:
                missed.append(Missed(name, state.stands + 1, seq, Why.UNRECOVERED))
            self._begin(state, seq)
        return missed

    def caught_up(self, name: str, seq: int, missing: object = None) -> list[Missed]:
        """The end of a name's replay: all up to `seq` came, but for what may be missing."""
        state = self._names.get(name)
        if state is None or not state.live:
            return []
        state.catching = False
        state.stands = max(state.stands, seq)
        return self._gone(state, missing)

    def position(self, seq: int, lost: int = 0) -> list[Missed]:
        """A position, or a pong: what is caught up stands at `seq`; the node lost something up to `lost`."""
        missed = []
        for state in self._names.values():
            if not state.live:
                continue
            had = max(self._point_of(state), state.bar)
            if lost > had:
                missed.append(Missed(state.name, had + 1, lost, Why.NODE))
            state.bar = max(state.bar, lost)
            if not state.catching:
                state.stands = max(state.stands, seq)
        return missed

    def message(self, channel: str, seq: int, prev: int, ts: int = 0) -> tuple[bool, Missed | None]:
        """A data message: whether the client has not had it yet, and what it says of those before it."""
        takers = self._takers.get(channel)
        if takers is None:
            takers = [state for name, state in self._names.items() if matches(name, channel)]
            self._takers[channel] = takers
        if not takers:
            self.unasked += 1
            return False, None
        had = self.last.get(channel, NONE)
        if seq <= had:
            here = channel in self._here
            self.doubled += here
            self.repeated += not here
            return False, None
        self._here.add(channel)
        self.last[channel] = seq
        if seq > self._newest[0]:
            self._newest = seq, ts
        # Each of them covers all of the channel up to its own bar.
        bar = max([state.bar for state in takers])
        if not may_have_lost(prev, had, bar):
            return True, None
        return True, Missed(channel, max(had, bar) + 1, prev, Why.LOST)

    # Where it goes on.

    def point(self) -> dict[str, Any] | None:
        """From where the client would go on, as a subscribe's `resume`; None where nothing is known yet.

        `seq` is that of the newest message seen, so that its `ts` can prove the stream to be the same.
        """
        points = {state.name: self._point_of(state) for state in self._names.values()}
        known = [point for point in points.values() if point != NONE]
        if not known:
            return None
        seq, ts = self._newest
        if not ts:
            seq = max(known)
        own = {name: max(known) if point == NONE else point for name, point in points.items()}
        point = {"epoch": self.epoch, "seq": seq, "channels": {n: p for n, p in own.items() if p != seq}}
        return point | {"ts": ts} if ts else point

    def _point_of(self, state: _Name) -> int:
        if is_pattern(state.name):
            return state.stands
        return max(state.stands, self.last.get(state.name, NONE))

    def _begin(self, state: _Name, seq: int) -> None:
        state.stands = state.bar = seq
        state.live, state.catching = True, False

    def _resumed(self, state: _Name, seq: int, told: Mapping[str, Any]) -> list[Missed]:
        recovered, missing = told.get("recovered") is True, told.get("missing")
        if recovered or _range(missing):
            state.live = state.catching = True
            return self._gone(state, missing)
        # The node knows nothing of what the client has seen: what follows is of another stream.
        self._newest = NONE, 0
        for channel in [c for c in self.last if matches(state.name, c)]:
            del self.last[channel]
        self._begin(state, seq)
        return [Missed(state.name, 0, 0, Why.OTHER_STREAM)]

    def _gone(self, state: _Name, missing: object) -> list[Missed]:
        told = _range(missing)
        if told is None:
            return []
        first, last = max(told[0], state.bar + 1), told[1]
        if last < first:  # all of it was told before
            return []
        state.bar = last
        return [Missed(state.name, first, last, Why.GONE)]

    def _forget(self) -> None:
        self.last.clear()
        self._newest = NONE, 0
        for state in self._names.values():
            state.stands = state.bar = NONE


def _is_sequence(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_SEQUENCE


def _range(value: object) -> tuple[int, int] | None:
    """What `missing` says: first and last sequence; None where it says nothing."""
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_sequence, value)):
        return None
    return value[0], value[1]
