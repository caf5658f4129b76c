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
from collections.abc import Callable, Sequence
from pathlib import Path

from wsnode.cgroup import Cgroup, find_cgroup

logger = logging.getLogger("wsnode.gauges")

CPU_WINDOW_SECONDS = 5.0
LAG_INTERVAL_SECONDS = 0.25
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class CpuGauge:
    """CPU in use, in percent of the limit; call `sample` each second.

    Attributes:
        limit_cores: WS_CPU_LIMIT; may be changed at any time.
        percent: average over the last 5 s. Time before the first sample counts as idle: the work
            of starting is no load that a client should be turned away for.
        seconds_total: CPU time of the process at the last sample.
    """

    def __init__(
        self,
        limit_cores: float,
        *,
        threads: Sequence[int] | None = None,
        proc: Path = Path("/proc"),
        pid: int | None = None,
        cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        """`threads` are the ids of the threads that run event loops, by default the main one."""
        pid = os.getpid() if pid is None else pid
        self.limit_cores = limit_cores
        self.percent = 0.0
        self._cpu_seconds = cpu_seconds
        self.seconds_total = cpu_seconds()
        self._tasks = [proc / str(pid) / "task" / str(thread) for thread in threads or [pid]]
        self._has_schedstat = True
        self._previous: tuple[float, float, list[float | None]] | None = None
        self._window: deque[tuple[float, float]] = deque()  # wall seconds, percent

    def sample(self, now: float) -> float:
        """Takes a sample at `now` (monotonic seconds) and returns `percent`."""
        used, busy = self._cpu_seconds(), [self._busy_seconds(task) for task in self._tasks]
        previous, self._previous = self._previous, (now, used, busy)
        self.seconds_total = used
        if previous is None or now <= previous[0]:
            return self.percent
        wall = now - previous[0]
        shares = [(used - previous[1]) / (wall * self.limit_cores)]
        shares += [
            (after - before) / wall
            for before, after in zip(previous[2], busy, strict=True)
            if before is not None and after is not None
        ]
        self._window.append((wall, 100 * max(0.0, *shares)))
        total = sum(wall for wall, _ in self._window)
        while len(self._window) > 1 and total - self._window[0][0] >= CPU_WINDOW_SECONDS - 1e-6:
            total -= self._window.popleft()[0]
        weighted = sum(wall * percent for wall, percent in self._window)
        self.percent = weighted / max(total, CPU_WINDOW_SECONDS)
        return self.percent

    def _busy_seconds(self, task: Path) -> float | None:
        """Time a thread has run or waited for a CPU; only the time it ran where the kernel tells no more."""
        if self._has_schedstat:
            try:
                run, delay = (int(word) for word in (task / "schedstat").read_text().split()[:2])
                # A kernel built without SCHED_INFO shows zeros, and a thread that reads has run.
                if run:
                    return (run + delay) / 1e9
            except (OSError, ValueError):
                pass
            self._has_schedstat = False
            self._previous = None
            logger.warning(
                "this kernel shows no schedstat: CPU %% counts only time that the node ran, "
                "so a used-up CPU quota is seen late"
            )
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
        except (OSError, ValueError, IndexError):
            return None


class MemoryGauge:
    """Memory in use, in bytes: the control group's, or the process's own where it has none.

    Attributes:
        bytes: at the last sample.
        from_cgroup: which of the two it is.
    """

    def __init__(self, cgroup: Cgroup | None = None, *, proc: Path = Path("/proc")) -> None:
        self._cgroup = find_cgroup(proc) if cgroup is None else cgroup
        self._statm = proc / "self" / "statm"
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
            try:
                self.bytes = int(self._statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            except (OSError, ValueError, IndexError):
                pass
        return self.bytes


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

    def __init__(self, cpu_limit_cores: float) -> None:
        cgroup = find_cgroup()
        self.cpu = CpuGauge(cpu_limit_cores)
        self.memory = MemoryGauge(cgroup)
        self.throttle = ThrottleGauge(cgroup)
        self.lag = LoopLag()

    def sample(self, now: float) -> None:
        """Samples all at `now`, in monotonic seconds."""
        self.cpu.sample(now)
        self.memory.sample()
        self.throttle.sample()
