"""How loaded the node is: CPU, memory, and how late the event loop runs.

The CPU figure decides who gets in, so it must not flatter. CPU time alone reads 51 % where a
0.5-core quota is used up, and 56 % where one full loop of a 1.8-core limit can do no more. So it
is the greater of two: CPU time of the node's processes against WS_CPU_LIMIT, and for the busiest loop
thread the time it ran or waited to run (`schedstat`) against the clock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsnode.cgroup import Cgroup, find_cgroup
from wsnode.group import Group

logger = logging.getLogger("wsnode.gauges")

CPU_WINDOW_SECONDS = 5.0
LAG_INTERVAL_SECONDS = 0.25
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def process_cpu_seconds(pid: int, proc: Path = Path("/proc")) -> float | None:
    """CPU time of all threads of a process since its start, None when it is gone."""
    try:
        # The clock that clock_getcpuclockid(3) makes: exact, where /proc counts in hundredths.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return _ticks_seconds(proc / str(pid))


def _ticks_seconds(directory: Path) -> float | None:
    """User and system time of a process or thread, as proc(5) counts it."""
    try:
        fields = (directory / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    except (OSError, ValueError, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the window keeps: seconds by the clock, percent of the limit, percent a loop thread by process."""

    wall: float
    percent: float
    loops: Mapping[int, float]


class CpuGauge:
    """CPU in use, in percent of the limit; call `sample` each second.

    Attributes:
        limit_cores: WS_CPU_LIMIT; may be changed at any time.
        percent: average over the last 5 s. Time before a process's first sample counts as idle: the
            work of starting is no load that a client should be turned away for.
        seconds_total: CPU time of this process at the last sample.
    """

    def __init__(
        self,
        limit_cores: float,
        pids: Callable[[], Sequence[int]] = lambda: (os.getpid(),),
        *,
        proc: Path = Path("/proc"),
        cpu_seconds: Callable[[int], float | None] = process_cpu_seconds,
    ) -> None:
        """`pids` gives the node's processes at each sample; each runs its event loop in its main thread."""
        self.limit_cores = limit_cores
        self.percent = 0.0
        self._pids, self._proc, self._cpu_seconds = pids, proc, cpu_seconds
        self.seconds_total = cpu_seconds(os.getpid()) or 0.0
        self._has_schedstat = True
        self._at: float | None = None
        self._used: dict[int, float | None] = {}
        self._busy: dict[int, float | None] = {}
        self._window: deque[_Sample] = deque()

    def sample(self, now: float) -> float:
        """Takes a sample at `now` (monotonic seconds) and returns `percent`."""
        pids = self._pids()
        used = {pid: self._cpu_seconds(pid) for pid in pids}
        busy = {pid: self._busy_seconds(pid) for pid in pids}
        at, self._at = self._at, now
        used_before, self._used = self._used, used
        busy_before, self._busy = self._busy, busy
        self.seconds_total = used.get(os.getpid()) or self.seconds_total
        if at is None or now <= at:
            return self.percent
        wall = now - at
        loops = {pid: 100 * spent / wall for pid, spent in _spent(busy_before, busy).items()}
        of_limit = 100 * sum(_spent(used_before, used).values()) / (wall * self.limit_cores)
        self._window.append(_Sample(wall, max(0.0, of_limit, *loops.values()), loops))
        while len(self._window) > 1 and self._seconds - self._window[0].wall >= CPU_WINDOW_SECONDS - 1e-6:
            self._window.popleft()
        self.percent = self._mean(lambda sample: sample.percent)
        return self.percent

    def loop_percent(self, pid: int) -> float:
        """Of the time, in which a process's event loop ran or waited to run; over the same 5 s."""
        return self._mean(lambda sample: sample.loops.get(pid, 0.0))

    @property
    def _seconds(self) -> float:
        return sum(sample.wall for sample in self._window)

    def _mean(self, of: Callable[[_Sample], float]) -> float:
        weighted = sum(sample.wall * of(sample) for sample in self._window)
        return weighted / max(self._seconds, CPU_WINDOW_SECONDS)

    def _busy_seconds(self, pid: int) -> float | None:
        """Time a loop has run or waited for a CPU; only the time it ran where the kernel tells no more."""
        task = self._proc / str(pid) / "task" / str(pid)
        if self._has_schedstat:
            try:
                run, delay = (int(word) for word in (task / "schedstat").read_text().split()[:2])
                # A kernel built without SCHED_INFO shows zeros, and a thread that reads has run.
                if run:
                    return (run + delay) / 1e9
            except (OSError, ValueError):
                if not task.exists():
                    return None
            self._has_schedstat = False
            self._at = None
            logger.warning(
                "this kernel shows no schedstat: CPU %% counts only time that the node ran, "
                "so a used-up CPU quota is seen late"
            )
        return _ticks_seconds(task)


