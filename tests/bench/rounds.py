"""One server, one run: started alone, put under load, measured, ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.cases import DENSE_BETWEEN, DENSE_STEPS, LIVE_CLIENTS, Case, Kind
from tests.bench.figures import Figures, Step, expected_deliveries
from tests.bench.processes import (
    BenchError,
    Child,
    core_busy_seconds,
    cpu_seconds,
    pinned,
    python_module,
    resident_bytes,
)
from tests.bench.servers import Place, Running, Server
from tests.support.nats import NatsServer

_FLIGHT = 256
"""Handshakes in the air at once."""
_WARM_SECONDS = 1.0
_CALM_SECONDS = 2.0
_LAST_SECONDS = 3.0
_STEP_SECONDS = 5.0
_DRAIN_SECONDS = 20.0
_FULL_PERCENT = 97.0
_LATE_MS = 1000.0
_STORM_CHANNEL = "STORM.none"
"""Nobody publishes to it: whoever storms in costs no deliveries."""


class NotOfferedError(Exception):
    """The server does not have what the case needs."""


@dataclass(frozen=True)
class Cores:
    """Where things run."""

    server: int
    others: int


@dataclass
class Session:
    """A running server with its load client and publisher."""

    server: Running
    cores: Cores
    clients: Child
    publisher: Child
    seconds: float
    scale: float
    opened: int = 0
    base_bytes: int = 0
    """Resident bytes of the server before its first client."""

    def count(self, connections: int) -> int:
        """Connections of a case, at the scale of this run."""
        return max(int(connections * self.scale), 1)


@contextlib.contextmanager
def session(server: Server, case: Case, cores: Cores, seconds: float, scale: float) -> Iterator[Session]:
    """Starts broker, server, load client and publisher; ends them all. Raises BenchError."""
    with TemporaryDirectory(prefix="wsfleet-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        with pinned(cores.others):
            broker = NatsServer(folder).start()
        stack.callback(broker.stop)
        running = server.start(Place(folder, cores.server, broker.port, case.connections + LIVE_CLIENTS))
        stack.enter_context(running.child)
        dialect = "deflate" if case.deflate else running.dialect
        argv = [*python_module("tests.bench.clients"), dialect, str(running.port)]
        clients = stack.enter_context(Child(argv, cores.others, folder / "clients", commanded=True))
        kind, port = running.publish
        argv = [*python_module("tests.bench.publisher"), kind, str(port), ",".join(case.channel_names())]
        publisher = stack.enter_context(Child(argv, cores.others, folder / "publisher", commanded=True))
        publisher.ask(verb="count")
        base = _settled_bytes(running.child.pid)
        yield Session(running, cores, clients, publisher, seconds, scale, base_bytes=base)


@dataclass
class Samples:
    """What one run of a group found."""

    figures: dict[str, Figures] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run_group(
    server: Server,
    cases: list[Case],
    cores: Cores,
    *,
    seconds: float,
    scale: float,
    progress: Callable[[str], None],
) -> Samples:
    """All cases of a group on one server. Raises BenchError and NotOfferedError."""
    samples = Samples()
    with session(server, cases[0], cores, seconds, scale) as on:
        for case in cases:
            progress(case.name)
            if case.kind is Kind.STORM:
                samples.figures[case.name] = _storm(on, case)
            elif case.kind is Kind.LIVE:
                samples.figures[case.name] = _live(on, case)
            elif case.kind is Kind.DENSE:
                samples.steps = _dense(on, case, progress)
            else:
                _open(on, case)
                samples.figures[case.name] = _steady(on, case, samples.warnings)
    return samples


def _open(on: Session, case: Case, connections: int = 0, channels: list[list[str]] | None = None) -> Any:
    """Opens what is still missing of the case's connections. Raises BenchError and NotOfferedError."""
    wanted = (connections or on.count(case.connections)) - on.opened
    if wanted <= 0:
        return None
    lists = channels or case.subscriptions()
    answer = on.clients.ask(verb="open", count=wanted, channels=lists, flight=_FLIGHT)
    if answer["opened"] != wanted:
        refused = ", ".join(f"{n} x {why}" for why, n in answer["failed"].items()) or "no acknowledgement"
        raise BenchError(f"{answer['opened']} of {wanted} connections opened: {refused}")
    on.opened += wanted
    return answer


def _storm(on: Session, case: Case) -> Figures:
    before = cpu_seconds(on.server.child.pid)
    answer = _open(on, case)
    spent = cpu_seconds(on.server.child.pid) - before
    resident = _settled_bytes(on.server.child.pid)
    return {
        "us_per_connect": spent / on.opened * 1e6,
        "connects_per_second": on.opened / answer["seconds"],
        "seconds": answer["seconds"],
        "idle_kb": (resident - on.base_bytes) / on.opened / 1024,
    }


def _live(on: Session, case: Case) -> Figures:
    """Latency of those who are there already, first quiet, then while the others come."""
    _open(on, case, on.count(LIVE_CLIENTS))
    quiet = _window(on, case.rate, on.seconds)
    on.publisher.ask(verb="rate", rate=case.rate)
    time.sleep(_WARM_SECONDS)
    on.clients.ask(verb="reset")
    live = on.opened
    answer = _open(on, case, live + on.count(case.connections), [[_STORM_CHANNEL]])
    # The last message of the storm is still to be read.
    time.sleep(1 / case.rate)
    storm = on.clients.ask(verb="figures")
    on.publisher.ask(verb="rate", rate=0)
    return {
        "quiet_p99_ms": quiet["p99_ms"],
        "storm_p99_ms": storm["latency_ms"].get("p99", 0.0),
        "seconds": answer["seconds"],
    }


