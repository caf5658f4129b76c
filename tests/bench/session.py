"""One server under test with what drives it: broker, publishers, load clients; all ended together."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import provide
from tests.bench.cases import LIVE_CLIENTS, Case
from tests.bench.dialects import DIALECTS
from tests.bench.processes import (
    BenchError,
    Child,
    cpu_seconds,
    family,
    pinned,
    python_module,
    resident_bytes,
)
from tests.bench.servers import Place, Running, Server
from tests.support.nats import NatsServer
from wsnode.load_wire import handshake_request

FLIGHT = 256
"""Handshakes in the air at once."""
_CALM_SECONDS = 2.0


class NotOfferedError(BenchError):
    """The server does not have what the case needs."""


@dataclass(frozen=True)
class Cores:
    """Where things run."""

    server: Collection[int]
    others: Collection[int]


@dataclass
class Crowd:
    """A load client's process and how many connections it was told to hold."""

    child: Child
    dialect: str
    compiled: bool
    opened: int = 0

    def open(self, count: int, channels: list[list[str]]) -> dict[str, Any]:
        """Opens so many more, each with the next list of channels. Raises BenchError."""
        what: dict[str, Any] = {"channels": channels}
        if self.compiled:
            what = {"frames": [DIALECTS[self.dialect].subscribe(names).hex() for names in channels]}
        answer = self.child.ask(verb="open", count=count, flight=FLIGHT, **what)
        if answer["opened"] != count:
            reasons = [f"{n} x {why}" for why, n in answer["failed"].items() if n]
            refused = ", ".join(reasons) or "no acknowledgement"
            raise BenchError(f"{answer['opened']} of {count} connections opened: {refused}")
        self.opened += count
        return answer

    def figures(self, **more: Any) -> dict[str, Any]:
        """What the window saw until now."""
        return self.child.ask(verb="figures", **more)


@dataclass
class Session:
    """A running server with its load client and publisher."""

    server: Running
    cores: Cores
    folder: Path
    stack: contextlib.ExitStack
    crowd: Crowd
    publisher: Child
    seconds: float
    scale: float
    base_bytes: int = 0
    """Resident bytes of the server before its first client."""
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1000)))

    def count(self, connections: int) -> int:
        """Connections of a case, at the scale of this run."""
        return max(int(connections * self.scale), 1)

    def fill(self, case: Case) -> dict[str, Any] | None:
        """Opens what is still missing of the case's connections. Raises BenchError."""
        missing = self.count(case.connections) - self.crowd.opened
        return self.crowd.open(missing, case.subscriptions()) if missing > 0 else None

    def cpu_seconds(self) -> float:
        """Of all the server's processes."""
        return sum(cpu_seconds(pid) for pid in family(self.server.child.pid))

    def resident_bytes(self) -> int:
        """Of all the server's processes."""
        return sum(resident_bytes(pid) for pid in family(self.server.child.pid))

    def settled_bytes(self) -> int:
        """Resident bytes, once what was just done is over."""
        time.sleep(_CALM_SECONDS)
        return self.resident_bytes()

    def another_crowd(self, dialect: str, *, compiled: bool) -> Crowd:
        """One more load client. It yields the core to the first, whose latency must not be its doing."""
        return _crowd(self, dialect, compiled=compiled, yielding=True)

    def another_publisher(self, channels: list[str], ticks: str = "ticks") -> Child:
        """One more publisher, beside the first."""
        return _publisher(self, channels, ticks)

    def status(self) -> dict[str, Any]:
        """The node's own `/status`. Raises BenchError."""
        url = f"http://127.0.0.1:{self.server.admin}/status"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                values: dict[str, Any] = json.load(answer)
                return values
        except OSError as error:
            raise BenchError(f"the node's status cannot be had: {error}") from error


@contextlib.contextmanager
def session(
    server: Server,
    case: Case,
    cores: Cores,
    *,
    seconds: float,
    scale: float,
    compiled: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """Starts broker, server, load client and publisher; ends them all. Raises BenchError."""
    with TemporaryDirectory(prefix="wsfleet-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        broker = NatsServer(folder)
        stack.callback(broker.stop)
        with pinned(cores.others):
            broker.start()
        most = 2 * case.connections + LIVE_CLIENTS
        place = Place(folder, cores.server, broker.port, most, {**case.settings, **(settings or {})})
        running = server.start(place)
        stack.callback(running.child.end)
        on = Session(running, cores, folder, stack, None, None, seconds, scale)  # type: ignore[arg-type]
        on.crowd = _crowd(on, case.dialect or running.dialect, compiled=compiled)
        on.publisher = _publisher(on, case.channel_names(), case.ticks)
        on.base_bytes = on.settled_bytes()
        yield on


def _crowd(on: Session, dialect: str, *, compiled: bool, yielding: bool = False) -> Crowd:
    argv: list[str | Path] = [*python_module("tests.bench.clients"), dialect, str(on.server.port)]
    if compiled:
        speaks = DIALECTS[dialect]
        host = f"127.0.0.1:{on.server.port}"
        request, _ = handshake_request(host, speaks.path, speaks.headers)
        kind = "node" if dialect == "node" else "other"
        words = [
            request.decode(),
            speaks.ack.decode(),
            speaks.ping.decode(),
            speaks.answer(speaks.ping).hex(),
        ]
        argv = [provide.client(lambda _: None), str(on.server.port), kind, *words]
    if yielding:
        argv = ["nice", "-n", "10", *argv]
    return Crowd(_child(on, "clients", argv), dialect, compiled)


def _publisher(on: Session, channels: list[str], ticks: str) -> Child:
    kind, port = on.server.publish
    words = [kind, str(port), ",".join(channels), ticks]
    publisher = _child(on, "publisher", [*python_module("tests.bench.publisher"), *words])
    publisher.ask(verb="count")
    return publisher


def _child(on: Session, name: str, argv: list[str] | list[str | Path]) -> Child:
    log = on.folder / f"{name}-{next(on.numbers)}"
    return on.stack.enter_context(Child(argv, on.cores.others, log, commanded=True))
