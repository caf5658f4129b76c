"""Who is written what is worked out in steps, between which others have their turn, and none loses by it."""

from __future__ import annotations

import random
import socket
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.simloop import VirtualClock, VirtualLoop
from wsnode.channels import Channels
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.fanout import Fanout
from wsnode.link import PLAIN, Link
from wsnode.links import Links
from wsnode.message import Message
from wsnode.preparation import Preparation
from wsnode.ring import Ring, Window
from wsnode.rounds import Announcement, Job, Part, take_round

NAMES = ["A.x", "A.y", "B.x", "A.*", "*.x", "*"]
CLIENTS, CHANNELS = 12, 9


def _message(seq: int, channel: str) -> Message:
    return Message(seq, 0, "a:b", channel, 0, b"%d" % seq)


def _data_of(part: Part, index: int) -> bytes:
    return b"".join(part.own[index]) if part.own is not None else part.data


@given(
    published=st.lists(st.sampled_from(NAMES[:3]), min_size=1, max_size=20),
    wishes=st.lists(st.sets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=8),
    step_links=st.sampled_from([1, 3, 1000]),
    small_links=st.sampled_from([0, 1000]),
    hastened=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), max_size=6),
    around=st.sampled_from([(b"", b""), (b"head", b"tail")]),
)
def test_whoever_is_hastened_meanwhile_gets_the_same_and_once(
    published: list[str],
    wishes: list[set[str]],
    step_links: int,
    small_links: int,
    hastened: list[tuple[int, int]],
    around: tuple[bytes, bytes],
) -> None:
    channels: Channels[Link] = Channels()
    links = [Link(fd, 0, None) for fd in range(len(wishes))]
    for link, wish in zip(links, wishes, strict=True):
        channels.subscribe(link, sorted(wish))
    line: deque[Job] = deque(_message(seq, channel) for seq, channel in enumerate(published, 1))
    frames = {seq: _message(seq, channel).frame(PLAIN, "") for seq, channel in enumerate(published, 1)}
    taken, flows = take_round(line, channels, "")
    assert not line
    got: dict[Link, list[bytes]] = {link: [] for link in links}
    expected: dict[Link, list[bytes]] = {link: [] for link in links}
    for link in links:
        own = [
            frames[seq]
            for seq, channel in enumerate(published, 1)
            if any(link in some for _, _, some in channels.subscribers(channel))
        ]
        if own:
            expected[link] = [b"".join([around[0], *own, around[1]])]
    if flows:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("wsnode.preparation.STEP_LINKS", step_links)
            patched.setattr("wsnode.preparation.SMALL_LINKS", small_links)
            head, tail = ((lambda form, data=data: data) if data else None for data in around)
            preparation = Preparation(taken, flows, tail, head)
            steps = 0
            while preparation.step():
                for at, number in hastened:
                    link = links[number % len(links)]
                    part = preparation.hasten(link) if at == steps else None
                    if part is not None:
                        assert part.links == [link]
                        got[link].append(_data_of(part, 0))
                # What is changed meanwhile is no concern of this round.
                change = channels.subscribe if steps % 2 else channels.unsubscribe
                change(links[steps % len(links)], NAMES)
                steps += 1
    for part in taken.parts:
        for index, link in enumerate(part.links):
            if link.fd >= 0:
                got[link].append(_data_of(part, index))
    assert got == expected


