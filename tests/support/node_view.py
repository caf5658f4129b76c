"""A node's figures as plain values, for what shows them: admin port and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from wsnode.config import Settings
from wsnode.connection_memory import ConnectionMemory
from wsnode.counters import Counters
from wsnode.view import DrainStatus, FeedStatus, NotNowError, ProcessStatus, ShedStatus, TlsStatus


@dataclass
class Figures:
    """Implements `wsnode.view.NodeView`; the verbs note what they were asked."""

    settings: Settings = field(default_factory=Settings)
    settings_error: str | None = None
    settings_hash: str = ""
    tls: TlsStatus | None = None
    counters: Counters = field(default_factory=Counters)
    connections: int = 0
    goroutines: int = 260
    cpu_percent: float = 1.5
    cpu_seconds_total: float = 2.25
    memory_bytes: int = 50 * 2**20
    connection_memory: ConnectionMemory | None = field(default_factory=lambda: ConnectionMemory(900, 800))
    loop_lag_seconds: float = 0.001
    throttled_seconds: float = 0.0
    feed: FeedStatus = field(
        default_factory=lambda: FeedStatus(connected=True, seeded=True, position=7, epoch="e")
    )
    drain: DrainStatus = field(default_factory=DrainStatus)
    shed_left: int = 0
    ready: bool = True
    not_ready_reason: str | None = None
    healthy: bool = True
    queue_depth: int = 0
    ring_messages: int = 3
    ring_bytes: int = 300
    started_at: float = field(default_factory=time.monotonic)
    processes: dict[int, ProcessStatus] = field(default_factory=lambda: {1: ProcessStatus(4711)})
    process_restarts: int = 0
    stuck_processes: tuple[int, ...] = ()
    asked: list[Any] = field(default_factory=list)
    stopping: bool = False

    def start_drain(self, rate: float | None) -> None:
        self.asked.append(("drain", rate))
        self.drain = DrainStatus("delay", self.connections, rate or self.settings.drain_rate, 300.0)

    def cancel_drain(self) -> None:
        if self.stopping:
            raise NotNowError("the node is stopping")
        self.asked.append(("cancel",))
        self.drain = DrainStatus()

    def shed(self, shed_id: str, target: int, rate: float) -> ShedStatus:
        self.asked.append(("shed", shed_id, target, rate))
        return ShedStatus(shed_id, target, max(self.connections - target, 0), rate)
