"""Figures of several processes as figures of one node. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from wsnode.counters import Counters
from wsnode.view import FeedStatus

OF_THE_STREAM = ("messages_in", "bytes_in", "bad_payloads", "stream_holes")
"""Counted by each process alike, since each reads the whole stream."""


def add_counters(into: Counters, more: Counters) -> None:
    """Adds all of `more`."""
    for name, value in vars(more).items():
        setattr(into, name, _sum(getattr(into, name), value))


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, list):
        return [first + second for first, second in zip(one, other, strict=True)]
    return one + other


def count_lost(counters: Counters, held: int) -> None:
    """Adds the end of the connections that a process held when it ended, `held` as its table said last.

    Its counts are up to a second older: who came since is counted as let in, who went meanwhile as lost.
    """
    counted = counters.connections_opened - counters.connections_closed.total()
    counters.connections_opened += max(0, held - counted)
    lost = max(held, counted)
    if lost:
        counters.connections_closed["crash"] += lost


class StreamCount:
    """What every process counts of the same stream, counted once: as its longest-lived reader sees it.

    Attributes:
        total: a `Counters` of which only OF_THE_STREAM is used.
    """

    def __init__(self) -> None:
        self.total = Counters()
        self._seen: dict[Hashable, Counters] = {}  # in the order in which they came

    def note(self, reader: Hashable, counters: Counters) -> None:
        """Takes a reader's latest report in."""
        before = self._seen.get(reader)
        self._seen[reader] = counters
        if reader != next(iter(self._seen)):
            return
        for name in OF_THE_STREAM:
            now, then = getattr(counters, name), getattr(before, name) if before is not None else None
            more = now if then is None else now - then
            setattr(self.total, name, _sum(getattr(self.total, name), more))

    def forget(self, reader: Hashable) -> None:
        """A reader is gone; the next in age goes on from what it said last."""
        self._seen.pop(reader, None)

    def of(self, parts: Iterable[Counters]) -> Counters:
        """Sums of the parts, with what is the stream's counted once."""
        whole = Counters()
        for part in parts:
            add_counters(whole, part)
        for name in OF_THE_STREAM:
            value = getattr(self.total, name)
            setattr(whole, name, Counter(value) if isinstance(value, Counter) else value)
        return whole


def joint_feed(feeds: Sequence[FeedStatus]) -> FeedStatus:
    """Where the node stands: as far as the one that is furthest behind, and connected when all are.

    `seeded` when one is: its clients can resume, and who is not seeded takes none.
    """
    if not feeds:
        return FeedStatus()
    seeded = [feed for feed in feeds if feed.seeded] or feeds
    furthest = max(seeded, key=lambda feed: feed.position)
    same = [feed for feed in seeded if feed.epoch == furthest.epoch]
    return FeedStatus(
        connected=all(feed.connected for feed in seeded),
        paused=any(feed.paused for feed in seeded),
        seeded=any(feed.seeded for feed in feeds),
        position=min(feed.position for feed in same),
        lag=max(feed.lag for feed in same),
        epoch=furthest.epoch,
        oldest=max(feed.oldest for feed in same),
        problem=next((feed.problem for feed in feeds if feed.problem is not None), None),
        trouble=next((feed.trouble for feed in (*seeded, *feeds) if feed.trouble is not None), None),
        stream=furthest.stream or next((feed.stream for feed in feeds if feed.stream is not None), None),
    )


def split_closes(opened: Sequence[Mapping[int, int]], wanted: int) -> list[int]:
    """How many each worker closes, so that of all clients the longest-connected `wanted` go.

    Of those that came in the last second in question each worker closes its part.

    Args:
        opened: for each worker, the second in which clients came -> how many.
    """
    of_all: Counter[int] = Counter()
    for part in opened:
        of_all.update(part)
    closes = [0] * len(opened)
    for second in sorted(of_all):
        here = [part.get(second, 0) for part in opened]
        if of_all[second] > wanted:
            here = _in_parts(here, wanted)
        closes = [before + more for before, more in zip(closes, here, strict=True)]
        wanted -= sum(here)
        if not wanted:
            break
    return closes


def _in_parts(sizes: Sequence[int], wanted: int) -> list[int]:
    """`wanted`, at most all, cut in proportion to the sizes; the largest remainders are rounded up."""
    total = sum(sizes)
    parts = [size * wanted // total for size in sizes]
    remainders = sorted(range(len(sizes)), key=lambda index: -(sizes[index] * wanted % total))
    for index in remainders[: wanted - sum(parts)]:
        parts[index] += 1
    return parts
