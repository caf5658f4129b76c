"""`wsfleet plan --fleet`: a fleet read from an API server, sized by the seed's costs and by its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.fleets import fleet_document
from wsfleet.cli import main

Run = Callable[..., tuple[int, str, str]]

COSTS = {
    "source": "Measured",
    "message": "each part is measured",
    "intervals": 240,
    "sure": True,
    "measured": {
        "cpuMicrosecondsPerMessage": 12,
        "cpuMicrosecondsPerPublished": 40,
        "cpuMicrosecondsIdle": 3000,
        "memoryPerConnection": 1000,
    },
    "inForce": {
        "cpuMicrosecondsPerMessage": 50,
        "cpuMicrosecondsPerPublished": 40,
        "cpuMicrosecondsIdle": 3000,
        "memoryPerConnection": 50_000,
    },
    "fixedCpuPercent": 0.2,
}


class ApiServer(ThreadingHTTPServer):
    """Answers GET of its fleets by path, and 404 as the real one does."""

    fleets: dict[str, Any]
    asked: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = self.server.fleets.get(self.path)
        missing = {"kind": "Status", "reason": "NotFound", "message": "not found", "code": 404}
        body = json.dumps(missing if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = ApiServer(("127.0.0.1", 0), _Handler)
    made.fleets, made.asked = {}, []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> str:
    path = tmp_path / "config"
    context = {"cluster": "here", "user": "me", "namespace": "games"}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [
                    {"name": "here", "context": context},
                    {"name": "other", "context": {**context, "namespace": "shop"}},
                ],
                "clusters": [
                    {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
                ],
                "users": [{"name": "me", "user": {"token": "t"}}],
            }
        )
    )
    return str(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], kubeconfig: str) -> Run:
    """Run `wsfleet plan --fleet odin` with more options; gives (status, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["plan", "--fleet", "odin", "--kubeconfig", kubeconfig, *arguments])
        out, err = capsys.readouterr()
        code = caught.value.code or 0
        assert isinstance(code, int)
        return code, out, err

    return call


def put(server: ApiServer, namespace: str = "games", costs: Any = COSTS, **spec: Any) -> None:
    document = fleet_document(**spec)
    document["metadata"]["namespace"] = namespace
    path = f"/apis/wsfleet.io/v1alpha1/namespaces/{namespace}/wsfleets/odin"
    server.fleets[path] = document | {"status": {"phase": "Running", "costs": costs}}


def test_json_has_both_sizes_and_the_saving(server: ApiServer, run: Run) -> None:
    put(server, load={"users": 40_000}, sizing={"costs": "Measured"})
    status, out, err = run("-o", "json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["fleet"], found["namespace"], found["source"]) == ("odin", "games", "Measured")
    seed, measured, in_force = (found["sizes"][name] for name in ("seed", "measured", "inForce"))
    assert (seed["connectionsPerNode"], seed["nodes"], seed["monthlyCostUsd"]) == (10_000, 8, 97.84)
    # CPU would carry 83,188 at 24 us a connection; the network at the peak rate carries 78,125.
    assert (measured["connectionsPerNode"], measured["nodes"], measured["monthlyCostUsd"]) == (
        78_000,
        1,
        12.23,
    )
    assert 10_000 < in_force["connectionsPerNode"] < 78_000
    assert found["savingUsdPerMonth"] == 85.61
    assert yaml.safe_load(run("-o", "yaml")[1]) == found


def test_the_table_shows_them_side_by_side(server: ApiServer, run: Run) -> None:
    put(server, load={"users": 40_000})
    status, out, _ = run()
    assert status == 0
    assert max(len(line) for line in out.splitlines()) <= 100
    assert "games/odin" in out
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "10,000" in rows["seed"]
    assert "97.84 USD" in rows["seed"]
    assert "12.23 USD" in out
    assert "measured costs would save 85.61 USD a month" in out


def test_a_fleet_without_measured_costs_is_sized_by_the_seeds(server: ApiServer, run: Run) -> None:
    for costs in (None, {"source": "Dreamt"}):
        put(server, costs=costs)
        found = json.loads(run("-o", "json")[1])
        assert found["sizes"]["seed"]["connectionsPerNode"] == 10_000
        assert found["sizes"]["measured"] is None
        assert found["savingUsdPerMonth"] is None
    assert "no costs yet" in run()[1]


def test_the_namespace_is_the_contexts_unless_it_is_given(server: ApiServer, run: Run) -> None:
    for namespace, options in (("games", ()), ("shop", ("--context", "other")), ("lab", ("-n", "lab"))):
        put(server, namespace)
        assert json.loads(run("-o", "json", *options)[1])["namespace"] == namespace
    assert all(path.endswith("/wsfleets/odin") for path in server.asked)


def test_bad_input_is_one_line_and_status_2(server: ApiServer, run: Run) -> None:
    status, out, err = run("-n", "nowhere")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--fleet odin is not there in namespace nowhere" in err
    assert "--users can't be given with --fleet" in run("--users", "3000")[2]
    assert "--set can't be given with --fleet" in run("--set", "maxChannels=3")[2]
    assert "-o env can't be given with --fleet" in run("-o", "env")[2]
    put(server, instance={"type": "e2-smal"})
    assert "spec.instance.type: no known machine type" in run()[2]


def test_a_server_that_is_away_and_no_kubeconfig_are_told(
    server: ApiServer, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "none")
    status, _, err = run("--kubeconfig", missing)
    assert status == 2
    assert "--fleet odin can't be read" in err
    with pytest.raises(SystemExit):
        main(["plan", "-n", "games"])
    assert "--namespace is for a running fleet: give --fleet NAME too" in capsys.readouterr()[1]