def _steady(on: Session, case: Case, warnings: list[str]) -> Figures:
    first = on.publisher.ask(verb="count")["count"]
    before = on.clients.ask(verb="figures")["total"]
    figures = _window(on, case.rate, on.seconds)
    last = on.publisher.ask(verb="rate", rate=0)["count"]
    lists = case.subscriptions()
    expected = expected_deliveries(first, last, case.channels, on.opened, len(lists), case.each)
    end = time.monotonic() + _LAST_SECONDS
    while (got := on.clients.ask(verb="figures")["total"] - before) < expected and time.monotonic() < end:
        time.sleep(0.1)
    if got != expected:
        warnings.append(f"{case.name}: {got} of {expected} deliveries arrived")
    if figures["foreign_percent"] > 5:
        warnings.append(f"{case.name}: others used {figures['foreign_percent']:.0f} % of the server's core")
    return {**figures, "missing": float(expected - got)}


def _window(on: Session, rate: float, seconds: float) -> dict[str, float]:
    """Figures of steady traffic; the publisher goes on."""
    pid = on.server.child.pid
    on.publisher.ask(verb="rate", rate=rate)
    time.sleep(_WARM_SECONDS)
    on.clients.ask(verb="reset")
    cpu, server, others = _cpu(on, pid)
    time.sleep(seconds)
    cpu_after, server_after, others_after = _cpu(on, pid)
    seen = on.clients.ask(verb="figures")
    spent, span = cpu_after - cpu, seen["seconds"]
    latency: dict[str, float] = seen["latency_ms"]
    return {
        "us_per_delivery": spent / max(seen["messages"], 1) * 1e6,
        "core_percent": spent / span * 100,
        "p50_ms": latency.get("p50", 0.0),
        "p99_ms": latency.get("p99", 0.0),
        "deliveries_per_second": seen["messages"] / span,
        "bytes_per_delivery": seen["bytes"] / max(seen["messages"], 1),
        "deliveries_per_read": seen["messages"] / max(seen["reads"], 1),
        "resident_kb": (resident_bytes(pid) - on.base_bytes) / on.opened / 1024,
        "client_percent": seen["cpu_seconds"] / span * 100,
        "others_core_percent": (others_after - others) / span * 100,
        "foreign_percent": max((server_after - server - spent) / span * 100, 0.0),
        "closed": sum(seen["lost"].values()),
    }


def _dense(on: Session, case: Case, progress: Callable[[str], None]) -> list[Step]:
    """Raises the rate until a core is full, clients lag or are cut off; then looks below that rate."""
    _open(on, case)
    steps: list[Step] = []

    def held(rate: float) -> bool:
        progress(f"{case.name} at {rate}/s")
        figures = _window(on, rate, min(on.seconds, _STEP_SECONDS))
        steps.append(Step(rate, figures, _full(figures, rate * on.opened)))
        return not steps[-1].why

    too_fast = next((rate for rate in DENSE_STEPS if not held(rate)), None)
    for rate in DENSE_BETWEEN.get(too_fast or 0, ()):
        _drained(on)
        if steps[-1].figures["closed"] or not held(rate):
            break
    on.publisher.ask(verb="rate", rate=0)
    return sorted(steps, key=lambda step: step.rate)


def _drained(on: Session) -> None:
    """Nothing is published until what is on its way has come, or will not for long."""
    on.publisher.ask(verb="rate", rate=0)
    end, seen = time.monotonic() + _DRAIN_SECONDS, -1
    while (now := on.clients.ask(verb="figures")["total"]) != seen and time.monotonic() < end:
        seen = now
        time.sleep(0.5)


def _full(figures: Figures, wanted: float) -> str:
    """Why a rate was not held; empty where it was."""
    held = figures["deliveries_per_second"] > 0.97 * wanted
    if figures["closed"]:
        return f"{figures['closed']:.0f} clients were cut off"
    if held and figures["p99_ms"] < _LATE_MS:
        return ""
    if figures["core_percent"] + figures["foreign_percent"] > _FULL_PERCENT:
        return "the server's core is full"
    if figures["others_core_percent"] > _FULL_PERCENT:
        return "the clients' core is full"
    return "late" if held else "fewer arrived than were due"


def _settled_bytes(pid: int) -> int:
    """Resident bytes, once what was just done is over."""
    time.sleep(_CALM_SECONDS)
    return resident_bytes(pid)


def _cpu(on: Session, pid: int) -> tuple[float, float, float]:
    return cpu_seconds(pid), core_busy_seconds(on.cores.server), core_busy_seconds(on.cores.others)


def offers(server: Server, case: Case, cores: Cores) -> None:
    """One client of the case, where servers may lack what it needs. Raises NotOfferedError, BenchError."""
    if not case.own:
        return
    probe = replace(case, connections=1)
    with session(server, probe, cores, 0.0, 1.0) as on:
        what = "patterns" if case.patterns else "deflate"
        try:
            _open(on, probe)
        except BenchError as error:
            raise NotOfferedError(f"{server.title} does not offer {what} yet") from error
        if case.deflate and not on.clients.ask(verb="figures")["deflated"]:
            raise NotOfferedError(f"{server.title} does not offer deflate yet")
        if case.patterns:
            figures = _window(on, 200, 1.0)
            if not figures["deliveries_per_second"]:
                raise NotOfferedError("messages of a pattern do not arrive")
