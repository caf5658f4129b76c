"""SIGTERM at any moment of the start ends all processes soon, with code 0 and nothing left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.node_process import SERVE, NodeProcess, clean_environ, node
from tests.support.several import children_of, is_gone

pytestmark = pytest.mark.race

LATEST_SECONDS = 3.0
END_SECONDS = 15.0
UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
SETTINGS = SERVE | {"WS_PROCESSES": "3", "NATS_URL": "nats://127.0.0.1:1"}


def wait_for_handler(pid: int) -> None:
    """Waits until the process catches SIGTERM: from then on no moment may be deaf."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:") and int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
        time.sleep(0.001)
    raise AssertionError("SIGTERM is never caught")


def family(pid: int) -> set[int]:
    """All that descend from a process."""
    children = set(children_of(pid))
    return children.union(*(family(child) for child in children))


def end_in_order(started: NodeProcess, moment: float, number: signal.Signals) -> None:
    """Sends the signal after a while, and sees that all end with it."""
    wait_for_handler(started.process.pid)
    seen: set[int] = set()
    end = time.monotonic() + moment
    while time.monotonic() < end:
        seen |= family(started.process.pid)
        time.sleep(0.005)
    started.process.send_signal(number)
    while started.process.poll() is None and time.monotonic() < end + END_SECONDS:
        seen |= family(started.process.pid)
        time.sleep(0.005)
    assert started.process.poll() == 0, f"{number.name} at {moment:.3f} s: {started.log}"
    left = [pid for pid in seen if not is_gone(pid)]
    assert not left, f"{number.name} at {moment:.3f} s: {left} stayed: {started.log}"


def test_signals_at_random_moments_of_the_start(tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TEST_SEED={seed}")
    source = random.Random(seed)
    moments = [0.0, *(source.uniform(0, LATEST_SECONDS) for _ in range(7))]
    for index, moment in enumerate(moments):
        number = signal.SIGINT if index % 3 == 2 else signal.SIGTERM
        with node(tmp_path, **SETTINGS) as started:
            end_in_order(started, moment, number)


def test_with_a_broker_of_its_own(tmp_path: Path) -> None:
    source = random.Random(7)
    for moment in (source.uniform(0, 1.5), LATEST_SECONDS):
        with node(tmp_path, "--embedded-nats", **SETTINGS) as started:
            end_in_order(started, moment, signal.SIGTERM)
        assert list(tmp_path.glob("wsnode-nats-*")) == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare(1)")
def test_as_process_1_of_a_container(tmp_path: Path) -> None:
    source = random.Random(3)
    for moment in (0.0, source.uniform(0.3, 1.2), None):
        with (tmp_path / "log").open("wb") as log:
            container = subprocess.Popen(
                [*UNSHARE, sys.executable, "-m", "wsnode", "serve"],
                env=clean_environ(**SETTINGS),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + END_SECONDS
            while not (inside := children_of(container.pid)):
                assert time.monotonic() < deadline
                time.sleep(0.005)
            wait_for_handler(inside[0])
            if moment is not None:
                time.sleep(moment)
            while moment is None and "node started" not in (tmp_path / "log").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(inside[0], signal.SIGTERM)
            assert container.wait(END_SECONDS) == 0, (tmp_path / "log").read_text()
        finally:
            container.kill()
            container.wait()
        assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_taken_port_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with node(tmp_path, **SETTINGS) as first:
        port = first.logged("node started")["port"]
        with node(tmp_path, **SETTINGS | {"WS_ADDR": f"127.0.0.1:{port}"}) as second:
            assert second.process.wait(END_SECONDS) == 1
            assert f"WS_ADDR='127.0.0.1:{port}': Address already in use" in second.log
            assert len(second.log.splitlines()) == 1