def _spent(before: Mapping[int, float | None], after: Mapping[int, float | None]) -> dict[int, float]:
    """What each process that is in both used in between."""
    return {
        pid: then - first
        for pid, then in after.items()
        if then is not None and (first := before.get(pid)) is not None
    }


class MemoryGauge:
    """Memory in use, in bytes: the control group's, or its processes' own where it has none.

    Attributes:
        bytes: at the last sample.
        from_cgroup: which of the two it is.
    """

    def __init__(
        self,
        cgroup: Cgroup | None = None,
        pids: Callable[[], Sequence[int]] = lambda: (os.getpid(),),
        *,
        proc: Path = Path("/proc"),
    ) -> None:
        self._cgroup = find_cgroup(proc) if cgroup is None else cgroup
        self._pids, self._proc = pids, proc
        self.bytes = 0
        self.from_cgroup = False
        self.sample()

    def sample(self) -> int:
        """Reads it anew and returns `bytes`; what can't be read leaves the last figure."""
        charged = self._cgroup.memory_bytes()
        self.from_cgroup = charged is not None
        if charged is not None:
            self.bytes = charged
        else:
            self.bytes = self._resident() or self.bytes
        return self.bytes

    def _resident(self) -> int:
        """Pages of all processes; those of files (programs, libraries) are there once for all of them."""
        own = of_files = 0
        for pid in self._pids():
            try:
                resident, shared = (
                    int(word) for word in (self._proc / str(pid) / "statm").read_text().split()[1:3]
                )
            except (OSError, ValueError):
                continue
            own += resident - shared
            of_files = max(of_files, shared)
        return (own + of_files) * os.sysconf("SC_PAGESIZE")


class ThrottleGauge:
    """For how long the CPU quota held the node back since this gauge was made; `sample` reads it anew."""

    def __init__(self, cgroup: Cgroup | None = None) -> None:
        self._cgroup = find_cgroup() if cgroup is None else cgroup
        self._at_start = self._cgroup.throttled_seconds()
        self.seconds = 0.0

    def sample(self) -> float:
        """Reads it anew and returns `seconds`."""
        self.seconds = max(self._cgroup.throttled_seconds() - self._at_start, self.seconds)
        return self.seconds


class LoopLag:
    """How late the event loop runs what is due: the worst of the last second, in seconds.

    A loop that is stuck can't measure itself; the figure shows when it turns again.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque([0.0], maxlen=round(1 / LAG_INTERVAL_SECONDS))
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def seconds(self) -> float:
        """The worst of the last second."""
        return max(self._recent)

    def note(self, late: float) -> None:
        """Takes one measurement, in seconds."""
        self._recent.append(max(late, 0.0))

    def start(self) -> None:
        """Measures on the running loop until `stop`."""
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        """Ends measuring; without effect when it doesn't."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + LAG_INTERVAL_SECONDS
        self._timer = loop.call_later(LAG_INTERVAL_SECONDS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.note(loop.time() - self._due)
        self._arm(loop)


class Gauges:
    """All of them for one node, sampled together once a second.

    Attributes:
        cpu, memory, throttle, lag: the single gauges.
    """

    def __init__(self, cpu_limit_cores: float, group: Group | None = None) -> None:
        group = group or Group()
        cgroup = find_cgroup(pid=str(group.root))
        self.cpu = CpuGauge(cpu_limit_cores, group.pids)
        self.memory = MemoryGauge(cgroup, group.pids)
        self.throttle = ThrottleGauge(cgroup)
        self.lag = LoopLag()

    def sample(self, now: float) -> None:
        """Samples all at `now`, in monotonic seconds."""
        self.cpu.sample(now)
        self.memory.sample()
        self.throttle.sample()
