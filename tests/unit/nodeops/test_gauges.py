"""The gauges against literal files and a clock that the test moves."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.cgroup import Cgroup
from wsnode.gauges import CpuGauge, Gauges, LoopLag, MemoryGauge, ThrottleGauge

SECOND = 1_000_000_000


class Threads:
    """The scheduler's files of a process with threads, and its CPU time."""

    def __init__(self, root: Path, pid: int = 7) -> None:
        self.proc, self.pid, self.used = root, pid, 0.0

    def set(self, run: float, delay: float, thread: int = 7) -> None:
        path = self.proc / str(self.pid) / "task" / str(thread) / "schedstat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{round(run * SECOND)} {round(delay * SECOND)} 12\n")

    def gauge(self, limit: float, threads: list[int] | None = None) -> CpuGauge:
        return CpuGauge(limit, threads=threads, proc=self.proc, pid=self.pid, cpu_seconds=lambda: self.used)


@pytest.fixture
def threads(tmp_path: Path) -> Threads:
    return Threads(tmp_path)


def run_seconds(
    threads: Threads, gauge: CpuGauge, seconds: int, run: float, delay: float, used: float
) -> float:
    """So many seconds, in each of which the thread runs, waits and the process uses as said."""
    base_run = base_delay = 0.0
    start_used = threads.used
    for second in range(seconds + 1):
        threads.set(1 + base_run, base_delay)
        threads.used = start_used + used * second
        gauge.sample(1000.0 + second)
        base_run, base_delay = base_run + run, base_delay + delay
    return gauge.percent


def test_one_full_loop_reads_100_percent_whatever_the_limit(threads: Threads) -> None:
    assert run_seconds(threads, threads.gauge(1.8), 5, run=1.0, delay=0.0, used=1.0) == pytest.approx(100)


def test_a_used_up_quota_reads_100_percent_though_the_thread_ran_half_the_time(threads: Threads) -> None:
    assert run_seconds(threads, threads.gauge(0.5), 5, run=0.25, delay=0.75, used=0.25) == pytest.approx(100)


def test_several_processes_count_against_the_limit(threads: Threads) -> None:
    assert run_seconds(threads, threads.gauge(2.0), 5, run=0.5, delay=0.0, used=1.8) == pytest.approx(90)


def test_an_idle_node_reads_nearly_nothing(threads: Threads) -> None:
    assert run_seconds(threads, threads.gauge(1.8), 5, run=0.0036, delay=0.0, used=0.0036) == pytest.approx(
        0.36
    )


def test_the_busiest_thread_counts(threads: Threads) -> None:
    gauge = threads.gauge(4.0, threads=[7, 8])
    for second in range(6):
        threads.set(1 + 0.1 * second, 0, thread=7)
        threads.set(1 + 0.6 * second, 0, thread=8)
        gauge.sample(float(second))
    assert gauge.percent == pytest.approx(60)


def test_the_average_is_over_5_seconds(threads: Threads) -> None:
    gauge = threads.gauge(1.0)
    run_seconds(threads, gauge, 10, run=0.0, delay=0.0, used=0.0)
    readings = []
    for second in range(1, 8):
        threads.used = float(second)
        threads.set(1 + second, 0)
        readings.append(round(gauge.sample(1010.0 + second)))
    assert readings == [20, 40, 60, 80, 100, 100, 100]


def test_the_work_of_starting_does_not_turn_clients_away(threads: Threads) -> None:
    assert run_seconds(threads, threads.gauge(1.0), 1, run=1.0, delay=0.0, used=1.0) == pytest.approx(20)


def test_a_late_sample_counts_for_the_time_it_covers(threads: Threads) -> None:
    gauge = threads.gauge(1.0)
    threads.set(1, 0)
    gauge.sample(0.0)
    threads.set(5, 0)
    threads.used = 4.0
    assert gauge.sample(4.0) == pytest.approx(80)


def test_a_changed_limit_counts_from_the_next_sample(threads: Threads) -> None:
    gauge = threads.gauge(1.0)
    run_seconds(threads, gauge, 5, run=0.0, delay=0.0, used=0.5)
    assert gauge.percent == pytest.approx(50)
    gauge.limit_cores = 2.0
    run_seconds(threads, gauge, 6, run=0.0, delay=0.0, used=0.5)
    assert gauge.percent == pytest.approx(25)


