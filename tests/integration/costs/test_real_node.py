"""What a real node says of itself is enough to tell what its traffic costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.nats import NatsServer
from tests.support.node_process import SERVE, clean_environ, node
from wsfleet.costs import Interval, NodeCount, fit
from wsfleet.costs.meter import Meter
from wsfleet.scrape.figures import NodeFigures, parse_status

WAIT_SECONDS = 60.0
INTERVALS_EACH = 3
# Intervals of a second here, not a minute; and nobody is turned away for CPU on a busy machine.
SETTINGS = {"WS_CPU_LIMIT": "100", "WS_CPU_REJECT_THRESHOLD": "94", "WS_CPU_PAUSE_THRESHOLD": "99"}


class Watched:
    """A node's admin port, read as the operator reads it."""

    def __init__(self, admin_port: int) -> None:
        self._address = f"http://127.0.0.1:{admin_port}/status"
        self._meter = Meter(interval_seconds=1.0, young_seconds=1.0)
        self.intervals: list[Interval] = []

    def figures(self) -> NodeFigures:
        with urllib.request.urlopen(self._address, timeout=10) as answer:
            body: Any = json.load(answer)
        return parse_status(body, time.monotonic())

    def wait(self, what: str, holds: Callable[[NodeFigures], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds(self.figures()):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.1)

    def wait_for(self, connections: int) -> None:
        self.wait(f"{connections} connections", lambda figures: figures.connections == connections)

    def wait_for_messages(self) -> None:
        so_far = self.figures().messages_in_total or 0.0
        self.wait("messages", lambda figures: (figures.messages_in_total or 0.0) > so_far)

    def measure(self) -> None:
        """A few more intervals."""
        wanted, deadline = len(self.intervals) + INTERVALS_EACH, time.monotonic() + WAIT_SECONDS
        while len(self.intervals) < wanted:
            assert time.monotonic() < deadline, "no intervals come"
            figures = self.figures()
            count = NodeCount(
                uid="node",
                taken=figures.taken,
                uptime_seconds=figures.uptime_seconds,
                cpu_seconds=figures.cpu_seconds_total,
                deliveries=figures.deliveries_total,
                replayed=figures.replayed_total,
                messages_in=figures.messages_in_total,
                readers=figures.feed_readers or 0,
                connections=figures.connections,
                steady=figures.ready,
            )
            self.intervals += self._meter.observe([count], time.time())
            time.sleep(0.2)


@contextmanager
def command(*arguments: str) -> Iterator[None]:
    """A command of the node's that runs meanwhile."""
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-m", "wsnode", *arguments],
        env=clean_environ(),
        stdin=null,
        stdout=null,
        stderr=null,
    )
    try:
        yield
        assert process.poll() is None, f"{arguments} ended by itself"
    finally:
        process.kill()
        process.wait()


def test_a_real_nodes_own_figures_tell_what_its_traffic_costs(tmp_path: Path) -> None:
    nats = NatsServer(tmp_path).start()
    settings = SERVE | SETTINGS | {"NATS_URL": nats.url}
    try:
        with node(tmp_path, **settings) as process:
            started = process.logged("node started")
            watched = Watched(int(started["admin_port"]))
            address = f"ws://127.0.0.1:{started['port']}/ws"
            under_load(watched, nats, "50")
            for connections in (300, 900):
                with command("load", address, "--connections", str(connections)):
                    watched.wait_for(connections)
                    under_load(watched, nats, "20", "50")
                watched.wait_for(0)
            memory = watched.figures()
    finally:
        nats.kill()
    found = fit(watched.intervals)
    print(found)
    assert found.message_us is not None
    assert 1 < found.message_us < 200
    if found.split:
        assert 0 < found.fixed_us(20) < 500_000
    # Those who took in most say what a message costs them, within the noise of a machine that is shared.
    busiest = sorted(watched.intervals, key=lambda one: one.deliveries)[-3:]
    shares = [(found.fixed_us(one.reads) + one.deliveries * found.message_us) / one.cpu_us for one in busiest]
    assert 0.4 < sorted(shares)[1] < 2.5
    assert memory.memory_over_connections is not None
    assert 600 <= memory.memory_over_connections <= 900
    assert memory.memory_per_connection is not None
    assert 50 < memory.memory_per_connection < 50_000


def under_load(watched: Watched, nats: NatsServer, *rates: str) -> None:
    """Intervals without messages, and at each of these rates."""
    watched.measure()
    for rate in rates:
        sample = ("--rate", rate, "--channels", "1", "--bytes", "300", "--quiet")
        with command("pub", "--url", nats.url, *sample):
            watched.wait_for_messages()
            watched.measure()
