"""Clients that count every message while nodes come and go, and what may be said of them in the end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from tests.cluster.release import SYSTEM_NAMESPACE
from tests.support.cluster import Client
from tests.support.release import NATS_SERVICE
from wsnode.load import LoadClient
from wsnode.load_figures import Snapshot
from wsnode.load_options import LoadOptions

CHANNELS = ("BTC.trade", "ETH.trade")
BUDGET_SLACK = 1.2
"""Reconnects a second may be above the budget by a fifth."""
_LOOK_SECONDS = 0.1
_SETTLE_SECONDS = 60.0


def broker_url(cluster: Client) -> str:
    """The NATS of the quick start."""
    return f"nats://{cluster.service_address(NATS_SERVICE, SYSTEM_NAMESPACE)}:4222"


@contextmanager
def publisher(url: str, messages_per_second: float) -> Iterator[subprocess.Popen[bytes]]:
    """Sample prices on all CHANNELS until the block ends."""
    argv = [sys.executable, "-m", "wsnode", "pub", "--url", url, "--quiet"]
    argv += ["--rate", f"{messages_per_second:g}", "--channels", str(len(CHANNELS))]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
            assert process.poll() is None, "the publisher ended"
        finally:
            process.terminate()


class Checking:
    """So many clients of a fleet, that come back and resume; all subscribed when the block begins."""

    def __init__(self, address: str, connections: int, *, rate: float = 200.0, seconds: float = 60.0) -> None:
        self.connections = connections
        self._seconds = seconds
        self._load = LoadClient(
            LoadOptions(
                f"ws://{address}/ws",
                connections=connections,
                rate=rate,
                channels=CHANNELS,
                check=True,
                resume=True,
                retry_longest=3.0,
            )
        )
        self._reconnects: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._load.start()
        try:
            self.all_there(self._seconds)
        except BaseException:
            self._load.stop()
            raise
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._ended.set()
        self._looking.join()
        self._load.stop()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self._reconnects.append((time.monotonic(), self._load.snapshot().reconnects))

    def snapshot(self) -> Snapshot:
        """The figures now."""
        return self._load.snapshot()

    def ramp(self, connections: int, rate: float) -> None:
        """Another number of clients, opened at so many a second; nobody waits for them."""
        self.connections = connections
        self._load.ramp(connections, rate)

    def wait_for(self, condition: Any, seconds: float, what: str) -> Snapshot:
        """The figures once they satisfy a condition."""
        return self._load.wait_for(condition, seconds, what)

    def all_there(self, seconds: float = _SETTLE_SECONDS) -> Snapshot:
        """The figures once all are subscribed."""
        return self._load.wait_for(
            lambda shot: shot.subscribed >= self.connections, seconds, f"{self.connections} clients"
        )

    @property
    def closes(self) -> int:
        """How often a client was closed, whatever for."""
        return sum(self._load.snapshot().closes.values())

    def on(self, node: str) -> int:
        """Clients of one node."""
        found = self._load.snapshot().nodes.get(node)
        return 0 if found is None else int(found["open"])

    def nothing_lost(self) -> Snapshot:
        """Once all are there and have what there is: no message was lost, doubled or late, told or untold."""
        last = self._load.wait_for(
            lambda shot: shot.subscribed >= self.connections and not shot.behind,
            _SETTLE_SECONDS,
            "all clients with all messages",
        )
        assert last.deliveries > 0
        assert (last.lost, last.doubled, last.reordered, last.unasked) == (0, 0, 0, 0), last.notes
        assert (last.told, last.unrecovered, last.missed_while_away) == (0, 0, 0), last.notes
        return last

    def paced(self, closes_a_second: float, window_seconds: float = 3.0) -> None:
        """Clients never came back faster than the budget of closes allows."""
        looks = self._reconnects
        allowed = closes_a_second * BUDGET_SLACK * (window_seconds + 2 * _LOOK_SECONDS)
        for began, before in looks:
            within = [number for at, number in looks if began <= at <= began + window_seconds]
            assert within[-1] - before <= allowed, f"{within[-1] - before} came back in {window_seconds} s"
