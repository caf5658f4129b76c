"""Only recorded processes are ended, and a number that was handed out again is not the recorded process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import Processes, Stat


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    (tmp_path / "pid").mkdir()
    (tmp_path / "log").mkdir()
    made = Processes(tmp_path)
    yield made
    for name in made.names():
        made.stop(name, signal.SIGKILL)


def gone(pid: int) -> bool:
    stat = Stat.of(pid)
    return stat is None or stat.state in "ZX"


def test_a_started_process_is_recorded_and_its_words_are_kept(processes: Processes) -> None:
    processes.spawn("talker", ["sh", "-c", "echo hello; exec sleep 60"])
    pid = processes.alive("talker")
    assert pid is not None
    assert processes.names() == ["talker"]
    stat = Stat.of(pid)
    assert stat is not None
    assert (processes.folder / "talker").read_text().split() == [str(pid), stat.started]
    end = time.monotonic() + 5
    while (said := (processes.logs / "talker.log").read_text()) == "" and time.monotonic() < end:
        time.sleep(0.01)
    assert said == "hello\n"


def test_stop_ends_the_group_and_forgets_it(processes: Processes) -> None:
    processes.spawn("parent", ["sh", "-c", "sleep 60 & wait"])
    pid = processes.alive("parent")
    assert pid is not None
    members = processes.members("parent")
    processes.stop("parent")
    assert all(map(gone, [pid, *members]))
    assert processes.names() == []


def test_orphans_of_a_killed_leader_are_ended_too(processes: Processes) -> None:
    processes.spawn("leader", ["sh", "-c", "sleep 60 & wait"])
    pid = processes.alive("leader")
    assert pid is not None
    end = time.monotonic() + 5
    while len(members := processes.members("leader")) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    while not gone(pid):
        time.sleep(0.01)
    assert processes.alive("leader") is None
    processes.stop("leader")
    deadline = time.monotonic() + 5
    while not all(map(gone, members)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert all(map(gone, members))


def test_a_pid_that_was_handed_out_again_is_left_alone(processes: Processes) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        (processes.folder / "old").write_text(f"{stranger.pid} 1")
        assert processes.alive("old") is None
        processes.stop("old", signal.SIGKILL)
        assert stranger.poll() is None
        assert processes.names() == []
        stranger.kill()


def test_half_a_record_is_no_process(processes: Processes) -> None:
    (processes.folder / "torn").write_text("12")
    assert processes.alive("torn") is None
    assert processes.members("torn") == []
