"""What a run consists of, in order, and how long that takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.bench.cases import DENSE_STEPS, OWN, Case, Kind
from tests.bench.servers import Server
from tests.bench.targets import needed_every_run

_START_SECONDS = 5.0
_DENSE_SECONDS = 4.2
"""A step with its warming up."""


@dataclass(frozen=True)
class Item:
    """A group of cases on one server in one run."""

    run: int
    server: Server
    cases: tuple[Case, ...]

    def seconds(self, window: float) -> float:
        """What it takes, about, with windows of this length."""
        return _START_SECONDS + sum(_seconds(case, window, self.server.go) for case in self.cases)


def items(servers: Sequence[Server], cases: Sequence[Case], runs: int) -> list[Item]:
    """All of it: one server after another, run after run, so that a change in the machine meets all.

    A server's group that no target looks at is measured in the first run only.
    """
    found = []
    for run in range(runs):
        for server in servers:
            for _, members in groupby(cases, key=lambda case: case.group):
                group = tuple(case for case in members if server.name == OWN or not case.own)
                needed = any(needed_every_run(server.name, case.name, server.go) for case in group)
                if group and (needed or run == 0):
                    found.append(Item(run, server, group))
    return found


def _seconds(case: Case, window: float, go: bool) -> float:
    if case.kind is Kind.DENSE:
        return _DENSE_SECONDS * (4 if go else len(DENSE_STEPS))
    return {
        Kind.STEADY: window + 3.5,
        Kind.STORM: 4.0,
        Kind.LIVE: window + 4.0,
        Kind.RESUMES: window + 14.0,
        Kind.DROPS: case.seconds + 6.0,
        Kind.TWOFOLD: 2 * window + 8.0 + 7 * _DENSE_SECONDS,
    }[case.kind]
