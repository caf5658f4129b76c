"""The gauges against literal files and a clock that the test moves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.cgroup import Cgroup
from wsnode.gauges import CpuGauge, Gauges, LoopLag, MemoryGauge, ThrottleGauge, process_cpu_seconds

SECOND = 1_000_000_000


class Threads:
    """The scheduler's files of a node's processes, and the CPU time of its first one."""

    def __init__(self, root: Path) -> None:
        self.proc, self.used = root, 0.0
        self.used_by: dict[int, float | None] = {}

    def set(self, run: float, delay: float, pid: int = 7) -> None:
        path = self.proc / str(pid) / "task" / str(pid) / "schedstat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{round(run * SECOND)} {round(delay * SECOND)} 12\n")

    def gauge(self, limit: float, pids: Sequence[int] = (7,)) -> CpuGauge:
        def cpu_seconds(pid: int) -> float | None:
            return self.used if pid == 7 else self.used_by.get(pid)

        return CpuGauge(limit, lambda: pids, proc=self.proc, cpu_seconds=cpu_seconds)


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


def test_the_busiest_loop_counts(threads: Threads) -> None:
    gauge = threads.gauge(4.0, [7, 8])
    for second in range(6):
        threads.set(1 + 0.1 * second, 0, pid=7)
        threads.set(1 + 0.6 * second, 0, pid=8)
        gauge.sample(float(second))
    assert gauge.percent == pytest.approx(60)
    assert [round(gauge.loop_percent(pid)) for pid in (7, 8, 9)] == [10, 60, 0]


def test_the_time_of_all_processes_counts_against_the_limit(threads: Threads) -> None:
    gauge = threads.gauge(2.0, [7, 8])
    for second in range(6):
        threads.used, threads.used_by[8] = 0.7 * second, 0.8 * second
        gauge.sample(float(second))
    assert gauge.percent == pytest.approx(75)


def test_a_process_that_ends_or_comes_anew_makes_no_jump(threads: Threads) -> None:
    pids = [7, 8]
    gauge = threads.gauge(2.0, pids)
    threads.used_by |= {8: 500.0, 9: 300.0}
    for second in range(11):
        threads.used = 0.5 * second
        if second == 4:
            threads.used_by[8] = None  # gone, and not yet taken off the list
        if second == 5:
            pids[:] = [7, 9]
        assert gauge.sample(float(second)) <= 25.01
    assert gauge.percent == pytest.approx(25)


def test_the_clock_of_another_process_is_its_cpu_time() -> None:
    code = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = process_cpu_seconds(process.pid)
        process.communicate(b"\n")
    assert used is not None
    assert 0.5 <= used < 5
    assert process_cpu_seconds(process.pid) is None
    assert process_cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)


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
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "statm").write_text("900 250 30 1 0 80 0\n")
    gauge = MemoryGauge(Cgroup(), lambda: [7], proc=tmp_path)
    assert (gauge.bytes, gauge.from_cgroup) == (250 * os.sysconf("SC_PAGESIZE"), False)
    (tmp_path / "7" / "statm").unlink()
    assert gauge.sample() == 250 * os.sysconf("SC_PAGESIZE")


def test_memory_of_several_processes_counts_what_they_share_once(tmp_path: Path) -> None:
    for pid, statm in ((7, "900 250 30 1 0 80 0\n"), (8, "900 200 40 1 0 80 0\n")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "statm").write_text(statm)
    gauge = MemoryGauge(Cgroup(), lambda: [7, 8, 9], proc=tmp_path)
    assert gauge.bytes == (220 + 160 + 40) * os.sysconf("SC_PAGESIZE")


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
