"""What is said of a fleet: conditions and phase from one look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from wsfleet.reconcile.findings import (
    all_findings,
    degraded_finding,
    feed_finding,
    phase_of,
    problem_findings,
    ready_finding,
    waits_in_vain,
    with_problem,
    with_trouble,
)
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.settings import nodes_in_force
from wsfleet.reconcile.stream import stream_finding
from wsfleet.scaling import Decision, Idle, NodeSample, Stalled, Trigger, Wait
from wsfleet.scrape import NodeFigures
from wsfleet.status import Finding, merge_conditions
from wsnode.config import Settings

STREAM = stream_finding(Settings(), [])
WAS_READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def seen(*pods: NodeSample, figures: dict[str, NodeFigures] | None = None, **raw: Any) -> Observed:
    return Observed(
        now=1000.0,
        sets=(),
        pods=pods,
        raw_pods={pod.uid: {"status": raw} for pod in pods},
        figures=figures or {},
        targets={},
    )


def node(uid: str, ready: bool = True, **more: Any) -> NodeSample:
    return NodeSample(uid=uid, name=f"odin-{uid}", shape="s", ready=ready, **more)


def decision(desired: int, **more: Any) -> Decision:
    numbers: dict[str, Any] = {
        "current": desired,
        "desired": desired,
        "recommended": desired,
        "wish": desired,
    }
    return Decision(time=1000.0, trigger=Trigger.STEADY, **numbers, **more)


def test_ready_comes_with_all_nodes_and_stays_while_half_of_them_are() -> None:
    assert ready_finding(seen(node("a"), node("b")), 2, {}).status == "True"
    half = seen(node("a"), node("b", ready=False))
    assert ready_finding(half, 2, {}).status == "False"
    assert ready_finding(half, 2, WAS_READY).status == "True"
    assert ready_finding(half, 3, WAS_READY).status == "False"
    assert ready_finding(seen(), 1, WAS_READY).reason == "NoNodes"
    assert ready_finding(seen(), 0, {}).reason == "ScaledToZero"


def test_a_node_that_is_late_once_has_not_lost_its_feed_nor_its_settings() -> None:
    told = NodeFigures(taken=0, feed_connected=True, settings_hash="h")
    late = replace(seen(node("a")), known={"a": told})
    assert feed_finding(late).reason == "Connected"
    assert nodes_in_force(late, "h") == 1
    newer = replace(late, figures={"a": NodeFigures(taken=1, feed_connected=False)})
    assert feed_finding(newer).reason == "FeedLost"
    assert nodes_in_force(newer, "h") == 0


class Counted(Mapping[str, NodeFigures]):
    """Counts how often it is gone through."""

    def __init__(self, figures: dict[str, NodeFigures]) -> None:
        self.figures, self.times = figures, 0

    def __getitem__(self, uid: str) -> NodeFigures:
        return self.figures[uid]

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)


def test_what_is_known_of_the_nodes_is_put_together_once_a_look() -> None:
    pods = [node(str(number)) for number in range(50)]
    known = Counted({pod.uid: NodeFigures(taken=0, feed_connected=True, settings_hash="h") for pod in pods})
    look = replace(seen(*pods), known=known)
    all_findings(look, decision(50), Idle(), {}, STREAM)
    assert nodes_in_force(look, "h") == 50
    assert known.times == 1, "for each node anew it takes minutes in a fleet of thousands"


def test_a_lost_feed_names_the_nodes_and_unknown_is_not_lost() -> None:
    pods = (node("a"), node("b"))
    assert feed_finding(seen(*pods)).status == "Unknown"
    figures = {
        "a": NodeFigures(taken=0, feed_connected=True),
        "b": NodeFigures(taken=0, feed_connected=False),
    }
    lost = feed_finding(seen(*pods, figures=figures))
    assert (lost.status, lost.reason) == ("False", "FeedLost")
    assert lost.message == "1 of 2 nodes has lost NATS: odin-b"
    reads = feed_finding(seen(node("a"), figures=figures))
    assert (reads.status, reads.message) == ("True", "the node reads from NATS")


TROUBLE = "nats://***@nats:4222: Connect call failed"


def unseeded(trouble: str | None = TROUBLE) -> NodeFigures:
    return NodeFigures(taken=0, feed_connected=False, feed_seeded=False, feed_trouble=trouble)


def test_nodes_that_never_had_nats_say_where_they_look_for_it_and_what_happens() -> None:
    pods = (node("a"), node("b", ready=False), node("c", ready=False))
    figures = {"a": NodeFigures(taken=0, feed_connected=True), "b": unseeded(None), "c": unseeded()}
    found = feed_finding(seen(*pods, figures=figures))
    assert (found.status, found.reason) == ("False", "NotReached")
    assert found.message == f"2 of 3 nodes have not reached NATS yet: odin-b, odin-c; odin-c: {TROUBLE}"
    one = feed_finding(seen(pods[2], figures=figures))
    assert one.message == f"1 of 1 node has not reached NATS yet; odin-c: {TROUBLE}"
    # Those that had it and lost it are clients' affair, so they come first.
    lost = NodeFigures(taken=0, feed_connected=False, feed_seeded=True, feed_trouble=TROUBLE)
    found = feed_finding(seen(*pods, figures={**figures, "a": lost}))
    assert found.message == f"1 of 3 nodes has lost NATS; odin-a: {TROUBLE}"


@pytest.mark.parametrize(
    ("pod", "figures", "reason"),
    [
        (node("a", ready=False, pod_age_seconds=61.0), unseeded(), "NatsNotReached"),
        (node("a", ready=False, pod_age_seconds=59.0), unseeded(), "AsExpected"),
        (node("a", ready=False, pod_age_seconds=9e5, unready_seconds=5.0), unseeded(), "AsExpected"),
        (node("a", ready=False, pod_age_seconds=61.0), unseeded(None), "AsExpected"),
        (node("a", pod_age_seconds=61.0), unseeded(), "AsExpected"),
    ],
)
def test_a_new_node_that_does_not_reach_nats_degrades_after_a_while(
    pod: NodeSample, figures: NodeFigures, reason: str
) -> None:
    found = degraded_finding(seen(node("z"), pod, figures={"a": figures}), Idle())
    assert found.reason == reason
    if found.status == "True":
        assert found.message == f"odin-a has not reached NATS since its start: {TROUBLE}"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such"}}}]},
            "ErrImagePull: no such",
        ),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        ({"containerStatuses": [{"state": {"running": {}}}]}, ""),
    ],
)
def test_a_pod_that_waits_in_vain_says_why(raw: dict[str, Any], words: str) -> None:
    pod = node("a", ready=False)
    assert waits_in_vain(seen(pod, **raw), pod) == words


def test_an_unschedulable_pod_says_what_the_scheduler_says_and_which_number_to_change() -> None:
    pod = node("a", ready=False, unschedulable=True)
    conditions = [{"type": "PodScheduled", "message": "0/1 nodes are available: 1 Insufficient memory."}]
    found = degraded_finding(seen(pod, conditions=conditions), Idle())
    assert (found.status, found.reason) == ("True", "Unschedulable")
    assert found.message == (
        "no Kubernetes node takes 1 of 1 pod; odin-a: 0/1 nodes are available: 1 Insufficient memory. "
        "Add machines, or lower spec.template.resources.requests"
    )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "0/1 nodes are available: 1 node(s) were unschedulable.",
            "Machines are cordoned and take no pods: uncordon one, or add machines",
        ),
        (
            "0/2 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable.",
            "Machines are cordoned: uncordon one, add machines, or lower spec.template.resources.requests",
        ),
    ],
)
def test_cordoned_machines_are_not_blamed_on_the_requests(text: str, advice: str) -> None:
    pod = node("a", ready=False, unschedulable=True)
    found = degraded_finding(seen(pod, conditions=[{"type": "PodScheduled", "message": text}]), Idle())
    assert found.message.endswith(advice)


def test_pods_that_a_quota_forbids_are_told_in_its_words() -> None:
    refused = replace(seen(), refusals=("odin-1: pods is forbidden: exceeded quota",))
    found = degraded_finding(refused, Idle(), 1)
    assert (found.reason, found.message) == (
        "PodsRefused",
        "pods can't be made; odin-1: pods is forbidden: exceeded quota",
    )


def test_no_machine_being_large_enough_is_said_before_a_pod_waits_and_not_of_a_full_fleet() -> None:
    found = degraded_finding(seen(), Idle(), 1, "too large")
    assert (found.status, found.reason, found.message) == ("True", "NoMachineFits", "too large")
    waiting = node("a", ready=False, unschedulable=True)
    assert degraded_finding(seen(waiting), Idle(), 1, "too large").reason == "NoMachineFits"
    assert degraded_finding(seen(node("a", machine="m")), Idle(), 1, "too large").status == "False"


def test_a_stream_that_no_node_can_use_is_told_with_the_cause() -> None:
    problem = "stream ODIN_TOKENS has storage memory, file is needed"
    figures = {"a": NodeFigures(taken=0, feed_connected=False, feed_problem=problem)}
    found = feed_finding(seen(node("a", ready=False), figures=figures))
    assert (found.status, found.reason) == ("False", "StreamUnusable")
    assert found.message == f"1 of 1 node can't use the stream; odin-a: {problem}"


def test_refused_settings_and_a_stalled_rollout_degrade() -> None:
    figures = {"a": NodeFigures(taken=0, settings_error="WS_MAX_CONNECTIONS=x: must be a number")}
    assert degraded_finding(seen(node("a"), figures=figures), Idle()).reason == "SettingsRefused"
    assert degraded_finding(seen(node("a")), Stalled(reason="odin-b is not ready")).reason == "Stalled"
    assert degraded_finding(seen(node("a")), Idle()).status == "False"


def test_every_condition_type_is_told_once() -> None:
    found = all_findings(seen(node("a")), decision(1), Idle(), {}, STREAM)
    types = sorted(finding.type for finding in found)
    assert types == [
        "Degraded",
        "FeedConnected",
        "Progressing",
        "Ready",
        "Reconciling",
        "ScalingActive",
        "ScalingLimited",
        "Stalled",
        "StreamDiffers",
    ]
    assert len(merge_conditions([], found, 1000.0, 1)) == 9


def test_the_phase_is_the_most_urgent() -> None:
    fine = seen(node("a"))
    findings = all_findings(fine, decision(1), Idle(), {}, STREAM)
    assert phase_of(findings, fine, decision(1), rolling=False) == "Running"
    assert phase_of(findings, fine, decision(1), rolling=True) == "RollingOut"
    assert phase_of(findings, fine, decision(2), rolling=False) == "Scaling"
    none = seen()
    assert (
        phase_of(all_findings(none, decision(1), Idle(), {}, STREAM), none, decision(1), False) == "Pending"
    )
    bad = problem_findings("InvalidSpec", "spec.x: no", stalled=True)
    assert phase_of(bad, fine, decision(1), False) == "Degraded"


def test_a_problem_tells_kstatus_whether_waiting_helps() -> None:
    stalled = {one.type: one.status for one in problem_findings("InvalidSpec", "no", stalled=True)}
    assert (stalled["Stalled"], stalled["Reconciling"]) == ("True", "False")
    retried = {one.type: one.status for one in problem_findings("UnavailableError", "no", stalled=False)}
    assert (retried["Stalled"], retried["Reconciling"]) == ("False", "True")


def by_type(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {one.type: one for one in findings}


def test_what_cannot_be_written_degrades_and_stands_beside_what_is_wrong_already() -> None:
    text = "Service/odin: PATCH /x: no"
    told = by_type(with_trouble(all_findings(seen(node("a")), decision(1), Idle(), {}, STREAM), text))
    assert (told["Degraded"].status, told["Degraded"].reason) == ("True", "ObjectNotWritten")
    assert told["Degraded"].message == "not written: Service/odin: PATCH /x: no"
    assert (told["Reconciling"].status, told["Reconciling"].reason) == ("True", "Retrying")
    assert told["Ready"].status == "True"
    stalled = Stalled(reason="odin-b is not ready")
    told = by_type(with_trouble(all_findings(seen(node("a")), decision(1), stalled, {}, STREAM), text))
    assert told["Degraded"].reason == "Stalled"
    assert told["Degraded"].message == f"odin-b is not ready; besides, not written: {text}"


def test_a_spec_that_is_not_applied_is_told_beside_what_the_nodes_do() -> None:
    moving = Wait(reason="odin-a is being emptied")
    found = all_findings(seen(node("a")), decision(1), moving, {}, STREAM)
    told = by_type(with_problem(found, "InvalidSpec", "spec.x: no"))
    assert len(told) == len(found)
    assert {name: told[name].status for name in ("Degraded", "Stalled", "Reconciling")} == {
        "Degraded": "True",
        "Stalled": "True",
        "Reconciling": "False",
    }
    assert (told["Degraded"].reason, told["Degraded"].message) == ("InvalidSpec", "spec.x: no")
    assert (told["Progressing"].status, told["Progressing"].message) == ("True", "odin-a is being emptied")
    assert told["Ready"].status == "True"
