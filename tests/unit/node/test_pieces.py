"""Work for many, or for one with much to come, goes piece by piece, and nobody is searched for twice."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.coremodel import World
from tests.support.simcore import SimCore, virtual_time
from tests.support.wsclient import subscribe, text_frame
from wsnode.config import Settings
from wsnode.conflation import FLUSHED_BYTES, pass_over
from wsnode.link import PLAIN, SSE, Link
from wsnode.message import Message
from wsnode.ring import Window
from wsnode.rounds import Part, Round


@pytest.mark.parametrize("form", [PLAIN, SSE])
def test_who_was_passed_over_for_long_takes_a_part_of_a_turn_at_a_time(
    monkeypatch: pytest.MonkeyPatch, form: int
) -> None:
    with virtual_time(random.Random(1), 0.002) as loop:
        core = SimCore(loop, Settings(), Window(600, 10_000, 10**7))
        theirs = core.connect(form)
        (link,) = core.links.open_links()
        for seq in range(1, 3001):
            pass_over(link, [Message(seq, 0, "a:b", f"S{seq}.x", 0, b"1")])
        sizes: list[int] = []

        def taken(_: Link, data: bytes) -> bool:
            sizes.append(len(data))
            return True

        monkeypatch.setattr(core.links, "send", taken)
        core.flusher.flush(link)
        assert len(sizes) == 1
        while link.with_extra().passed:
            # Whatever comes meanwhile waits behind it.
            assert link.out is not None
            assert link in core.links.behind
            loop.turn()
        assert len(sizes) > 10
        assert max(sizes) < FLUSHED_BYTES + 300
        assert (link.out, core.links.behind) == (None, {})
        theirs.close()
        core.close()


class _Looked(list[Link]):
    """Counts how often it is gone through."""

    looks = 0

    def __iter__(self) -> Iterator[Link]:
        self.looks += 1
        return super().__iter__()

    def index(self, *args: Any) -> int:
        self.looks += 1
        return super().index(*args)


def test_clients_of_a_round_are_gone_through_once_whoever_changes_subscriptions() -> None:
    with virtual_time(random.Random(1), 0.0) as loop:
        world = World(loop, Window(600, 100, 10**6), 100, 5.0)
        pairs = [world.connect(PLAIN) for _ in range(4)]
        links = [link for link, _ in pairs]
        before, amid, stranger = links[0], links[1:3], links[3]
        for link, theirs in pairs:
            assert link.fd >= 0
            theirs.recv(1000)
        parts = [Part(_Looked([before, amid[0]]), b"first", 1), Part(_Looked([amid[1]]), b"second", 1)]
        world.fanout._round = Round(parts=parts, link=1)
        for _ in range(50):
            for link in links:
                world.fanout.hasten(link)
        heard = [_heard(theirs) for _, theirs in pairs]
        assert heard == [b"", b"first", b"second", b""]
        assert (parts[0].links[0], parts[0].links[1].fd, parts[1].links[0].fd) == (before, -1, -1)
        assert [part.links.looks for part in parts if isinstance(part.links, _Looked)] == [1, 1]
        assert stranger.out is None
        for _, theirs in pairs:
            theirs.close()
        world.links.shut()


def _heard(theirs: socket.socket) -> bytes:
    try:
        return theirs.recv(1000)
    except BlockingIOError:
        return b""


def test_a_position_on_its_way_comes_before_a_resume_that_it_would_cover() -> None:
    with virtual_time(random.Random(1), 0.0) as loop:
        world = World(loop, Window(600, 100, 10**6), 100, 5.0)
        link, theirs = world.connect(PLAIN)
        assert theirs.recv(1000)
        world.fanout._round = Round(parts=[Part([Link.nobody(), link], b"position", 0)])
        asked = subscribe("A.x")
        asked["data"]["resume"] = {"epoch": "epoch-0", "seq": 0}
        world.sessions.read(link, text_frame(asked))
        heard = theirs.recv(1000)
        assert heard.startswith(b"position")
        assert b"subscription_ack" in heard
        theirs.close()
        world.links.shut()