def test_a_clock_that_stands_still_changes_nothing(threads: Threads) -> None:
    gauge = threads.gauge(1.0)
    run_seconds(threads, gauge, 5, run=0.5, delay=0.0, used=0.5)
    assert gauge.sample(1005.0) == gauge.percent == pytest.approx(50)


@pytest.mark.parametrize("schedstat", [None, "0 0 0\n", "nonsense\n"])
def test_without_schedstat_cpu_time_counts_and_it_is_said_once(
    threads: Threads, caplog: pytest.LogCaptureFixture, schedstat: str | None
) -> None:
    task = threads.proc / "7" / "task" / "7"
    task.mkdir(parents=True)
    if schedstat is not None:
        (task / "schedstat").write_text(schedstat)
    gauge = threads.gauge(2.0)
    ticks = os.sysconf("SC_CLK_TCK")
    for second in range(6):
        (task / "stat").write_text(
            f"7 (ws) node) S 1 1 1 0 -1 0 0 0 0 0 {second * ticks // 2} {second * ticks // 4} 0"
        )
        threads.used = 0.75 * second
        gauge.sample(float(second))
    assert gauge.percent == pytest.approx(75)
    assert caplog.text.count("no schedstat") == 1


def test_without_any_file_the_process_s_cpu_time_is_left(threads: Threads) -> None:
    gauge = threads.gauge(2.0)
    for second in range(6):
        threads.used = float(second)
        gauge.sample(float(second))
    assert gauge.percent == pytest.approx(50)


@given(st.lists(st.tuples(st.floats(0.2, 3), st.floats(0, 1), st.floats(0, 2)), min_size=1, max_size=30))
def test_the_figure_stays_between_nothing_and_the_worst_second(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, float, float]]
) -> None:
    threads = Threads(tmp_path_factory.mktemp("proc"))
    gauge = threads.gauge(1.5)
    now = run = 1.0
    threads.set(run, 0)
    gauge.sample(now)
    worst = 0.0
    for wall, share, cores in steps:
        now, run, threads.used = now + wall, run + wall * share, threads.used + wall * cores
        threads.set(run, 0)
        worst = max(worst, share * 100, cores / 1.5 * 100)
        assert 0 <= gauge.sample(now) <= worst + 0.001


def test_memory_is_the_group_s(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("5000\n")
    gauge = MemoryGauge(Cgroup(unified=tmp_path))
    assert (gauge.bytes, gauge.from_cgroup) == (5000, True)
    (tmp_path / "memory.current").write_text("6000\n")
    assert gauge.sample() == 6000


def test_memory_is_the_process_s_own_without_a_group(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "statm").write_text("900 250 30 1 0 80 0\n")
    gauge = MemoryGauge(Cgroup(), proc=tmp_path)
    assert (gauge.bytes, gauge.from_cgroup) == (250 * os.sysconf("SC_PAGESIZE"), False)
    (tmp_path / "self" / "statm").unlink()
    assert gauge.sample() == 250 * os.sysconf("SC_PAGESIZE")


def test_throttling_counts_from_the_node_s_start(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("throttled_usec 4000000\n")
    gauge = ThrottleGauge(Cgroup(unified=tmp_path))
    assert gauge.sample() == 0.0
    (tmp_path / "cpu.stat").write_text("throttled_usec 5500000\n")
    assert gauge.sample() == 1.5
    (tmp_path / "cpu.stat").unlink()
    assert gauge.sample() == 1.5


def test_lag_is_the_worst_of_the_last_second() -> None:
    lag = LoopLag()
    assert lag.seconds == 0.0
    for late in (0.9, 0.1, -0.2, 0.3):
        lag.note(late)
    assert lag.seconds == 0.9
    lag.note(0.0)
    assert lag.seconds == 0.3


async def test_a_blocked_loop_shows_as_lag() -> None:
    lag = LoopLag()
    lag.start()
    await asyncio.sleep(0.05)
    time.sleep(0.8)
    await asyncio.sleep(0.01)
    lag.stop()
    lag.stop()
    assert lag.seconds >= 0.5


def test_this_machine_s_own_files_can_be_read() -> None:
    gauges = Gauges(1.0)
    gauges.sample(0.0)
    sum(range(2_000_000))
    gauges.sample(1.0)
    assert gauges.cpu.percent > 0
    assert gauges.cpu.seconds_total > 0
    assert gauges.memory.bytes > 2**20
