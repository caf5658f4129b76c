"""The command line as users meet it: real processes, a real broker, a real node."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.support.node_process import SERVE, NodeProcess, node, run
from wsnode.config import Settings
from wsnode.embedded import EmbeddedNats

WAIT_SECONDS = 20.0


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A broker with the node's stream."""
    server = EmbeddedNats()
    server.spawn()
    url = server.wait()

    async def add_stream() -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="ODIN_TOKENS", subjects=["odin.token.>"])
        await client.close()

    asyncio.run(add_stream())
    yield url
    server.stop()


def stream_messages(url: str, after: int) -> list[tuple[str, bytes]]:
    async def read() -> list[tuple[str, bytes]]:
        client = await nats.connect(url)
        stream = client.jetstream()
        last = (await stream.stream_info("ODIN_TOKENS")).state.last_seq
        found = [await stream.get_msg("ODIN_TOKENS", number) for number in range(after + 1, last + 1)]
        await client.close()
        return [(message.subject or "", message.data or b"") for message in found]

    return asyncio.run(read())


def last_sequence(url: str) -> int:
    async def read() -> int:
        client = await nats.connect(url)
        last = (await client.jetstream().stream_info("ODIN_TOKENS")).state.last_seq
        await client.close()
        return last

    return asyncio.run(read())


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def status_until(port: int, wanted: Any) -> dict[str, Any]:
    """Reads /status until `wanted` holds of it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        status: dict[str, Any] = get(port, "/status")[1]
        if wanted(status):
            return status
        time.sleep(0.1)
    raise AssertionError(f"it never came to that: {status}")


# Without a node


def test_help_lists_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("config", "load", "metrics", "pub", "serve", "tail"):
        assert f"\n  {command} " in done.stdout.decode()


def test_version() -> None:
    assert run("--version").stdout == b"0.1.0\n"


@pytest.mark.parametrize("arguments", [("serve",), ("config",), ("pub",), ("serve", "--embedded-nats")])
def test_a_wrong_variable_ends_the_command_with_one_line_a_problem(arguments: tuple[str, ...]) -> None:
    number = "input should be a valid integer, unable to parse string as an integer"
    done = run(*arguments, WS_MAX_CONNECTIONS="many", WS_CPU_REJECT_THRESHOLD="99", LOG_LEVEL="loud")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode().splitlines() == [
        f"wsnode: WS_MAX_CONNECTIONS='many': {number}",
        "wsnode: WS_CPU_REJECT_THRESHOLD='99': input should be less than or equal to 94",
        "wsnode: LOG_LEVEL='loud': input should be 'debug', 'info', 'warning' or 'error'",
    ]


def test_a_wrong_settings_file_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_text("WS_MAX_CHANNELS=0\n")
    done = run("serve", WS_SETTINGS_FILE=str(path))
    assert done.returncode == 2
    assert done.stderr == b"wsnode: WS_MAX_CHANNELS='0': input should be greater than or equal to 1\n"


def test_config_tells_value_source_and_whether_it_is_live(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_text("WS_DRAIN_RATE=7\n")
    secret = "nats://user:hush@broker:4222"
    settings: dict[str, Any] = {"WS_SETTINGS_FILE": str(path), "NATS_URL": secret, "LOG_LEVEL": "debug"}
    done = run("config", "-o", "json", **settings)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert set(rows) == set(Settings().to_env())
    pick = {name: [rows[name][key] for key in ("value", "source", "live")] for name in rows}
    assert pick["WS_DRAIN_RATE"] == ["7.0", "file", True]
    assert pick["LOG_LEVEL"] == ["debug", "environment", True]
    assert pick["WS_MAX_CONNECTIONS"] == ["10000", "default", True]
    assert pick["NATS_URL"] == ["nats://***@broker:4222", "environment", False]
    for form in ("table", "env", "json"):
        assert b"hush" not in run("config", "-o", form, **settings).stdout


def test_config_tells_of_a_misspelt_setting() -> None:
    done = run("config", "-o", "env", WS_MAX_CONECTIONS="5")
    assert done.returncode == 0
    assert done.stderr == (
        b"wsnode: WS_MAX_CONECTIONS is no setting and has no effect (meant: WS_MAX_CONNECTIONS?)\n"
    )
    assert b"WS_MAX_CONNECTIONS=10000" in done.stdout


def test_config_as_environment_can_be_read_back() -> None:
    text = run("config", "-o", "env", WS_MAX_CHANNELS="33").stdout.decode()
    settings: dict[str, Any] = dict(line.split("=", 1) for line in text.splitlines())
    assert run("config", "-o", "env", **settings).stdout.decode() == text
    assert settings["WS_MAX_CHANNELS"] == "33"


def test_metrics_prints_the_table() -> None:
    rows = {row["name"]: row for row in json.loads(run("metrics", "-o", "json").stdout)}
    assert rows["ws_connections_rejected_total"]["kind"] == "counter"
    assert rows["ws_connections_rejected_total"]["label"] == "reason"
    markdown = run("metrics", "-o", "markdown").stdout.decode()
    assert "| `ws_cpu_percent` | gauge |  | CPU in use, in % of WS_CPU_LIMIT, 5 s average |" in markdown


# Publishing


def test_samples_are_in_the_stream_when_it_says_so(broker: str) -> None:
    before = last_sequence(broker)
    done = run("pub", "--count", "300", "--rate", "0", "--channels", "3", "--bytes", "200", NATS_URL=broker)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(b"300 messages in the stream, ")
    messages = stream_messages(broker, before)
    assert len(messages) == 300
    assert {subject for subject, _ in messages} == {f"odin.token.{s}.trade" for s in ("BTC", "ETH", "SOL")}
    assert {len(payload) for _, payload in messages} == {200}


def test_a_pipe_is_published_line_by_line_and_a_bad_line_is_told(broker: str) -> None:
    before = last_sequence(broker)
    done = run("pub", stdin=b'BTC.trade {"n":1}\noops\nodin.token.ETH.trade [2]\n', NATS_URL=broker)
    assert done.returncode == 1
    assert done.stderr.startswith(b"wsnode: left out line 2: must hold JSON after the channel\n2 messages in")
    assert stream_messages(broker, before) == [
        ("odin.token.BTC.trade", b'{"n":1}'),
        ("odin.token.ETH.trade", b"[2]"),
    ]


def test_json_lines_go_to_the_channel_named(broker: str) -> None:
    before = last_sequence(broker)
    assert run("pub", "-", "--channel", "X.y", stdin=b'{"n":1}\n{"n":2}', NATS_URL=broker).returncode == 0
    assert stream_messages(broker, before) == [("odin.token.X.y", b'{"n":1}'), ("odin.token.X.y", b'{"n":2}')]


def test_without_a_stream_for_the_subject_it_says_so(broker: str) -> None:
    done = run("pub", "--count", "5", NATS_URL=broker, JS_STREAM_SUBJECTS="other.>")
    assert done.returncode == 1
    assert b"no stream takes this subject" in done.stderr


def test_a_broker_that_goes_away_amid_publishing_is_told_in_one_line() -> None:
    server = EmbeddedNats()
    server.spawn()
    url = server.wait()

    async def add_stream() -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="ODIN_TOKENS", subjects=["odin.token.>"])
        await client.close()

    def stop_amid() -> None:
        while not last_sequence(url):
            time.sleep(0.1)
        server.stop()

    asyncio.run(add_stream())
    threading.Thread(target=stop_amid, daemon=True).start()
    done = run("pub", "--rate", "50", "--duration", "60s", "--quiet", NATS_URL=url)
    assert done.returncode == 1
    assert b"the broker is gone" in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_a_broker_it_says_so() -> None:
    done = run("pub", "--count", "1", "--url", "nats://user:hush@127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith(b"wsnode: no broker at nats://***@127.0.0.1:1: ")
    assert b"Connect call failed" in done.stderr
    assert b"hush" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("file.txt",), ("--rate", "-1"), ("--duration", "soon"), ("--channels", "0")]
)
def test_wrong_use_of_pub(arguments: tuple[str, ...]) -> None:
    assert run("pub", *arguments).returncode == 2


# Serving


def test_a_node_with_nothing_else_installed(tmp_path: Path) -> None:
    with node(tmp_path, "--embedded-nats", **SERVE) as running:
        url = running.logged("embedded nats-server runs")["url"]
        port = running.logged("node started")["admin_port"]
        status_until(port, lambda status: status["ready"])
        done = run("pub", "--count", "50", "--rate", "0", NATS_URL=url)
        assert done.returncode == 0, done.stderr
        status = status_until(port, lambda status: status["messages"]["in"] == 50)
        assert status["feed"]["position"] == 50
        assert status["settings"]["values"]["NATS_URL"] == url
        running.process.terminate()
        assert running.process.wait(WAIT_SECONDS) == 0


def test_a_changed_settings_file_counts_without_a_restart_and_a_bad_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_text("WS_MAX_CONNECTIONS=100\n")
    settings = {**SERVE, "WS_SETTINGS_FILE": str(path), "NATS_URL": "nats://127.0.0.1:1"}
    with node(tmp_path, **settings) as running:
        port = running.logged("node started")["admin_port"]
        first = status_until(port, lambda status: status["settings"]["hash"])
        assert first["connections"]["max"] == 100
        path.write_text("WS_MAX_CONNECTIONS=200\nLOG_LEVEL=warning\n")
        second = status_until(port, lambda status: status["connections"]["max"] == 200)
        assert second["settings"]["hash"] != first["settings"]["hash"]
        path.write_text("WS_MAX_CONNECTIONS=300\nWS_ADDR=:1\n")
        third = status_until(port, lambda status: status["settings"]["error"])
        assert third["settings"]["error"].startswith("WS_ADDR=':1': can't change while the node runs")
        assert third["connections"]["max"] == 200
        assert third["settings"]["hash"] == second["settings"]["hash"]
        path.write_text("WS_MAX_CONNECTIONS=400\n")
        assert (
            status_until(port, lambda status: status["connections"]["max"] == 400)["settings"]["error"]
            is None
        )


def test_a_node_without_its_broker_is_live_and_not_ready(tmp_path: Path) -> None:
    with node(tmp_path, **{**SERVE, "NATS_URL": "nats://127.0.0.1:1"}) as running:
        port = running.logged("node started")["admin_port"]
        assert get(port, "/livez") == (200, {"alive": True})
        assert get(port, "/readyz")[0] == 503
        code, health = get(port, "/health")
        assert (code, health["checks"]["nats"]["healthy"]) == (503, False)
        running.process.terminate()
        assert running.process.wait(WAIT_SECONDS) == 0


@pytest.mark.parametrize("variable", ["WS_ADDR", "WS_ADMIN_ADDR"])
def test_a_taken_port_is_told(tmp_path: Path, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = {**SERVE, "NATS_URL": "nats://127.0.0.1:1", variable: address}
        running = NodeProcess(tmp_path, **settings)
        try:
            assert running.process.wait(60) == 1
        finally:
            running.stop()
        assert variable in running.log
        assert "ddress already in use" in running.log


def test_a_misspelt_variable_is_warned_of(tmp_path: Path) -> None:
    with node(tmp_path, **{**SERVE, "NATS_URL": "nats://127.0.0.1:1", "WS_MAX_CONECTIONS": "5"}) as running:
        line = running.logged("WS_MAX_CONECTIONS is no setting and has no effect")
    assert (line["level"], line["meant"]) == ("warning", "WS_MAX_CONNECTIONS")
