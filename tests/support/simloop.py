"""An event loop on virtual time: what a test draws from a seed happens again, to the instant.

It has what the node's core asks of a loop, and no more. Every look at the clock takes some of it, so that
slices end amid their work as they do in earnest.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Any, cast

EPOCH_MS = 1_700_000_000_000


class VirtualClock:
    """Stands in for the module `time`. Its time goes on by `tick_seconds` at most with each look at it."""

    def __init__(self, rng: random.Random, tick_seconds: float) -> None:
        self._rng, self._tick_seconds = rng, tick_seconds
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        self.now += self._rng.random() * self._tick_seconds
        return self.now

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        return EPOCH_MS * 1_000_000 + int(self.now * 1e9)


class _Timer:
    """What `call_later` returns."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualLoop:
    """Turns only when told to."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = itertools.count()
        self._readers: dict[int, Callable[[], None]] = {}

    def as_loop(self) -> asyncio.AbstractEventLoop:
        """Itself, under the name that the node's parts know it by."""
        return cast(asyncio.AbstractEventLoop, self)

    def call_soon(self, call: Callable[..., None], *args: Any) -> None:
        self._ready.append(lambda: call(*args))

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> _Timer:
        timer = _Timer(lambda: call(*args))
        heapq.heappush(self._timers, (self.clock.now + delay, next(self._count), timer))
        return timer

    def call_at(self, when: float, call: Callable[..., None], *args: Any) -> _Timer:
        return self.call_later(when - self.clock.now, call, *args)

    def time(self) -> float:
        return self.clock.now

    def add_reader(self, fd: int, call: Callable[[], None]) -> None:
        self._readers[fd] = call

    def remove_reader(self, fd: int) -> None:
        self._readers.pop(fd, None)

    def turn(self) -> None:
        """One turn: what sockets have to say, timers that are due, and what was ready before."""
        for call in list(self._readers.values()):
            call()
        while self._timers and self._timers[0][0] <= self.clock.now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                self._ready.append(timer.call)
        for _ in range(len(self._ready)):
            self._ready.popleft()()

    def idle(self) -> bool:
        """Nothing is to be done before the next timer."""
        return not self._ready

    def skip(self, most_seconds: float) -> None:
        """Lets time pass up to the next timer, but not more than this."""
        until = self.clock.now + most_seconds
        if self._timers:
            until = min(until, max(self._timers[0][0], self.clock.now))
        self.clock.now = until + 1e-6
