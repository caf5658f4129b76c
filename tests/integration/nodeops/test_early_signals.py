"""SIGTERM at any moment of the start ends the node soon, with code 0 and nothing left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nats
import pytest

from tests.support.node_process import SERVE, clean_environ, node
from wsnode.embedded import EmbeddedNats

pytestmark = pytest.mark.race

# From "just started" to "serving for a while"; importing everything takes about a second here.
LATEST_SECONDS = 2.5
END_SECONDS = 10.0


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(path.parent.name))
    return found


def test_sigterm_at_random_moments_of_the_start(tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TEST_SEED={seed}")
    source = random.Random(seed)
    for moment in [0.0, *(source.uniform(0, LATEST_SECONDS) for _ in range(9))]:
        with node(tmp_path, "--embedded-nats", **SERVE) as started:
            wait_for_handler(started.process.pid)
            time.sleep(moment)
            brokers = children_of(started.process.pid)
            started.process.terminate()
            code = started.process.wait(END_SECONDS)
            assert code == 0, f"at {moment:.3f} s: {started.log}"
        for broker in brokers:
            assert not Path(f"/proc/{broker}").exists(), f"at {moment:.3f} s the broker stayed"
        assert list(tmp_path.glob("wsnode-nats-*")) == [], f"at {moment:.3f} s data stayed"


def wait_for_handler(pid: int) -> None:
    """Waits until the process catches SIGTERM: from then on no moment may be deaf."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:") and int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
        time.sleep(0.001)
    raise AssertionError("SIGTERM is never caught")


def test_the_handler_is_there_before_anything_large_is_imported() -> None:
    code = (
        "import sys, signal\n"
        "from wsnode import cli\n"
        "large = {'pydantic', 'typer', 'aiohttp', 'nats', 'asyncio', 'uvloop'} & set(sys.modules)\n"
        "sys.exit(f'imported: {large}' if large else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.stderr == b""


def test_it_is_heeded_also_where_there_is_no_default_action(tmp_path: Path) -> None:
    """PID 1 has none: a child with SIGTERM ignored stands for it, since installing ours ends that too."""
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "from wsnode import early_signals\n"
        "early_signals.install()\n"
        "early_signals.add_cleanup(lambda: print('first added', flush=True))\n"
        "early_signals.add_cleanup(lambda: 1 / 0)\n"
        "early_signals.add_cleanup(lambda: print('last added', flush=True))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        output, errors = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0
    assert output == "last added\nfirst added\n"
    assert errors == "while stopping: division by zero\n"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare(1)")
def test_it_is_heeded_as_process_1_of_a_container(tmp_path: Path) -> None:
    source = random.Random(1)
    for moment in (0.0, source.uniform(0, 1), source.uniform(1, LATEST_SECONDS)):
        with (tmp_path / "log").open("wb") as log:
            container = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", "--", sys.executable, "-m", "wsnode", "serve"],
                env=clean_environ(**{**SERVE, "NATS_URL": "nats://127.0.0.1:1"}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            (node_pid,) = wait_for_children(container.pid)
            wait_for_handler(node_pid)
            time.sleep(moment)
            os.kill(node_pid, signal.SIGTERM)
            assert container.wait(END_SECONDS) == 0, (tmp_path / "log").read_text()
        finally:
            container.kill()
            container.wait()


def wait_for_children(pid: int) -> list[int]:
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if found := children_of(pid):
            return found
        time.sleep(0.005)
    raise AssertionError("no child process")


async def test_another_command_dies_of_sigterm_as_usual() -> None:
    broker = EmbeddedNats()
    broker.spawn()
    try:
        client = await nats.connect(broker.wait())
        await client.jetstream().add_stream(name="ODIN_TOKENS", subjects=["odin.token.>"])
        await client.close()
        with subprocess.Popen(
            [sys.executable, "-m", "wsnode", "pub", "--rate", "10"],
            env=clean_environ(NATS_URL=broker.url),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            assert "messages in the stream" in process.stderr.readline()
            process.terminate()
            assert process.wait(END_SECONDS) == -signal.SIGTERM
    finally:
        broker.stop()
