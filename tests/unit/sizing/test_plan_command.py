"""`wsfleet plan` as people call it: outputs, options, and one line for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml

from wsfleet.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; gives (status, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        out, err = capsys.readouterr()
        code = caught.value.code or 0
        assert isinstance(code, int)
        return code, out, err

    return call


def test_env_is_the_documents_block(run: Run) -> None:
    status, out, err = run("plan", "--instance", "e2-small", "-o", "env")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[:3] == ["WS_CPU_LIMIT=1.8", "WS_MEMORY_LIMIT=1879048192", "WS_MAX_CONNECTIONS=10000"]
    assert lines[8:10] == ["WS_CPU_REJECT_THRESHOLD=75.0", "WS_CPU_PAUSE_THRESHOLD=80.0"]
    assert lines[15:17] == ["LOG_LEVEL=info", "LOG_FORMAT=json"]
    # What the table shows beyond the document's block comes after it.
    assert lines[17:] == ["WS_DRAIN_DELAY=10s", "WS_DRAIN_RATE=100.0", "WS_DRAIN_TIMEOUT=300s"]
    assert "WS_MAX_CHANNELS=7" in run("plan", "-o", "env", "--set", "maxChannels=7")[1].splitlines()


def test_json_and_yaml_say_the_same(run: Run) -> None:
    as_json = json.loads(run("plan", "-o", "json")[1])
    as_yaml = yaml.safe_load(run("plan", "-o", "yaml")[1])
    assert as_json == as_yaml
    assert as_json["settings"]["maxConnections"] == 10_000
    assert as_json["scaling"]["connectionsPerNode"] == 8_000
    assert as_json["costs"]["source"] == "Seed"
    assert "nodeName" not in as_json["settings"]


def test_table_has_every_section_within_100_columns(run: Run) -> None:
    status, out, _ = run("plan")
    assert status == 0
    assert max(len(line) for line in out.splitlines()) <= 100
    titles = ["Machine", "Load and costs", "Settings", "Alternatives", "Projections", "Ladder", "Scaling"]
    titles += ["Validation tests", "Alerts", "Cost", "Assumptions", "Notes"]
    headings = [section.splitlines()[0].split("  ")[0] for section in out.lstrip("\n").split("\n\n")]
    assert headings == titles
    for figure in ("WS_WORKER_QUEUE_SIZE", "222 % over", "111 % warning", "12.23 USD a month", "Seed"):
        assert figure in out


@pytest.mark.parametrize(
    "options",
    [
        ["--instance", "B2s", "--rate", "0"],
        ["--cpu", "64", "--memory", "64Gi", "--network", "25G", "--egress-price", "0.085"],
        ["--cost-cpu-us", "4.25", "--cost-memory-kb", "4", "--cost-intake-us", "30", "--publish-rate", "0"],
        ["--mix", "casual=60,active=35,trader=5", "--users", "15000-30000", "--limits", "moderate"],
        ["--cpu", "0.5", "--memory", "320Mi", "--profile", "conservative", "--subscribers", "1"],
        ["--set", "cpuLimit=0.001", "--set", "drainRate=1", "--lean-queue", "--fanout", "heavy"],
    ],
)
def test_table_of_other_plans_fits(run: Run, options: list[str]) -> None:
    status, out, err = run("plan", *options)
    assert (status, err) == (0, "")
    assert max(len(line) for line in out.splitlines()) <= 100


def test_options_reach_the_plan(run: Run) -> None:
    document = json.loads(
        run(
            "plan", "-o", "json", "--cpu", "4", "--memory", "8Gi", "--network", "1G", "--sustained-cpu", "1",
            "--price", "50.5", "--reserved-cpu", "500m", "--reserved-memory", "1Gi", "--users", "30000",
            "--rate", "0.5", "--peak-rate", "3", "--message-bytes", "200", "--publish-rate", "24",
            "--subscribers", "50", "--channels", "10", "--profile", "Aggressive", "--limits", "Moderate",
            "--cost-cpu-us", "12.5", "--cost-memory-kb", "20", "--set", "maxConnections=12000",
            "--set", "logLevel=debug",
        )[1]
    )  # fmt: skip
    machine, load = document["machine"], document["load"]
    assert (machine["vcpu"], machine["sustainedVcpu"], machine["burstable"]) == (4, 1, True)
    assert (machine["availableVcpu"], machine["availableMemoryBytes"]) == (3.5, 7 * 2**30)
    assert (machine["networkBitsPerSecond"], machine["monthlyCostUsd"]) == (10**9, 50.5)
    assert (load["users"], load["messagesPerSecond"], load["peakMessagesPerSecond"]) == (30_000, 0.5, 3)
    assert (load["messageBytes"], load["bufferedBytes"], load["publishRate"]) == (200, 250, 24)
    assert (load["subscribersPerChannel"], load["channels"]) == (50, 10)
    assert document["costs"] == {
        "source": "by hand",
        "messageCpuMicroseconds": 12.5,
        "intakeCpuMicroseconds": 0,
        "idleCpuMicrosecondsPerSecond": 0,
        "connectionMemoryBytes": 20_480,
        "connectionVcpu": 6e-06,
    }
    assert document["profile"] == "Aggressive"
    assert document["env"]["WS_MAX_CONNECTIONS"] == "12000"
    assert document["env"]["WS_MAX_NATS_RATE"] == "5000"
    assert document["env"]["LOG_LEVEL"] == "debug"


def test_a_type_that_is_not_known_is_taken_with_its_figures(run: Run) -> None:
    status, out, _ = run("plan", "-o", "json", "--instance", "m9.huge", "--cpu", "4", "--memory", "8Gi")
    machine = json.loads(out)["machine"]
    assert status == 0
    assert (machine["name"], machine["vcpu"], machine["memoryBytes"]) == ("m9.huge", 4, 2**33)


def test_instances_are_listed(run: Run) -> None:
    status, out, _ = run("plan", "--list-instances")
    assert status == 0
    assert "e2-small" in out
    assert "12.23 USD" in out
    assert "F2s_v2" in out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--instance", "e2-smal"], "--instance e2-smal is not a known machine type; meant e2-small"),
        (["--cpu", "x"], "'--cpu': 'x' must be vCPU such as 2, 0.5 or 1800m"),
        (["--instance", "e2-huge", "--cpu", "4"], "meant e2-highcpu-8 or e2-highcpu-4 or e2-highcpu-2? Any"),
        (["--cpu", "4"], "--memory must be given where CPU is and no machine type"),
        (["--cpu", "0", "--memory", "8Gi"], "--cpu 0 must be from 0.01 to 1,024 vCPU"),
        (["--memory", "8"], "--memory 8 bytes must be from 32Mi to 1024Ti; meant 8Gi?"),
        (["--memory", "8k"], "--memory 8000 bytes must be from 32Mi to 1024Ti\n"),
        (["--users", "-1"], "'-1' must be a whole number from 1 on, or a range such as 20000-40000"),
        (["--memory", "2GX"], "'--memory': '2GX' must be memory such as 2Gi"),
        (["--rate", "-1"], "'--rate': '-1' must be a number such as 2 or 0.5, not negative"),
        (["--rate", "nan"], "'--rate': 'nan' must be a number"),
        (["--rate", "100000"], "--cpu 2 vCPU carries no connection: one alone needs 10 vCPU"),
        (["--rate", "4", "--peak-rate", "2"], "--peak-rate 2 must not be below the usual rate of 4"),
        (["--users", "0"], "'--users': '0' must be a whole number from 1 on"),
        (["--reserved-cpu", "2"], "--reserved-cpu 2000 m must be below the machine's 2000 m"),
        (["--mix", "casual=50"], "--mix sum 50 must be 100"),
        (["--mix", "casual=100", "--rate", "2"], "--mix cannot be given together with --rate"),
        (["--set", "maxConections=3"], "--set maxConections is not a setting; meant maxConnections?"),
        (["--set", "maxConnections=0"], "--set maxConnections=0 must be greater than or equal to 1"),
        (["--set", "cpuRejectThreshold=95"], "--set cpuRejectThreshold=95 must be less than or equal to 94"),
        (["--set", "maxGoroutines=9"], "maxGoroutines (9) must be at least 20276"),
        (["--set", "x"], "--set 'x' must be NAME=VALUE"),
        (["--profile", "Bold"], "'--profile': 'Bold' is not one of 'conservative', 'balanced', 'aggressive'"),
        (["-o", "xml"], "'xml' is not one of 'table', 'json', 'yaml', 'env'"),
        (["--nope"], "No such option: --nope"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run: Run, options: list[str], line: str) -> None:
    status, out, err = run("plan", *options)
    assert (status, out) == (2, "")
    assert err.startswith("wsfleet: ")
    assert err.count("\n") == 1
    assert line in err


def test_help_without_arguments(run: Run) -> None:
    status, out, _ = run()
    assert status == 0
    assert "plan" in out


def test_tls_is_an_option_and_changes_nothing_where_it_is_not_given(run: Run) -> None:
    plain, tls = (json.loads(run("plan", *more, "-o", "json")[1]) for more in ((), ("--tls",)))
    assert "tlsConnectionMemoryBytes" not in plain["costs"]
    assert tls["costs"]["tlsConnectionMemoryBytes"] == 16_384
    assert tls["costs"]["connectionMemoryBytes"] == plain["costs"]["connectionMemoryBytes"]
    assert tls["capacity"]["connectionsByMemory"] < plain["capacity"]["connectionsByMemory"]
    assert "and 16 KB for TLS" in " ".join(run("plan", "--tls")[1].split())
    by_hand = json.loads(run("plan", "--tls", "--cost-memory-kb", "20", "-o", "json")[1])
    assert by_hand["costs"]["tlsConnectionMemoryBytes"] == 0
    cpu_by_hand = json.loads(run("plan", "--tls", "--cost-cpu-us", "10", "-o", "json")[1])
    assert cpu_by_hand["costs"]["tlsConnectionMemoryBytes"] == 16_384
