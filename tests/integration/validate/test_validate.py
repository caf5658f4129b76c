"""`wsnode validate` as users meet it: a real node, a real broker, and small numbers of real clients."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.node_process import SERVE, NodeProcess, clean_environ, node, run

SVG = "{http://www.w3.org/2000/svg}"
# A busy machine is no reason to refuse these few clients.
EASY = {"WS_CPU_REJECT_THRESHOLD": "94", "WS_CPU_PAUSE_THRESHOLD": "99", "WS_CPU_LIMIT": "100"}
QUICK = ("--duration", "3s", "--rate", "1000")


@dataclass(frozen=True, slots=True)
class Running:
    """A node's process and where to find it."""

    process: NodeProcess
    url: str
    admin: str
    nats: str

    @property
    def with_all(self) -> tuple[str, ...]:
        """Arguments for a run with an admin port and a publisher."""
        return (self.url, "--admin", self.admin, "--publish", self.nats)


def started(process: NodeProcess) -> Running:
    nats = process.logged("embedded nats-server runs")["url"]
    told = process.logged("node started")
    process.logged("stream created")
    host = "127.0.0.1"
    url, admin = f"ws://{host}:{told['port']}/ws", f"http://{host}:{told['admin_port']}"
    return Running(process, url, admin, nats)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A node with the document's settings."""
    settings = {**SERVE, **EASY, "WS_NODE_NAME": "node-a"}
    with node(tmp_path_factory.mktemp("large"), "--embedded-nats", **settings) as process:
        yield started(process)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Running]:
    """A node that lets a hundred in."""
    settings = {**SERVE, **EASY, "WS_NODE_NAME": "node-b", "WS_MAX_CONNECTIONS": "100"}
    with node(tmp_path, "--embedded-nats", **settings) as process:
        yield started(process)