class Crowd:
    """Clients of nearly all channels, of which no two have the same listeners."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.links = Links(loop.as_loop(), Settings(), Counters())
        self.channels: Channels[Link] = Channels()
        self.ring = Ring(Window(30, 1000, 10**6))
        self.fanout = Fanout(loop.as_loop(), self.links, self.channels, self.ring, Counters())
        self.ends: list[socket.socket] = []
        self.members: list[Link] = []
        for number in range(CLIENTS):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            link = self.links.add(ours.detach(), None)
            self.links.opened(link)
            # In each channel but one: so no two channels have the same listeners, and all have several.
            self.channels.subscribe(link, [f"S{n}.x" for n in range(CHANNELS) if n != number % CHANNELS])
            self.ends.append(theirs)
            self.members.append(link)

    def publish(self, count: int) -> None:
        """A message in each of so many channels."""
        for number in range(count):
            seq = self.ring.position + 1
            self.ring.advance(seq)
            message = _message(seq, f"S{number % CHANNELS}.x")
            self.ring.add(message, 0)
            self.fanout.push(message)

    def heard(self, number: int) -> bytes:
        """What has come to a client."""
        try:
            return self.ends[number].recv(65_536)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.links.shut()
        for end in self.ends:
            end.close()


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    clock = VirtualClock(random.Random(1), 0.0)

    def tick() -> float:
        clock.now += 0.0011  # two looks at the clock are a turn's time
        return clock.now

    monkeypatch.setattr(clock, "monotonic", tick)
    monkeypatch.setattr("wsnode.fanout.time", clock)
    return Crowd(VirtualLoop(clock))


@pytest.mark.parametrize("small_links", [0, 16_384])
def test_a_large_round_is_prepared_over_several_turns(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, small_links: int
) -> None:
    monkeypatch.setattr("wsnode.preparation.STEP_LINKS", CLIENTS)
    crowd.publish(CHANNELS)
    monkeypatch.setattr("wsnode.preparation.SMALL_LINKS", small_links)
    turns = 0
    others: list[int] = []
    while not (first := crowd.heard(0)):
        crowd.loop.call_soon(others.append, turns)
        crowd.loop.turn()
        turns += 1
        assert turns < 1000
    # Two steps a turn: for nearly each frame, and for nearly each flow where they are sorted in steps too.
    assert turns > (3 if small_links else 6)
    assert others == list(range(turns))
    while crowd.fanout.busy:
        crowd.loop.turn()
    heard = [first, *(crowd.heard(number) for number in range(1, CLIENTS))]
    frames = [_message(seq, f"S{seq - 1}.x").frame(PLAIN, "") for seq in range(1, CHANNELS + 1)]
    for number, data in enumerate(heard):
        assert data == b"".join(frame for n, frame in enumerate(frames) if n != number % CHANNELS)
    crowd.close()


@pytest.mark.parametrize("small_links", [0, 16_384])
def test_whose_subscription_changes_meanwhile_has_all_that_came_before(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, small_links: int
) -> None:
    monkeypatch.setattr("wsnode.preparation.STEP_LINKS", 1)
    monkeypatch.setattr("wsnode.preparation.SMALL_LINKS", small_links)
    crowd.publish(CHANNELS)
    crowd.loop.turn()
    assert crowd.heard(3) == b""
    crowd.fanout.hasten(crowd.members[3])
    before = crowd.heard(3)
    assert before.count(b'"seq":') == CHANNELS - 1
    crowd.channels.leave(crowd.members[3])
    crowd.fanout.hasten(crowd.members[3])
    while crowd.fanout.busy:
        crowd.loop.turn()
    assert crowd.heard(3) == b""
    assert crowd.heard(4).count(b'"seq":') == CHANNELS - 1
    crowd.close()


def test_what_is_made_for_each_client_is_made_in_groups_and_nothing_passes_it(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.fanout.PERSONAL_LINKS", 3)
    at_once: list[int] = []

    def own(link: Link) -> bytes:
        at_once[-1] += 1
        return b"<%d>" % link.fd

    crowd.fanout.announce(Announcement(frame_for=own, links=set(crowd.members)))
    crowd.publish(1)
    while crowd.fanout.busy:
        at_once.append(0)
        crowd.loop.turn()
    assert sum(at_once) == CLIENTS
    assert max(at_once) <= 6  # two groups a turn at most
    for number, link in enumerate(crowd.members):
        data = b"" if not number % CHANNELS else _message(1, "S0.x").frame(PLAIN, "")
        assert crowd.heard(number) == b"<%d>" % link.fd + data
    crowd.close()
