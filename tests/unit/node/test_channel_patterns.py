"""Patterns and options of subscriptions, held against a directory that looks at everyone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.channels import CONFLATE, DELTA, EVERYTHING, Channels, is_pattern, matches, overlapping, takers
from wsnode.link import DEFLATE, PLAIN, Link

CHANNELS = ["A.x", "A.y", "B.x", "C", "D.y.z", "D"]
NAMES = [*CHANNELS, "A.*", "B.*", "C.*", "D.*", "*.x", "*.y.z", "*.z", "*.D", "*"]
names = st.sampled_from(NAMES)
options = st.sampled_from([0, CONFLATE, DELTA, CONFLATE | DELTA])


def _overlap(one: str, other: str) -> bool:
    """Whether there can be a channel that both names take."""
    if not is_pattern(one):
        return matches(other, one)
    if not is_pattern(other):
        return matches(one, other)
    # Of two patterns only those that name different symbols, or different events, have none in common.
    return one == other or EVERYTHING in (one, other) or one.startswith("*.") is not other.startswith("*.")


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("A.x", {"A.x"}),
        ("A.*", {"A.x", "A.y"}),
        ("*.x", {"A.x", "B.x"}),
        ("D.*", {"D.y.z"}),  # an event is all behind the first dot
        ("*.y.z", {"D.y.z"}),
        ("*.z", set()),
        ("C.*", set()),
        ("*.D", set()),  # a channel without a dot has no event
        ("C", {"C"}),
        ("*", set(CHANNELS)),
    ],
)
def test_what_a_name_takes(name: str, taken: set[str]) -> None:
    assert {channel for channel in CHANNELS if matches(name, channel)} == taken
    assert {channel for channel in CHANNELS if takers([name], channel)} == taken
    channels: Channels[Link] = Channels()
    link = Link(1, 0, None)
    channels.subscribe(link, [name])
    assert {channel for channel in CHANNELS if channels.subscribers(channel)} == taken
    assert is_pattern(name) == ("*" in name)


@given(names, names)
def test_names_overlap_where_a_channel_could_be_of_both(one: str, other: str) -> None:
    both = [c for c in [*CHANNELS, "B.y.z", "C.x", "D.x"] if matches(one, c) and matches(other, c)]
    assert _overlap(one, other) == _overlap(other, one)
    if both:
        assert _overlap(one, other)
    if is_pattern(one) and is_pattern(other) and not _overlap(one, other):
        assert one[0] == other[0] == "*" or one[-1] == other[-1] == "*"


@given(st.lists(names, unique=True), st.lists(names))
def test_names_that_overlap_others_are_found_without_a_look_at_each_pair(
    some: list[str], others: list[str]
) -> None:
    expected = [one for one in some if any(_overlap(one, other) for other in others)]
    assert overlapping(some, others) == expected


Step = tuple[str, int, list[str], int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["subscribe", "subscribe", "unsubscribe", "hold", "release", "leave"]),
        st.integers(0, 3),
        st.lists(names, min_size=1, max_size=4),
        options,
    ),
    max_size=40,
)


class _Model:
    """What each client has: its names with their options, and whether it is held."""

    def __init__(self, links: list[Link]) -> None:
        self.has: list[dict[str, int]] = [{} for _ in links]
        self.held = [False] * len(links)

    def given_by(self, index: int, channel: str) -> int | None:
        """The options by which a client is given a message, None where it is not."""
        if self.held[index]:
            return None
        own = [own for name, own in self.has[index].items() if matches(name, channel)]
        return min(own, key=lambda own: (own & CONFLATE, own)) if own else None


def _apply(step: Step, channels: Channels[Link], links: list[Link], model: _Model) -> None:
    kind, index, own, chosen = step
    link, has = links[index], model.has[index]
    if kind == "subscribe":
        channels.subscribe(link, own, chosen, held=model.held[index])
        has.update(dict.fromkeys(own, chosen))
    elif kind == "unsubscribe":
        channels.unsubscribe(link, own)
        for name in own:
            has.pop(name, None)
    elif kind == "hold":
        channels.hold(link)
        model.held[index] = True
    elif kind == "release" and model.held[index]:
        channels.release(link)
        model.held[index] = False
    elif kind == "leave":
        channels.leave(link)
        has.clear()


@given(steps)
def test_everyone_is_given_each_message_once_by_the_name_that_asks_most(taken: list[Step]) -> None:
    channels: Channels[Link] = Channels()
    links = [Link(fd, 0, None) for fd in range(4)]
    for link, form in zip(links, [PLAIN, PLAIN, DEFLATE, DEFLATE], strict=True):
        link.form = form
    model = _Model(links)
    for step in taken:
        _apply(step, channels, links, model)
        for index, link in enumerate(links):
            assert set(link.channels) == set(model.has[index])
            assert (link.options or {}) == {n: o for n, o in model.has[index].items() if o}
        for channel in CHANNELS:
            found: dict[Any, tuple[int, int]] = {}
            for form, chosen, subscribers in channels.subscribers(channel):
                for link in subscribers:
                    assert link not in found
                    found[link] = form, chosen
            expected = {
                link: (link.form, by)
                for index, link in enumerate(links)
                if (by := model.given_by(index, channel)) is not None
            }
            assert found == expected
    for link in links:
        channels.leave(link)
    assert (len(channels), channels._mixed) == (0, 0)


def test_a_name_that_does_not_conflate_counts_before_one_that_does() -> None:
    """Whatever else they ask for: nothing may be passed over that was asked for in full."""
    channels: Channels[Link] = Channels()
    link = Link(1, 0, None)
    channels.subscribe(link, ["A.x"], CONFLATE)
    channels.subscribe(link, ["A.*"], DELTA)
    assert channels.subscribers("A.x") == [(PLAIN, DELTA, {link})]
