"""All workers as one node: what the admin port sees (`view.NodeView`), summed."""

from __future__ import annotations

import asyncio
import logging
import time

from wsnode import logs
from wsnode.admission import Admission, Figures
from wsnode.certificates import Renewal, status_after
from wsnode.config import Settings
from wsnode.connection_memory import ConnectionMemory, MemoryGrowth
from wsnode.counters import Counters
from wsnode.gauges import Gauges
from wsnode.group import Group
from wsnode.processes.letting_go import LettingGo
from wsnode.processes.messages import Report
from wsnode.processes.sums import joint_feed
from wsnode.processes.supervisor import Supervisor
from wsnode.view import DrainStatus, FeedStatus, ProcessStatus, ShedStatus, TlsStatus, waiting_for_feed
from wsnode.watch import SettingsChange, describe_change

_log = logging.getLogger(__name__)
_SAMPLE_SECONDS = 1.0


class _Parent(Group):
    """The parent among the processes: the CPU and the memory of all of them count."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__()
        self._table = supervisor.table

    def pids(self) -> list[int]:
        return self._table.pids()


class WholeNode:
    """A node of several processes, as its parent shows it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.settings_error: str | None = None
        self.tls = TlsStatus(supervisor.pair.ends_at) if supervisor.pair is not None else None
        self.started_at = time.monotonic()
        self.letting_go = LettingGo(supervisor)
        self._supervisor = supervisor
        self._gauges = Gauges(supervisor.settings.cpu_limit, _Parent(supervisor))
        self._memory_growth = MemoryGrowth()
        self._restarts_seen = 0
        self._admission = Admission(supervisor.settings)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._was_ready = False

    def start(self) -> None:
        """Samples the gauges from now on."""
        self._gauges.lag.start()
        self._sample()

    def stop(self) -> None:
        """Ends sampling."""
        if self._timer is not None:
            self._timer.cancel()
        self._gauges.lag.stop()
        self.letting_go.stop()

    def apply(self, change: SettingsChange) -> None:
        """Takes a changed settings file over in all processes, or notes what is wrong with it."""
        supervisor = self._supervisor
        self.settings_error, supervisor.settings_hash = change.error, change.file_hash
        if change.settings is None:
            _log.error("settings file not taken over", extra=logs.fields(error=change.error))
            return
        before, supervisor.settings = supervisor.settings, change.settings
        supervisor.tell(change)
        self._admission.update(change.settings)
        self._gauges.cpu.limit_cores = change.settings.cpu_limit
        logs.set_level(change.settings.log_level)
        _log.info("settings applied", extra=logs.fields(**describe_change(before, change.settings)))

    def renew(self, renewal: Renewal) -> None:
        """Takes a renewed certificate over in all processes, or notes what is wrong with it."""
        if self.tls is None:
            return
        if renewal.pair is not None:
            self._supervisor.pair = renewal.pair
            self._supervisor.tell(renewal)
        self.tls = status_after(renewal, self.tls)

    # What the admin port sees and may ask.

    @property
    def settings(self) -> Settings:
        return self._supervisor.settings

    @property
    def settings_hash(self) -> str:
        return self._supervisor.settings_hash

    @property
    def counters(self) -> Counters:
        supervisor = self._supervisor
        return supervisor.stream.of([supervisor.gone, *(report.counters for report in self._reports())])

    @property
    def connections(self) -> int:
        return self._supervisor.table.open_but(0)

    @property
    def goroutines(self) -> int:
        # The shards are those of a broadcast, whatever the number of processes that cut it.
        tasks = sum(report.tasks for report in self._reports()) + len(asyncio.all_tasks(self._loop))
        return 2 * self.connections + self.settings.worker_pool_size + tasks

    @property
    def cpu_percent(self) -> float:
        return self._gauges.cpu.percent

    @property
    def cpu_seconds_total(self) -> float:
        workers = sum(report.cpu_seconds for report in self._reports())
        return workers + self._supervisor.cpu_gone + self._gauges.cpu.seconds_total

    @property
    def memory_bytes(self) -> int:
        return self._gauges.memory.bytes

    @property
    def connection_memory(self) -> ConnectionMemory | None:
        return self._memory_growth.figure

    @property
    def loop_lag_seconds(self) -> float:
        return max(self._gauges.lag.seconds, *(p.loop_lag_seconds for p in self.processes.values()))

    @property
    def throttled_seconds(self) -> float:
        return self._gauges.throttle.seconds

    @property
    def feed(self) -> FeedStatus:
        return joint_feed([report.feed for report in self._reports()])

    @property
    def drain(self) -> DrainStatus:
        return self.letting_go.status

    @property
    def shed_left(self) -> int:
        return self.letting_go.shed_left

    @property
    def ready(self) -> bool:
        return self.not_ready_reason is None

    @property
    def not_ready_reason(self) -> str | None:
        if self.letting_go.active:
            return "draining"
        feeds = [report.feed for report in self._reports()]
        seeded = sum(feed.seeded for feed in feeds)
        # At first all have to be, later one is enough: who comes anew takes no clients before it is seeded.
        if seeded and (self._was_ready or (self._supervisor.up.is_set() and seeded == len(feeds))):
            self._was_ready = True
            return None
        return waiting_for_feed(joint_feed(feeds)) if feeds else "no process serves yet"

    @property
    def healthy(self) -> bool:
        return self.ready and self._admission.decide(time.monotonic(), self._figures()) is None

    @property
    def queue_depth(self) -> int:
        # The fullest: each process has a line of its own, and WS_WORKER_QUEUE_SIZE bounds each.
        return max((report.queue_depth for report in self._reports()), default=0)

    @property
    def ring_messages(self) -> int:
        return sum(report.ring_messages for report in self._reports())

    @property
    def ring_bytes(self) -> int:
        return sum(report.ring_bytes for report in self._reports())

    @property
    def processes(self) -> dict[int, ProcessStatus]:
        supervisor = self._supervisor
        shown = {}
        for place in range(1, supervisor.table.rows):
            child = supervisor.children.get(place)
            report = child.report if child is not None else None
            if child is None or report is None:
                shown[place] = ProcessStatus(child.pid if child is not None else 0)
                continue
            # A loop that is stuck can't say how late it is; it beats once a second.
            lag = max(report.lag_seconds, child.silent - 1.0)
            shown[place] = ProcessStatus(
                child.pid,
                supervisor.table.open_of(place),
                report.loop_percent,
                lag,
                report.feed.position,
            )
        return shown

    @property
    def process_restarts(self) -> int:
        return self._supervisor.restarts

    @property
    def stuck_processes(self) -> list[int]:
        return self._supervisor.stuck

    def start_drain(self, rate: float | None) -> None:
        self.letting_go.start(rate)

    def cancel_drain(self) -> None:
        self.letting_go.cancel()

    def shed(self, shed_id: str, target: int, rate: float) -> ShedStatus:
        return self.letting_go.shed(shed_id, target, rate)

    def _reports(self) -> list[Report]:
        return [child.report for child in self._supervisor.children.values() if child.report is not None]

    def _figures(self) -> Figures:
        return Figures(
            connections=self.connections,
            goroutines=self.goroutines,
            cpu_percent=self.cpu_percent,
            memory_bytes=self.memory_bytes,
            loop_lag_seconds=self.loop_lag_seconds,
        )

    def _sample(self) -> None:
        self._timer = self._loop.call_later(_SAMPLE_SECONDS, self._sample)
        now = time.monotonic()
        self._gauges.sample(now)
        self._supervisor.table.set_tasks(0, len(asyncio.all_tasks(self._loop)))
        if self.process_restarts != self._restarts_seen:
            self._restarts_seen = self.process_restarts
            self._memory_growth.reset()
        if self._was_ready:
            self._memory_growth.sample(self.connections, self.memory_bytes - self.ring_bytes)
        self._admission.observe(now, self._figures())
