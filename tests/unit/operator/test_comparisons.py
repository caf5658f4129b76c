"""The spec against what only the cluster knows: the stream, the machines, what a user may wonder about."""

from __future__ import annotations

from typing import Any

import pytest

from wsfleet.reconcile.machines import misfit
from wsfleet.reconcile.remarks import remarks_on
from wsfleet.reconcile.stream import stream_finding
from wsfleet.scrape import NodeFigures, parse_status
from wsnode.config import Settings

SETTINGS = Settings(nats_url="nats://nats:4222")
STREAM = {
    "max_age_seconds": 30.0,
    "max_msgs": 100_000,
    "max_bytes": 52_428_800,
    "subjects": ["odin.token.>"],
}


def node(taken: float = 1.0, **changes: Any) -> NodeFigures:
    return parse_status({"feed": {"stream": STREAM | changes}}, taken)


def test_a_stream_as_the_spec_says_is_no_difference() -> None:
    found = stream_finding(SETTINGS, [node()])
    assert (found.type, found.status, found.reason) == ("StreamDiffers", "False", "AsWished")


def test_without_a_nodes_word_nothing_is_known_of_the_stream() -> None:
    assert stream_finding(SETTINGS, []).status == "Unknown"
    assert stream_finding(SETTINGS, [parse_status({}, 1.0)]).status == "Unknown"


def test_what_nodes_of_an_earlier_shape_read_stays_said_until_a_new_one_reads() -> None:
    said = {"type": "StreamDiffers", "status": "True", "reason": "StreamExists", "message": "as it was"}
    before = {"conditions": [said]}
    kept = stream_finding(SETTINGS, [parse_status({}, 1.0)], [node()], before)
    assert (kept.status, kept.reason, kept.message) == ("True", "StreamExists", "as it was")
    assert stream_finding(SETTINGS, [node()], [node()], before).status == "False"
    assert stream_finding(SETTINGS, [], [parse_status({}, 1.0)], before).status == "Unknown"
    assert stream_finding(SETTINGS, [], [node()], {}).status == "Unknown"


def test_a_stream_that_differs_is_told_with_the_command_that_changes_it() -> None:
    told = [node(max_age_seconds=3600.0, max_msgs=-1)]
    found = stream_finding(SETTINGS, told, pod="-n shop odin-1")
    assert (found.status, found.reason) == ("True", "StreamExists")
    assert found.message == (
        "stream ODIN_TOKENS is not as spec.nats.stream says: maxAge is 3600 s, not 30 s; maxMessages is "
        "unlimited, not 100000. An existing stream is never changed by operator or nodes. To change it: "
        "kubectl exec -it -n shop odin-1 -- wsnode stream apply"
    )


@pytest.mark.parametrize("subjects", [["odin.news.>", "odin.token.>"], ["odin.>"], [">"], []])
def test_a_stream_that_takes_more_than_ours_is_no_difference(subjects: list[str]) -> None:
    assert stream_finding(SETTINGS, [node(subjects=subjects)]).status == "False"


def test_a_stream_that_lacks_our_subject_keeps_those_of_others() -> None:
    found = stream_finding(SETTINGS, [node(subjects=["odin.news.>"])])
    assert "subjects are odin.news.>, without odin.token.>" in found.message
    assert found.message.endswith("kubectl exec -it POD -- wsnode stream apply")


def test_the_latest_word_counts_and_nonsense_is_no_difference() -> None:
    assert stream_finding(SETTINGS, [node(2.0), node(1.0, max_msgs=7)]).status == "False"
    strange = node(max_age_seconds="long", max_msgs=None, max_bytes=True, subjects="all")
    assert stream_finding(SETTINGS, [strange]).status == "False"


def template(cpu: str, memory: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]}}


def machine(cpu: str, memory: str) -> dict[str, Any]:
    return {"status": {"allocatable": {"cpu": cpu, "memory": memory}}}


def test_a_pod_that_no_machine_is_large_enough_for_says_which_number_to_change() -> None:
    machines = [machine("2", "4Gi"), machine("940m", "8000Mi")]
    assert misfit(template("1500m", "6Gi"), machines) == (
        "a pod requests cpu 1500m and memory 6Gi, and no Kubernetes node has that (the largest: cpu 940m and "
        "memory 8000Mi allocatable); lower spec.template.resources.requests, or add larger machines"
    )


@pytest.mark.parametrize(
    "machines",
    [
        [machine("1", "1Gi"), machine("1500m", "6Gi")],
        [machine("2", "6442450944")],
        [machine("2000000u", "6Gi")],
        [machine("strange", "6Gi")],
        [{"status": {}}],
        [],
    ],
)
def test_a_machine_that_is_large_enough_or_not_known_is_no_obstacle(machines: list[dict[str, Any]]) -> None:
    assert misfit(template("1500m", "6Gi"), machines) == ""


@pytest.mark.parametrize(
    ("spec", "remarks"),
    [
        ({}, {"ScaleNeedsReplicas"}),
        ({"replicas": 0}, set()),
        ({"autoscaling": {"maxReplicas": 3}}, set()),
        ({"autoscaling": {"maxReplicas": 3}, "replicas": 0}, {"ReplicasIgnored: 0"}),
    ],
)
def test_what_there_is_to_remark_on_a_spec(spec: dict[str, Any], remarks: set[str]) -> None:
    assert set(remarks_on(spec)) == remarks


def test_an_ignored_size_is_remarked_anew_when_it_was_changed_again() -> None:
    first, second = (remarks_on({"autoscaling": {}, "replicas": number}) for number in (3, 5))
    assert not first.keys() & second.keys()
    assert list(second.values()) == [
        ("ReplicasIgnored", "spec.replicas (5) is ignored while spec.autoscaling is set")
    ]
