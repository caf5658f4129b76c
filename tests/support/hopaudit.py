"""What a hopping client's diary says of the nodes, held against what the broker acknowledged."""

from __future__ import annotations

import bisect
import json

from tests.support.hopping import Hopper, Truth
from wsnode.channels import matches
from wsnode.client import Connected, Event, Message, Missed, Subscribed, Why


class Audit:
    """Goes through a diary, from one stream to the next."""

    def __init__(self, hopper: Hopper) -> None:
        self._hopper, self._arena = hopper, hopper.arena
        self._conflates = bool(hopper.options.get("conflate"))
        self.faults: list[str] = []
        self.received = self.told = self.skipped = 0
        self._began: int | None = None
        self._new_stream("")
        for entry in hopper.diary:
            self._enter(entry)
        for channel in list(self._truth.acknowledged):
            self._owed(channel, 2**53, 0)
        standing = hopper.standing
        if standing.doubled or standing.unasked:
            self.faults.append(f"doubled {standing.doubled}, unasked {standing.unasked}")
        if standing.repeated and not any("*" in name for name in hopper.names):
            self.faults.append(f"{standing.repeated} came again to a client that needs none again")

    def _new_stream(self, epoch: str) -> None:
        self._epoch = epoch
        self._truth = self._arena.truths[epoch] if epoch else Truth()
        self._began = None
        self._last: dict[str, int] = {}
        self._spans: list[Missed] = []
        self._must_hear: set[str] = set()
        self._doubt = ""

    def _enter(self, entry: Event | Message) -> None:
        if isinstance(entry, Message):
            self._message(entry)
        elif isinstance(entry, Connected) and entry.epoch and entry.epoch != self._epoch:
            known = self._began is not None
            self._new_stream(entry.epoch)
            # What it missed of either, nobody can say: that it has to be told.
            self._must_hear = set(self._hopper.names) if known else set()
        elif isinstance(entry, Subscribed) and self._began is None:
            self._began = entry.seq
            if self._must_hear:
                self.faults.append(f"not told of another stream: {sorted(self._must_hear)}")
        elif isinstance(entry, Missed):
            self.told += 1
            if entry.why is Why.OTHER_STREAM:
                self._must_hear.discard(entry.name)
            if entry.why is Why.OTHER_STREAM and self._began is not None:
                # A subscribe may meet the new stream before the hello that tells of it.
                self._doubt = f"told of another stream within {self._epoch}: {entry}"
            elif entry.why is Why.UNRECOVERED:
                self.faults.append(f"not resumed: {entry}")
            self._spans.append(entry)

    def _message(self, message: Message) -> None:
        channel, seq = message.channel, message.seq
        self.received += 1
        if self._doubt:
            self.faults.append(self._doubt)
        self.skipped += message.skipped
        if self._began is None or not any(matches(name, channel) for name in self._hopper.names):
            self.faults.append(f"{seq} of {channel} was not asked for")
            return
        if seq <= self._last.get(channel, -1):
            self.faults.append(f"{seq} of {channel} after {self._last[channel]}")
            return
        number = message.data["number"]
        if json.dumps(message.data, sort_keys=True) != self._arena.contents[number]:
            self.faults.append(f"{seq} of {channel} says {message.data}, not {self._arena.contents[number]}")
        if self._truth.numbers.get(seq, number) != number:
            self.faults.append(f"{seq} of {channel} is number {number}, not {self._truth.numbers[seq]}")
        self._owed(channel, seq, message.skipped)
        self._last[channel] = seq

    def _owed(self, channel: str, before: int, skipped: int) -> None:
        """What lies between the last message of a channel and this one was told, or skipped."""
        if self._began is None or not any(matches(name, channel) for name in self._hopper.names):
            return
        had = max(self._began, self._last.get(channel, -1))
        published = self._truth.acknowledged[channel]
        between = published[bisect.bisect_right(published, had) : bisect.bisect_left(published, before)]
        silent = [
            seq
            for seq in between
            if not any(matches(m.name, channel) and m.first <= seq <= m.last for m in self._spans)
        ]
        if len(silent) > (skipped if self._conflates else 0):
            end = "the end" if before == 2**53 else str(before)
            self.faults.append(f"{silent} of {channel} lost in silence before {end}, skipped {skipped}")