def validated(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a run."""
    done = run("validate", *arguments, "-o", "json")
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def verdicts(body: dict[str, Any], part: str = "criteria") -> dict[str, str]:
    return {row["name"]: row["verdict"] for row in body[part]}


def test_a_light_test_with_all_that_can_be_known(large: Running, tmp_path: Path) -> None:
    svg = tmp_path / "run.svg"
    arguments = ("light", *large.with_all, "-c", "200", *QUICK, "--picture", str(svg))
    code, body = validated(*arguments)
    assert (code, body["outcome"], body["node"]) == (0, "passed", "node-a"), body["criteria"]
    assert set(verdicts(body).values()) == {"pass"}
    assert verdicts(body, "ranges")["goroutines"] == "pass"
    assert body["clients"]["opened_total"] == 200
    assert body["clients"]["deliveries"] > 0
    # Two messages a second for each, cut at both ends of three seconds.
    assert 200 <= body["figures"]["messages_per_second"] <= 600
    hold = [sample for sample in body["samples"] if sample["phase"] == "hold"]
    assert hold[-1]["at_seconds"] - hold[0]["at_seconds"] >= 3
    assert all(sample["node"]["connections"] == 200 for sample in hold)
    root = ElementTree.fromstring(svg.read_text())
    shown = {element.text for element in root.iter(f"{SVG}text")}
    assert {"light test, 200 connections: passed", "Goroutines", "Connections"} <= shown


def test_the_size_of_the_test_follows_the_nodes_own_limit(small: Running) -> None:
    code, body = validated("capacity", *small.with_all, *QUICK)
    assert (code, body["outcome"]) == (0, "passed"), body["criteria"]
    assert body["plan"]["connections"] == 100
    assert body["plan"]["max_connections"] == 100
    assert verdicts(body)["CPU rejection threshold not hit"] == "pass"


def test_an_overload_is_refused_in_order_and_the_limit_holds(small: Running) -> None:
    code, body = validated("overload", *small.with_all, *QUICK)
    assert (code, body["outcome"]) == (0, "passed"), body["criteria"]
    assert body["plan"]["connections"] == 120
    assert verdicts(body)["excess load refused in good order"] == "pass"
    assert verdicts(body, "ranges")["final connections"] == "pass"
    assert body["rejections"]["connections"] >= 20
    assert body["figures"]["connections_end"] == 100


def test_without_an_admin_port_and_without_traffic_it_says_what_is_not_judged(large: Running) -> None:
    done = run("validate", "target", large.url, "-c", "50", *QUICK)
    text = done.stdout.decode()
    assert done.returncode == 0, text
    assert "not judged  node stable" in text
    assert "not judged  less than 1 % of messages dropped" in text
    assert "note: without an admin port only what clients see is judged" in text
    assert text.rstrip().endswith("Verdict: PASSED AS FAR AS IT COULD BE JUDGED")
    assert "50/50 open" in done.stderr.decode()


def test_a_full_node_fails_a_test_that_expects_no_refusal(small: Running) -> None:
    with socket.create_connection(("127.0.0.1", int(small.url.split(":")[2].split("/")[0]))) as client:
        request = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        request += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        client.sendall(request.encode())
        assert client.recv(12) == b"HTTP/1.1 101"
        code, body = validated(
            "capacity", small.url, "--admin", small.admin, "--duration", "1s", "-r", "1000"
        )
    assert (code, body["outcome"]) == (1, "failed")
    assert verdicts(body)["no connection refused"] == "fail"
    assert "1 connections were there before the run; figures include them" in body["notes"]


def watched(*arguments: str) -> subprocess.Popen[str]:
    """A run as a process, whose lines of progress are read."""
    return subprocess.Popen(
        [sys.executable, "-m", "wsnode", "validate", *arguments, "-o", "json"],
        env=clean_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_hold(process: subprocess.Popen[str]) -> threading.Thread:
    """Reads until all clients are in, and what comes after it in a thread."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "  hold  " in line:
            rest = threading.Thread(target=process.stderr.read)
            rest.start()
            return rest
    raise AssertionError("".join(seen))


def ended(process: subprocess.Popen[str], reader: threading.Thread) -> tuple[int, dict[str, Any]]:
    assert process.stdout is not None
    body = json.loads(process.stdout.read())
    reader.join(20)
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()
    return process.wait(20), body


def test_a_node_that_dies_on_the_way_fails(small: Running) -> None:
    # The clients' closes tell it, long before the admin port's silence does.
    process = watched("target", *small.with_all, "--duration", "6s", "-r", "1000")
    reader = wait_for_hold(process)
    small.process.process.kill()
    code, body = ended(process, reader)
    assert (code, body["outcome"]) == (1, "failed")
    assert verdicts(body)["clients stay connected"] == "fail"
    assert body["samples"][-1]["node"] is None


def test_a_run_that_is_interrupted_reports_what_there_is(large: Running) -> None:
    process = watched("light", *large.with_all, "-c", "20", "--duration", "300s")
    reader = wait_for_hold(process)
    process.send_signal(signal.SIGINT)
    code, body = ended(process, reader)
    assert (code, body["outcome"]) == (1, "interrupted")
    assert body["clients"]["opened_total"] == 20


def test_a_node_that_is_not_ready_is_not_tested(tmp_path: Path) -> None:
    settings = {**SERVE, "NATS_URL": "nats://127.0.0.1:1"}
    with node(tmp_path, **settings) as process:
        told = process.logged("node started")
        admin = f"http://127.0.0.1:{told['admin_port']}"
        done = run("validate", "light", f"ws://127.0.0.1:{told['port']}/ws", "--admin", admin)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(
        f"wsnode: validate: admin port {admin}/status: the node is not ready ("
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("heavy", "ws://127.0.0.1:1/ws"), "test 'heavy': must be one of light, target, capacity, overload"),
        (("light", "ws://127.0.0.1:1/ws"), "ws://127.0.0.1:1/ws: can't connect:"),
        (("light", "http://127.0.0.1/ws"), "URL 'http://127.0.0.1/ws': expected ws://HOST[:PORT]/PATH"),
        (("light", "{url}", "--admin", "{url}"), "expected http://HOST:PORT"),
        (("light", "{url}", "--admin", "http://127.0.0.1:1"), "admin port http://127.0.0.1:1/status:"),
        (("light", "{url}", "--publish", "nats://127.0.0.1:1"), "no broker at nats://127.0.0.1:1"),
        (("light", "{url}", "--duration", "soon"), "duration 'soon': must be a duration such as 30s"),
        (("light", "{url}", "--duration", "0s"), "duration 0 s: must be between 1 and 86400 seconds"),
        (("light", "{url}", "--rate", "0"), "rate 0: must be between 0.1 and 100000"),
        (("light", "{url}", "--message-rate", "0"), "message rate 0: must be above 0"),
        (("light", "{url}", "--channels", "BTC.*"), "channel 'BTC.*': expected SYMBOL.EVENT"),
        (("light", "{url}", "--channels-each", "11"), "channels each 11: must be between 1 and 10"),
        (
            ("light", "{url}", "--picture", "/nowhere/run.svg"),
            "picture '/nowhere/run.svg': no such directory",
        ),
        (("light", "{url}", "-o", "yaml"), "output 'yaml': must be table or json"),
        (("overload", "{url}", "--admin", "{admin}", "-c", "9"), "so there is nothing to refuse"),
        (("light", "{url}", "--admin", "{admin}", "-c", "10001"), "that is the overload test"),
    ],
)
def test_bad_input_is_one_line_and_code_2(large: Running, arguments: tuple[str, ...], told: str) -> None:
    places = {"url": large.url, "admin": large.admin}
    done = run("validate", *(word.format(**places) for word in arguments))
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines), done.stdout) == (2, 1, b""), lines
    assert lines[0].startswith("wsnode: validate: ")
    assert told in lines[0]
