"""`make up` tells each step, and where a step fails, which one and where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import traffic
from tests.cluster.client import Client
from tests.cluster.demo import Demo, Step, farewell, run
from tests.cluster.liveview import View
from tests.cluster.places import Places
from tests.cluster.shell import ClusterError


def nothing(demo: Demo) -> str:
    return "done"


def failure(demo: Demo) -> str:
    raise ClusterError("helm says no")


DEMO = Demo(Places(Path("/tmp/x"), Path("/tmp/y")), {})


def test_each_step_is_told_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    run(DEMO, [Step("one", nothing), Step("two", nothing)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("] ")[1].split(" (")[0] for line in lines] == [
        "step 1 of 2, one …",
        "step 1 of 2, one: done",
        "step 2 of 2, two …",
        "step 2 of 2, two: done",
    ]
    assert lines[1].endswith(" s)")


def test_a_failure_names_its_step_and_what_to_look_at() -> None:
    steps = [Step("one", nothing), Step("two", failure, "kubectl get pods"), Step("three", nothing)]
    with pytest.raises(
        ClusterError, match="step 2 of 3, two: helm says no\nto look into it: kubectl get pods"
    ):
        run(DEMO, steps)


def test_a_fleet_that_has_grown_before_is_told_in_one_line_and_not_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    grown = View("Running", 2, 2, traffic.CONNECTIONS, 20_000, 5.0, 8000, "1 to 2: Connections", (), "")
    assert traffic._in_lines(lambda: grown) == grown
    assert capsys.readouterr().out.count("Running: 2/2 nodes ready") == 1


def test_what_to_try_next_holds_for_a_service_that_was_made_again() -> None:
    places = Places(Path("/tmp/x"), Path("/tmp/y"))
    text = farewell(Demo(places, {}, Client(Path("/k"), "/b/kubectl", "/b/helm", {}, places)))
    assert "tail ws://$(kubectl get service odin -o jsonpath={.spec.clusterIP})/ws BTC.trade" in text
    assert "make down" in text


@pytest.mark.parametrize("local", [True, False])
def test_the_path_to_try_next_leads_to_the_plugin(local: bool) -> None:
    places = Places(Path("/tmp/x"), Path("/tmp/y"))
    client = Client(Path("/k"), "/b/kubectl", "/b/helm", {}, places if local else None)
    lines = [line.strip() for line in farewell(Demo(places, {}, client)).splitlines()]
    exported = next(line for line in lines if line.startswith("export "))
    folder = Path(exported.rpartition(":")[2])
    assert (folder / "kubectl-wsfleet").exists()
    assert exported.startswith("export KUBECONFIG=/k PATH=/b:$PATH:" if local else "export PATH=$PATH:")
    assert "kubectl wsfleet top odin" in lines
