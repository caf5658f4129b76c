"""What was lost and not told yet, which an acknowledgement must not cover: known at the price of one look."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.simcore import SimCore, virtual_time
from tests.support.wsclient import text_frame
from wsnode.config import Settings
from wsnode.link import PLAIN
from wsnode.message import Message
from wsnode.ring import Window


class CountedLine(deque[Any]):
    """A line of the fan-out that counts the jobs looked at."""

    looks = 0

    def __iter__(self) -> Iterator[Any]:
        for job in super().__iter__():
            self.looks += 1
            yield job

    def __reversed__(self) -> Iterator[Any]:
        for job in super().__reversed__():
            self.looks += 1
            yield job


@pytest.fixture
def core() -> Iterator[SimCore]:
    with virtual_time(random.Random(1), 0.0) as loop:
        core = SimCore(loop, Settings(), Window(1e6, 10**6, 10**9))
        core.ring.restart(0, "epoch")
        yield core
        core.close()


def _read(core: SimCore, *channels: str) -> None:
    for channel in channels:
        seq = core.ring.position + 1
        core.ring.advance(seq)
        message = Message(seq, 0, "a:b", channel, core.ring.prev(channel), b"1")
        core.ring.add(message, 0)
        core.fanout.push(message)


def test_a_loss_is_told_on_a_channel_once_a_newer_message_of_it_was_given(core: SimCore) -> None:
    _read(core, "A", "B")
    core.loop.turn()  # both are given
    core.ring.advance(3)
    core.ring.skip("A", 3)
    core.fanout.note_unsent(3)
    _read(core, "A", "A", "B")
    # What waits tells it only to those whose acknowledgement does not cover it.
    assert [core.fanout.untold_of([name]) for name in ("A", "B", "C", "A.*")] == [3, 3, 3, 3]
    core.loop.turn()
    assert [core.fanout.untold_of(names) for names in (["A"], ["B"], ["A", "B"], ["C"], [])] == [
        0,
        0,
        0,
        3,
        0,
    ]
    _read(core, "A")
    assert core.fanout.untold_of(["A", "B"]) == 0


def test_the_line_is_looked_at_once_for_all_names(core: SimCore) -> None:
    names = [f"S{number}" for number in range(100)]
    core.fanout.note_unsent(1)
    _read(core, "other", *names)
    core.loop.turn()
    _read(core, *["other"] * 500)
    line = core.fanout._line = CountedLine(core.fanout._line)
    assert core.fanout.untold_of(names) == 0
    assert line.looks <= 500


def test_who_has_names_already_is_not_held_against_them_where_nothing_is_lost(
    core: SimCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.sessions.overlapping", None)
    theirs = core.connect(PLAIN)
    for _ in range(2):
        theirs.send(text_frame({"type": "subscribe", "data": {"channels": ["A.*", "*.x"]}}))
        core.loop.turn()
    assert core.counters.client_messages == 2
    theirs.close()
