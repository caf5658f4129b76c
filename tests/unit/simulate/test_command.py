"""The command: what it takes, what it prints, what it says of wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from wsfleet.cli import main
from wsfleet.cli.render_simulate import render_targets
from wsfleet.simulate.targets import Target

TRACE = "time,connections,rate\n0,6000,1\n120,20000,1\n240,20000,1\n"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "morning.csv"
    path.write_text(TRACE, "utf-8")
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["simulate", *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["simulate", *arguments])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_table_has_all_three_and_the_seed(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    shown = run(capsys, "--trace", str(trace), "--seed", "5")
    assert "seed 5" in shown
    assert all(name in shown for name in ("morning", "wsfleet", "HPA", "oracle", "node-hours", "USD"))


def test_the_same_seed_prints_the_same_json(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    first = run(capsys, "--trace", str(trace), "-o", "json")
    assert first == run(capsys, "--trace", str(trace), "-o", "json")
    found = json.loads(first)
    (one,) = found["scenarios"]
    assert (found["seed"], one["scenario"], one["seconds"]) == (1, "morning", 240.0)
    # 6,000 need the least of two nodes, 20,000 three, wanted 40 s before: from about the 45th second.
    assert one["oracle"]["nodesHighest"] == 3
    assert set(one["wsfleet"]) == set(one["hpa"])
    assert found["targets"] == []  # nothing was promised of a trace of one's own


def test_without_the_hpa(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    found = json.loads(run(capsys, "--trace", str(trace), "-o", "json", "--no-hpa"))
    assert "hpa" not in found["scenarios"][0]


def test_a_picture_of_each(capsys: pytest.CaptureFixture[str], trace: Path, tmp_path: Path) -> None:
    run(capsys, "--trace", str(trace), "--svg", str(tmp_path / "pictures"), "-o", "json")
    root = ElementTree.parse(tmp_path / "pictures" / "morning.svg").getroot()
    words = " ".join(root.itertext())
    assert all(one in words for one in ("Nodes", "Clients turned away", "oracle", "HPA", "seed 1"))


def test_the_policy_of_a_fleet(capsys: pytest.CaptureFixture[str], trace: Path, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "apiVersion: wsfleet.io/v1alpha1\nkind: WsFleet\nmetadata: {name: odin}\n"
        "spec:\n  nats: {url: nats://nats:4222}\n  overrides: {maxConnections: 2000}\n"
        "  autoscaling: {minReplicas: 5, maxReplicas: 7}\n",
        "utf-8",
    )
    found = json.loads(run(capsys, "--trace", str(trace), "-f", str(fleet), "-o", "json"))
    assert found["scenarios"][0]["oracle"]["nodesHighest"] == 7
    assert found["scenarios"][0]["wsfleet"]["nodesHighest"] == 7


def test_the_list_names_every_trace(capsys: pytest.CaptureFixture[str]) -> None:
    main_output = run(capsys, "--list")
    assert len(main_output.splitlines()) == 10
    assert "flash-crowd" in main_output


def test_the_figures_to_reach_and_the_missed_ones(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--scenario", "reconnect-storm", "--connections", "4000")
    (found, paced) = json.loads(run(capsys, *arguments, "-o", "json"))["targets"]
    assert found == {
        "scenario": "reconnect-storm",
        "figure": "clients turned away",
        "wanted": "at most 10 % of the HPA's 0",
        "reached": "0",
        "met": True,
    }
    assert (paced["figure"], paced["met"]) == ("closes a second", True)
    shown = run(capsys, *arguments)
    assert "Figures to reach" in shown
    assert "All 2 are met." in shown
    missed = Target(scenario="noise", figure="turns", wanted="at most 1", reached="2", met=False)
    render_targets([missed])
    assert "missed: noise: turns 2, wanted at most 1" in capsys.readouterr().out


def test_what_is_refused(capsys: pytest.CaptureFixture[str], trace: Path, tmp_path: Path) -> None:
    assert "one of --scenario NAME, --all, --trace FILE" in refused(capsys)
    assert "one of" in refused(capsys, "--all", "--trace", str(trace))
    assert "'calm' must be one of daily-wave, flash-crowd" in refused(capsys, "--scenario", "calm")
    assert "--connections is for named traces" in refused(
        capsys, "--trace", str(trace), "--connections", "5000"
    )
    assert "--min-replicas 9 must not be above --max-replicas 3" in refused(
        capsys, "--trace", str(trace), "--min-replicas", "9", "--max-replicas", "3"
    )
    trace.write_text("0,1\n10,many\n", "utf-8")
    assert "line 2: connections 'many' must be a number" in refused(capsys, "--trace", str(trace))
    assert "No such file" in refused(capsys, "--trace", str(tmp_path / "none.csv"))
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("kind: WsFleet\nspec: {autoscaling: {minReplicas: many}}\n", "utf-8")
    assert "spec.autoscaling.minReplicas" in refused(capsys, "--all", "-f", str(fleet))
    fleet.write_text("kind: Pod\n", "utf-8")
    assert "0 WsFleets in it; must be one" in refused(capsys, "--all", "-f", str(fleet))
