"""Drain and shed of a node of several processes: who lets how many go.

A drain's rate is cut by the workers themselves, each takes its share of all that are open. A shed asks
first how long everybody is connected, and then tells each worker how many are its to close.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from wsnode.logs import fields
from wsnode.processes.child import Child
from wsnode.processes.messages import Ages, Cut, GoDown, LetGo, Report, Stay, TellAges
from wsnode.processes.sums import split_closes
from wsnode.processes.supervisor import Supervisor
from wsnode.view import DrainStatus, NotNowError, ShedStatus

_log = logging.getLogger(__name__)
_AGES_SECONDS = 2.0
_REPORTED_WITHIN_SECONDS = 1.0
"""A worker that hangs says nothing, and must not hide how far the others are."""


@dataclass(slots=True)
class _Plan:
    """The drain under way; times are of the monotonic clock."""

    rate: float
    accept_until: float
    end: float
    final: bool


@dataclass(slots=True)
class _Shed:
    """The last shed asked for.

    Attributes:
        ages: what the workers answered, by their number; `answered` when all have.
        told: every worker knows its part.
        left: closes that are still to be done, by the number of the worker.
    """

    id: str
    target: int
    rate: float
    ages: dict[int, Ages] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    told: bool = False
    left: dict[int, int] = field(default_factory=dict)


class LettingGo:
    """Both ways of it, over all workers. Arguments come checked: by the admin port, or from settings.

    Attributes:
        drained: set while a drain has emptied the node.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.drained = asyncio.Event()
        self._supervisor = supervisor
        self._plan: _Plan | None = None
        self._shed: _Shed | None = None
        self._telling: asyncio.Task[None] | None = None
        supervisor.on_heard = self._heard
        supervisor.on_ended = self._look_if_drained

    @property
    def active(self) -> bool:
        """A drain was asked for and not cancelled."""
        return self._plan is not None

    @property
    def status(self) -> DrainStatus:
        """How far the drain is."""
        supervisor, plan, now = self._supervisor, self._plan, time.monotonic()
        connections = supervisor.table.open_but(0)
        if plan is None:
            return DrainStatus(remaining=connections)
        if self.drained.is_set():
            return DrainStatus("drained", 0, plan.rate, 0.0)
        left = max(0.0, plan.end - now)
        parts = [child.report.drain for child in supervisor.children.values() if child.report is not None]
        still_accepting = any(part.state in ("none", "delay") for part in parts)
        if now < plan.accept_until or (
            still_accepting and now < plan.accept_until + _REPORTED_WITHIN_SECONDS
        ):
            return DrainStatus("delay", connections, plan.rate, left)
        closing = [part for part in parts if part.state == "closing"]
        remaining = max(connections, sum(part.remaining for part in closing))
        rate = sum(part.rate_per_second for part in closing) or plan.rate
        return DrainStatus("closing", remaining, rate, left)

    def start(self, rate: float | None, *, final: bool = False, delay: bool = True) -> None:
        """Starts a drain, or changes the rate of the one under way; `final` ones can't be cancelled."""
        supervisor, now = self._supervisor, time.monotonic()
        settings = supervisor.settings
        if self._plan is None:
            accept_until = now + (settings.drain_delay if delay else 0.0)
            self._plan = _Plan(settings.drain_rate, accept_until, now + settings.drain_timeout, final)
            self._end_shed()
            supervisor.replace(False)
        self._plan.rate = rate or self._plan.rate
        self._plan.final = self._plan.final or final
        if final:
            supervisor.kill_unopened()
        supervisor.tell(LetGo(self._plan.rate, final, delay))
        self._look_if_drained()

    def cancel(self) -> None:
        """Ends a drain and serves again.

        Raises:
            NotNowError: the node is stopping for good.
        """
        if self._plan is None:
            return
        if self._plan.final:
            raise NotNowError("the node is stopping for good")
        self._plan = None
        self.drained.clear()
        for child in self._supervisor.children.values():
            if child.report is not None:  # what it said of this drain must not count for the next
                child.report = dataclasses.replace(child.report, drain=DrainStatus())
        self._supervisor.tell(Stay())
        self._supervisor.replace(True)

    def cut(self) -> None:
        """The time is up: all go."""
        self._supervisor.tell(Cut())

    def shed(self, shed_id: str, target: int, rate: float) -> ShedStatus:
        """Goes down to `target` clients, longest-connected first. The same id again only reports.

        Raises:
            NotNowError: a drain is under way.
        """
        if self._plan is not None:
            raise NotNowError("a drain is under way")
        if self._shed is None or self._shed.id != shed_id:
            self._end_shed()
            self._shed = _Shed(shed_id, target, rate)
            self._telling = asyncio.create_task(self._go_down(self._shed))
        return ShedStatus(self._shed.id, self._shed.target, self.shed_left, self._shed.rate)

    @property
    def shed_left(self) -> int:
        """Closes that the shed under way still has to do."""
        shed = self._shed
        if shed is None:
            return 0
        left = max(0, self._supervisor.table.open_but(0) - shed.target)
        if shed.told:
            left = min(left, sum(shed.left.get(pid, 0) for pid in self._supervisor.pids))
        return left

    def stop(self) -> None:
        """Nothing is told to the workers any more."""
        self._end_shed()

    def _end_shed(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        self._shed = None

    async def _go_down(self, shed: _Shed) -> None:
        supervisor = self._supervisor
        supervisor.tell(TellAges(shed.id))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGES_SECONDS):
                await shed.answered.wait()
        there = [child for child in supervisor.children.values() if child.pid in shed.ages]
        too_many = max(0, supervisor.table.open_but(0) - shed.target)
        closes = split_closes([shed.ages[child.pid].opened for child in there], too_many)
        for child, count in zip(there, closes, strict=True):
            if count:
                shed.left[child.pid] = count
                rate = shed.rate * count / sum(closes)
                child.line.say(GoDown(shed.id, shed.target, rate, count))
        shed.told = True
        _log.info("clients are let go", extra=fields(shed=shed.id, closes=closes))

    def _heard(self, child: Child, said: Any) -> None:
        shed = self._shed
        if isinstance(said, Ages) and shed is not None and shed.id == said.shed_id:
            shed.ages[child.pid] = said
            if shed.ages.keys() >= self._supervisor.pids:
                shed.answered.set()
        elif isinstance(said, Report):
            if shed is not None and said.shed_id == shed.id:
                shed.left[child.pid] = said.shed_left
            self._look_if_drained()

    def _look_if_drained(self) -> None:
        if self._plan is None:
            return
        reports = [child.report for child in self._supervisor.children.values()]
        if all(report is not None and report.drain.state == "drained" for report in reports):
            self.drained.set()
