"""`make up` tells each step, and where a step fails, which one and where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.demo import Demo, Step, run
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
