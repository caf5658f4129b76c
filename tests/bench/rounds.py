"""One server, one run: started alone, put under load, measured, ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.cases import Case, Kind
from tests.bench.dense import dense, twofold
from tests.bench.figures import Figures, Step, expected_deliveries
from tests.bench.returning import drops, live, resumes
from tests.bench.servers import Server
from tests.bench.session import Cores, Crowd, NotOfferedError, Session, session
from tests.bench.window import window

_LAST_SECONDS = 3.0
_PLAIN_CLIENTS = 100
_COMPILED = (Kind.DENSE, Kind.LIVE, Kind.RESUMES, Kind.DROPS)
"""Kinds whose client is the one in C."""


@dataclass
class Samples:
    """What one run of a group found."""

    figures: dict[str, Figures] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """How a group is run."""

    cores: Cores
    seconds: float
    scale: float
    progress: Callable[[str], None]


def run_group(server: Server, cases: list[Case], how: Round) -> Samples:
    """All cases of a group on one server. Raises BenchError, and UnavailableError without a compiler."""
    samples = Samples()
    first = cases[0]
    if first.kind is Kind.TWOFOLD:
        how.progress(first.name)
        samples.figures[first.name] = twofold(server, first, how.cores, how.seconds, how.scale, how.progress)
        return samples
    compiled = first.kind in _COMPILED
    with session(server, first, how.cores, seconds=how.seconds, scale=how.scale, compiled=compiled) as on:
        for case in cases:
            how.progress(case.name)
            if case.kind is Kind.DENSE:
                samples.steps = dense(on, case, how.progress)
            else:
                samples.figures[case.name] = _figures(on, case, samples.warnings, how.progress)
    return samples


def _figures(on: Session, case: Case, warnings: list[str], progress: Callable[[str], None]) -> Figures:
    if case.kind is Kind.STORM:
        return _storm(on, case)
    if case.kind is Kind.LIVE:
        return live(on, case)
    if case.kind is Kind.RESUMES:
        return _with_refusals(on, case, resumes(on, case), warnings)
    if case.kind is Kind.DROPS:
        return _with_refusals(on, case, drops(on, case, progress), warnings)
    return _steady(on, case, warnings)


def _with_refusals(on: Session, case: Case, figures: Figures, warnings: list[str]) -> Figures:
    """Tells why clients were refused: the CPU threshold counts what else runs on the node's core too."""
    refused = {why: count for why, count in on.status()["rejections"].items() if count}
    if refused:
        told = ", ".join(f"{count} for {why}" for why, count in refused.items())
        warnings.append(f"{case.name}: the node refused {told}")
    return figures


def _storm(on: Session, case: Case) -> Figures:
    before = on.cpu_seconds()
    answer = on.fill(case)
    assert answer is not None
    spent, opened = on.cpu_seconds() - before, on.crowd.opened
    resident = on.settled_bytes()
    return {
        "us_per_connect": spent / opened * 1e6,
        "connects_per_second": opened / answer["seconds"],
        "seconds": answer["seconds"],
        "idle_kb": (resident - on.base_bytes) / opened / 1024,
    }


def _steady(on: Session, case: Case, warnings: list[str]) -> Figures:
    idle = {}
    if on.fill(case) is not None:
        idle = {"idle_kb": (on.settled_bytes() - on.base_bytes) / on.crowd.opened / 1024}
    if case.dialect == "deflate" and not on.crowd.figures()["deflated"]:
        raise NotOfferedError("deflate is not offered")
    plain = _plain_beside(on, case) if case.dialect == "delta" else None
    first = on.publisher.ask(verb="count")["count"]
    before = on.crowd.figures()["total"]
    figures = window(on, case.rate, on.seconds)
    more = {}
    if plain is not None:
        seen = plain.figures()
        more = {"plain_bytes": seen["bytes"] / max(seen["messages"], 1)}
    last = on.publisher.ask(verb="rate", rate=0)["count"]
    lists = case.subscriptions()
    expected = expected_deliveries(first, last, case.channels, on.crowd.opened, len(lists), case.each)
    end = time.monotonic() + _LAST_SECONDS
    while (got := on.crowd.figures()["total"] - before) < expected and time.monotonic() < end:
        time.sleep(0.1)
    if got != expected:
        warnings.append(f"{case.name}: {got} of {expected} deliveries arrived")
    if figures["foreign_percent"] > 5:
        warnings.append(f"{case.name}: others used {figures['foreign_percent']:.0f} % of the server's core")
    return {**idle, **figures, **more, "missing": float(expected - got)}


def _plain_beside(on: Session, case: Case) -> Crowd:
    """A few clients that get the same messages in full: what they would have cost in bytes."""
    plain = on.another_crowd(on.server.dialect, compiled=False)
    plain.open(min(_PLAIN_CLIENTS, on.crowd.opened), case.subscriptions())
    return plain
