"""The installed program as kubectl runs it: in a pipe, interrupted, on a terminal, and its completion."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.kube_api import KubeApi

BIN = Path(sys.executable).parent
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def environ(api: KubeApi, tmp_path: Path) -> dict[str, str]:
    """As after `export KUBECONFIG=… PATH=….venv/bin:$PATH`."""
    kubeconfig = api.kubeconfig(tmp_path)
    return {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.fixture
def start(environ: dict[str, str]) -> Start:
    def begin(*argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    return begin


def test_both_names_are_one_program(start: Start) -> None:
    outputs = []
    for argv in (("kubectl-wsfleet",), ("wsfleet",)):
        with start(*argv, "explain", "odin") as process:
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        outputs.append(re.sub(r"\d+[sm] ago", "", out))
    assert outputs[0] == outputs[1]


def test_top_in_a_pipe_is_one_json_object_a_line_until_it_is_interrupted(api: KubeApi, start: Start) -> None:
    with start("kubectl-wsfleet", "top", "odin", "-o", "json", "--every", "0.5") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        api.failures = [503]  # a moment without an answer ends nothing
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert first.keys() == second.keys()
    assert [pod["connections"] for pod in first["pods"]] == [4123, 4000]
    assert process.returncode == 0
    assert err == "wsfleet: no answer from the API server: etcdserver: no leader\n"


def test_top_ends_quietly_when_its_reader_has_gone(start: Start) -> None:
    with start("kubectl-wsfleet", "top", "odin", "--every", "0.5") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_top_on_a_terminal_refreshes_in_place_and_gives_the_screen_back(
    api: KubeApi, environ: dict[str, str]
) -> None:
    ours, theirs = pty.openpty()
    env = {**environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    argv = ("kubectl-wsfleet", "top", "odin", "--every", "0.5")
    process = subprocess.Popen(argv, env=env, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    shown = b""
    end = time.monotonic() + 60
    while shown.count(b"odin-6f7d9c8b5d-aaaaa") < 2 and time.monotonic() < end:
        shown += _read(ours)
    process.send_signal(signal.SIGINT)
    while chunk := _read(ours):
        shown += chunk
    _, err = process.communicate(timeout=30)
    os.close(ours)
    assert (process.returncode, err) == (0, b"")
    assert b"\x1b[?1049h" in shown, "the other screen"
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"odin-6f7d9c8b5d-aaaaa"), "and back"


def _read(terminal: int) -> bytes:
    if not select.select([terminal], [], [], 5)[0]:
        return b""
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side has closed
        return b""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("st",), ["status"]),
        (("status", ""), ["odin"]),
        (("status", "x"), []),
        (("drain", "odin", ""), ["odin-6f7d9c8b5d-aaaaa", "odin-6f7d9c8b5d-bbbbb"]),
        (("top", "--sort", "c"), ["connections", "cpu"]),
    ],
)
def test_kubectl_completes_commands_fleets_and_pods(
    start: Start, words: tuple[str, ...], offered: list[str]
) -> None:
    with start("kubectl_complete-wsfleet", *words) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines[-1] == ":4"
    assert [line.split("\t")[0] for line in lines[:-1]] == offered


def test_completion_without_a_cluster_offers_nothing_and_says_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    nowhere = {**environ, "KUBECONFIG": str(tmp_path / "nowhere")}
    argv = ("kubectl_complete-wsfleet", "status", "")
    done = subprocess.run(argv, env=nowhere, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, ":4\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_have_a_script_of_ours(environ: dict[str, str], shell: str) -> None:
    asked = {**environ, "_WSFLEET_COMPLETE": f"source_{shell}"}
    done = subprocess.run(["wsfleet"], env=asked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "_WSFLEET_COMPLETE" in done.stdout
