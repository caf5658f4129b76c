"""Dense traffic: the rate raised until something is full, with one process and with two."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from tests.bench.cases import DENSE_BETWEEN, DENSE_STEPS, Case
from tests.bench.figures import Figures, Step
from tests.bench.processes import BenchError, cpu_seconds, family
from tests.bench.servers import Server
from tests.bench.session import Cores, NotOfferedError, Session, session
from tests.bench.window import window

_STEP_SECONDS = 3.0
_DRAIN_SECONDS = 20.0
_FULL_PERCENT = 97.0
_LATE_MS = 1000.0
_PROCESSES = 2
_LEAST_SHARE = 0.25
"""Of the CPU time, that the less busy of two processes must have spent: else one serves alone."""


def dense(on: Session, case: Case, progress: Callable[[str], None]) -> list[Step]:
    """Raises the rate until a core is full, clients lag or are cut off; then looks below that rate."""
    on.fill(case)
    return raised(on, case, DENSE_STEPS, progress)


def raised(on: Session, case: Case, rates: Sequence[int], progress: Callable[[str], None]) -> list[Step]:
    """The steps, in the order of their rates."""
    steps: list[Step] = []

    def held(rate: float) -> bool:
        progress(f"{case.name} at {rate}/s")
        figures = window(on, rate, min(on.seconds, _STEP_SECONDS))
        steps.append(Step(rate, figures, full(figures, rate * on.crowd.opened)))
        return not steps[-1].why

    too_fast = next((rate for rate in rates if not held(rate)), None)
    for rate in DENSE_BETWEEN.get(too_fast or 0, ()):
        _drained(on)
        if steps[-1].figures["closed"] or not held(rate):
            break
    on.publisher.ask(verb="rate", rate=0)
    return sorted(steps, key=lambda step: step.rate)


def full(figures: Figures, wanted: float) -> str:
    """Why so many deliveries a second were not held; empty where they were."""
    held = figures["deliveries_per_second"] > 0.97 * wanted
    if figures["closed"]:
        return f"{figures['closed']:.0f} clients were cut off"
    if held and figures["p99_ms"] < _LATE_MS:
        return ""
    if figures["server_busy_percent"] > _FULL_PERCENT:
        return "the server's core is full"
    if figures["others_busy_percent"] > _FULL_PERCENT:
        return "the clients' core is full"
    return "late" if held else "fewer arrived than were due"


def twofold(
    server: Server,
    case: Case,
    cores: Cores,
    seconds: float,
    scale: float,
    progress: Callable[[str], None],
) -> Figures:
    """One process with its clients, then two with twice as many, at the same rate: the same work for each.

    Clients, broker and publisher share the same two cores with one process and with two, so what both
    reach is bound by the clients' cost: one process alone fills a core of clients with a third of its own
    (W4). What two could do with the clients elsewhere follows from the CPU a delivery: two cores at the
    cost with two, beside one at the cost with one. The rate is so low that nearly every message is written
    alone; where more is waiting, several go in one write, and that would be taken for scaling.
    """
    both = sorted({*cores.server, *cores.others})
    with session(server, case, Cores(both, both), seconds=seconds, scale=scale, compiled=True) as on:
        on.fill(case)
        one = window(on, case.rate, seconds)
    settings = {"WS_PROCESSES": str(_PROCESSES), "WS_CPU_LIMIT": str(_PROCESSES)}
    try:
        with session(
            server,
            case,
            Cores(both, both),
            seconds=seconds,
            scale=_PROCESSES * scale,
            compiled=True,
            settings=settings,
        ) as on:
            on.fill(case)
            before = {pid: cpu_seconds(pid) for pid in family(on.server.child.pid)}
            two = window(on, case.rate, seconds)
            _two_serve(on, before)
            steps = raised(on, case, [rate for rate in DENSE_STEPS if rate > case.rate], progress)
    except BenchError as error:
        if "WS_PROCESSES" in str(error):
            raise NotOfferedError("several processes are not offered") from error
        raise
    best = max((step for step in steps if not step.why), key=lambda step: step.rate, default=None)
    most = best.figures if best is not None else two
    return {
        "one_us": one["us_per_delivery"],
        "us_per_delivery": two["us_per_delivery"],
        "times_one": _PROCESSES * one["us_per_delivery"] / two["us_per_delivery"],
        "one_deliveries_per_read": one["deliveries_per_read"],
        "deliveries_per_read": two["deliveries_per_read"],
        "one_client_us": one["client_us"],
        "client_us": two["client_us"],
        "p99_ms": two["p99_ms"],
        "deliveries_per_second": most["deliveries_per_second"],
        "core_percent": most["core_percent"],
        "client_percent": most["client_percent"],
    }


def _two_serve(on: Session, before: Mapping[int, float]) -> None:
    """Raises BenchError where only one process works."""
    spent = [cpu_seconds(pid) - before.get(pid, 0.0) for pid in family(on.server.child.pid)]
    busiest = sorted(spent)[-_PROCESSES:]
    if len(busiest) < _PROCESSES or busiest[0] < _LEAST_SHARE * sum(busiest):
        raise BenchError("the connections are not shared by two processes")


def _drained(on: Session) -> None:
    """Nothing is published until what is on its way has come, or will not for long."""
    on.publisher.ask(verb="rate", rate=0)
    end, seen = time.monotonic() + _DRAIN_SECONDS, -1
    while (now := on.crowd.figures()["total"]) != seen and time.monotonic() < end:
        seen = now
        time.sleep(0.5)
