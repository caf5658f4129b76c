"""Letting clients go at a pace: a drain empties the node, a shed brings it down to a number.

Each client is told by close code 1012 with the reason `reconnect;after=<ms>` when to come back. The
delays are spread, so that reconnects reach the neighbours no faster than the rate that was asked
for, also where the closes had to be faster because the end was near.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from wsnode.link import CLOSING, OPEN, Link
from wsnode.links import Links
from wsnode.view import DrainState, DrainStatus, InvalidArgumentError, NotNowError, ShedStatus

SERVICE_RESTART = 1012
GOING_AWAY = 1001
_TICK_SECONDS = 0.05
_LEAST_SPREAD_SECONDS, _MOST_SPREAD_SECONDS = 1.0, 30.0
_MOST_RATE = 100_000.0


@dataclass(slots=True)
class _Plan:
    """A drain under way; times are of the monotonic clock."""

    rate: float
    accept_until: float
    end: float
    final: bool
    state: DrainState = "delay"


@dataclass(slots=True)
class _Shed:
    """The last shed asked for.

    Attributes:
        left: closes that it may still do. As many as it was asked for and no more: where clients
            come straight back, the target is out of reach and would have all of them closed for ever.
    """

    id: str
    target: int
    rate: float
    left: int


class Drain:
    """Both ways of letting go. A drain takes precedence and ends a shed.

    In a node of several processes each closes at its share of the rate: of all that are open, its own.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, links: Links, total: Callable[[], int] | None = None
    ) -> None:
        """`total` tells how many clients are open in all of the node; by default these are all."""
        self._loop, self._links = loop, links
        self._total = total or (lambda: links.open_count)
        self._plan: _Plan | None = None
        self._shed: _Shed | None = None
        self._victims: list[Link] = []
        self._owed = 0.0
        self._ticked = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._random = random.Random()
        self.drained = asyncio.Event()

    @property
    def active(self) -> bool:
        """A drain was asked for and not cancelled: the node is not ready."""
        return self._plan is not None

    @property
    def refusing(self) -> bool:
        """New clients are turned away: not yet so during the delay."""
        return self._plan is not None and self._plan.state != "delay"

    @property
    def status(self) -> DrainStatus:
        """How far the drain is."""
        plan, now = self._plan, time.monotonic()
        if plan is None:
            return DrainStatus(remaining=self._links.open_count)
        left = 0.0 if plan.state == "drained" else max(0.0, plan.end - now)
        rate = self._rate(plan, now) if plan.state == "closing" else plan.rate * self._share()
        return DrainStatus(plan.state, self._remaining(), rate, left)

    def start(self, rate: float | None, *, final: bool = False, delay: bool = True) -> None:
        """Starts a drain, or changes the rate of the one under way; `final` ones can't be cancelled.

        Raises:
            InvalidArgumentError: the rate is not allowed.
        """
        settings, now = self._links.settings, time.monotonic()
        if rate is not None:
            rate = _checked_rate(rate)
        if self._plan is not None:
            self._plan.rate = rate or self._plan.rate
            self._plan.final = self._plan.final or final
            return
        rate = rate or settings.drain_rate
        self._shed = None
        self._begin()
        accept_until = now + (settings.drain_delay if delay else 0.0)
        self._plan = _Plan(rate, accept_until, now + settings.drain_timeout, final)

    def cancel(self) -> None:
        """Ends a drain and serves again.

        Raises:
            NotNowError: the node is stopping for good.
        """
        if self._plan is not None and self._plan.final:
            raise NotNowError("the node is stopping for good")
        self._plan = None
        self.drained.clear()

    def shed(self, shed_id: str, target: int, rate: float, closes: int | None = None) -> ShedStatus:
        """Goes down to `target` clients, longest-connected first. The same id again only reports.

        Args:
            target: clients of all of the node.
            rate: closes a second; of this process, where `closes` is given.
            closes: how many this process closes at most; None takes as many as it needs.

        Raises:
            InvalidArgumentError: a value is not allowed.
            NotNowError: a drain is under way.
        """
        if type(target) is not int or target < 0:
            raise InvalidArgumentError("target", target, "a whole number from 0")
        rate = _checked_rate(rate)
        if self._plan is not None:
            raise NotNowError("a drain is under way")
        if self._shed is None or self._shed.id != shed_id:
            needed = max(0, self._total() - target)
            self._shed = _Shed(shed_id, target, rate, needed if closes is None else min(needed, closes))
            self._begin()
        return ShedStatus(self._shed.id, self._shed.target, self.shed_left, self._shed.rate)

    @property
    def shed_id(self) -> str:
        """Of the last shed, empty before the first and after a drain."""
        return self._shed.id if self._shed is not None else ""

    @property
    def shed_left(self) -> int:
        """Closes that the shed under way still has to do."""
        if self._shed is None:
            return 0
        return min(self._shed.left, max(0, self._total() - self._shed.target))

    def ages(self) -> Counter[int]:
        """The second of the monotonic clock -> how many of the open clients came in it."""
        return Counter(link.opened for link in self._links.open_links())

    def stop(self) -> None:
        """Ends the pacing; nothing is closed any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._owed, self._ticked = 0.0, time.monotonic()
        self._victims = []
        if self._timer is None:
            self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        if self._plan is None and (self._shed is None or not self._shed.left):
            self._timer = None
            return
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        now = time.monotonic()
        passed, self._ticked = now - self._ticked, now
        if self._plan is not None:
            self._drain(self._plan, now, passed)
        elif self._shed is not None:
            self._go_down(self._shed, passed)

    def _drain(self, plan: _Plan, now: float, passed: float) -> None:
        if plan.state == "delay":
            if now < plan.accept_until:
                return
            plan.state = "closing"
        if plan.state == "drained":
            return
        rate = self._rate(plan, now)
        spread = self._links.open_count / max(plan.rate * self._share(), 1e-9) - self._links.open_count / rate
        self._close_some(rate * passed, spread, "drain")
        if now >= plan.end:
            self.cut()
        if not self._remaining():
            plan.state = "drained"
            self.drained.set()

    def _rate(self, plan: _Plan, now: float) -> float:
        """The rate asked for, or what is needed for all to be told before the end, and to answer."""
        left = plan.end - now - self._links.settings.close_timeout
        return max(plan.rate * self._share(), self._links.open_count / max(left, _TICK_SECONDS))

    def _share(self) -> float:
        """This process's part of the node's clients, and so of its rate."""
        total = self._total()
        return min(1.0, self._links.open_count / total) if total else 1.0

    def _go_down(self, shed: _Shed, passed: float) -> None:
        before = self._links.open_count
        too_many = min(self._total() - shed.target, shed.left)
        if too_many > 0:
            self._close_some(min(shed.rate * passed, too_many), 0.0, "shed", at_most=too_many)
            shed.left -= before - self._links.open_count
        # At once, or who comes next would be closed for a shed that had reached its target.
        if self._total() <= shed.target:
            shed.left = 0

    def _close_some(self, owed: float, spread: float, why: str, at_most: int = 2**31) -> None:
        """Closes as many as have come due, each with its own time to come back."""
        self._owed = min(self._owed + owed, float(self._links.open_count))
        spread_ms = int(1000 * min(max(spread, _LEAST_SPREAD_SECONDS), _MOST_SPREAD_SECONDS))
        for _ in range(min(int(self._owed), at_most)):
            link = self._next_victim()
            if link is None:
                return
            self._owed -= 1
            reason = f"reconnect;after={self._random.randrange(spread_ms + 1)}"
            self._links.close(link, SERVICE_RESTART, reason, why)

    def _next_victim(self) -> Link | None:
        """The longest connected of those that are open; who comes later is found on the next look."""
        for _ in range(2):
            while self._victims:
                link = self._victims.pop()
                if link.state == OPEN:
                    return link
            self._victims = sorted(self._links.open_links(), key=lambda link: -link.opened)
        return None

    def _remaining(self) -> int:
        """Clients that are open, or were told to go and have not answered yet."""
        return self._links.open_count + len(self._links.with_state(CLOSING))

    def cut(self) -> None:
        """The time is up: who was not told yet is told now, and all go."""
        for link in self._links.open_links():
            self._links.close(link, GOING_AWAY, "shutting down", "shutdown")
        for link in self._links.with_state(CLOSING):
            self._links.drop_overdue(link, link.why)


def _checked_rate(rate: float) -> float:
    if isinstance(rate, bool) or not math.isfinite(rate) or not 0 < rate <= _MOST_RATE:
        raise InvalidArgumentError("rate", rate, f"a number above 0, at most {_MOST_RATE:g}")
    return float(rate)
