"""When a test has passed: the document's pass criteria, one thing going wrong at a time."""

from __future__ import annotations

import dataclasses
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.validate.runs import plan_of, run_of
from wsnode.config.expectations import TestName
from wsnode.validate_criteria import Outcome, Report, judge
from wsnode.validate_ranges import Verdict
from wsnode.validate_samples import NodeFigures, Run

LIGHT, TARGET, CAPACITY, OVERLOAD = TestName


def verdicts(report: Report) -> dict[str, str]:
    return {criterion.name: criterion.verdict.name for criterion in report.criteria}


def text_of(report: Report, name: str) -> str:
    return next(criterion.text for criterion in report.criteria if criterion.name == name)


def judged(name: TestName, **changes: Any) -> Report:
    plan = plan_of(name)
    return judge(plan, run_of(plan, **changes))


def overloaded(**changes: Any) -> Report:
    """12,000 clients at a node that lets 10,000 in and refuses the others with 503."""

    def change(second: int, node: NodeFigures) -> NodeFigures:
        return dataclasses.replace(node, rejections={"connections": 400 * second})

    values: dict[str, Any] = {"change": change, "failed_opens": {"http 503": 4_000}}
    return judged(OVERLOAD, **values | changes)


@pytest.mark.parametrize(
    ("name", "criteria"),
    [
        (LIGHT, ["no errors", "no connection refused"]),
        (TARGET, ["less than 1 % of messages dropped", "no connection refused"]),
        (CAPACITY, ["no connection refused", "CPU rejection threshold not hit"]),
    ],
)
def test_a_quiet_run_passes(name: TestName, criteria: list[str]) -> None:
    report = judged(name)
    assert report.outcome is Outcome.PASSED
    common = ["clients stay connected", "node stable", "messages arrive"]
    assert verdicts(report) == dict.fromkeys([*common, *criteria], "PASS")


def test_an_overload_that_is_refused_in_order_passes() -> None:
    report = overloaded()
    assert report.outcome is Outcome.PASSED
    assert text_of(report, "excess load refused in good order") == (
        "4,000 answers of 503, by the node for connections 4,000"
    )
    assert text_of(report, "limit holds") == "never above 10,000, WS_MAX_CONNECTIONS 10,000"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"failed_opens": {"refused": 3}}, "3 failed opens"),
        ({"closes": {"1006": 1}}, "1 closes"),
        ({"errors": {"RATE_LIMIT_EXCEEDED": 2}}, "2 errors told to clients"),
        ({"feed_losses": 5}, "5 times the feed was lost"),
        ({"lost": 1, "missed_while_away": 1}, "2 gaps"),
        ({"doubled": 1, "reordered": 1}, "2 messages doubled, out of order or unasked"),
    ],
)
def test_any_error_fails_the_light_test(changes: dict[str, Any], told: str) -> None:
    report = judged(LIGHT, **changes)
    assert report.outcome is Outcome.FAILED
    assert text_of(report, "no errors") == told


def test_a_few_gaps_pass_the_target_test_and_one_percent_does_not() -> None:
    # 5,000 clients and 100,000 messages; no message was short in the hold, so a gap counts as one.
    few, many = judged(TARGET, lost=500), judged(TARGET, lost=1_200)
    assert few.outcome is Outcome.PASSED
    assert text_of(few, "less than 1 % of messages dropped") == "0.50 %, 500 gaps beside 100,000 messages"
    assert many.outcome is Outcome.FAILED


def test_a_gap_counts_for_as_many_messages_as_did_not_come() -> None:
    plan = plan_of(TARGET)
    run = run_of(plan, lost=10)
    # 4 messages a second for 2,500 clients each: the last second's 10,000 did not come.
    last = dataclasses.replace(run.samples[-1], deliveries=run.samples[-2].deliveries)
    report = judge(plan, dataclasses.replace(run, samples=(*run.samples[:-1], last)))
    assert report.figures.dropped_percent == pytest.approx(100 * 10_000 / 110_000)


def test_clients_that_leave_are_not_stable() -> None:
    falling = {"subscribed": lambda second: 5_000 * min(second, 2) // 2 - (60 if second > 5 else 0)}
    report = judged(TARGET, **falling, closes={"1006": 60})
    assert text_of(report, "clients stay connected") == (
        "4,940 of 5,000 all through 8 s, 60 closed (most: 1006, 60)"
    )
    assert report.outcome is Outcome.FAILED


def test_no_connection_at_all_fails() -> None:
    plan = plan_of(LIGHT)
    run = run_of(plan, admin=False, opened_total=0, failed_opens={"refused": 99})
    report = judge(plan, dataclasses.replace(run, samples=run.samples[:2]))
    assert report.outcome is Outcome.FAILED
    assert text_of(report, "clients stay connected") == ("no connection could be opened (most: refused, 99)")


def test_clients_that_are_all_gone_before_the_hold_fail() -> None:
    plan = plan_of(LIGHT)
    run = run_of(plan, closes={"1012": 776})
    ramp = dataclasses.replace(run, samples=run.samples[:2])
    told = text_of(judge(plan, ramp), "clients stay connected")
    assert told == "none was left when all were due (most: 1012, 776)"
    early = judge(plan, dataclasses.replace(ramp, clients=run_of(plan).clients, interrupted=True))
    assert early.outcome is Outcome.INTERRUPTED


def restarted(second: int, node: NodeFigures) -> NodeFigures:
    return dataclasses.replace(node, uptime_seconds=float(second)) if second > 5 else node


def silent(second: int, node: NodeFigures) -> NodeFigures | None:
    return None if second > 5 else node


def unready(second: int, node: NodeFigures) -> NodeFigures:
    return dataclasses.replace(node, ready=second != 5)


def another(second: int, node: NodeFigures) -> NodeFigures:
    return dataclasses.replace(node, name="node-b") if second == 5 else node


@pytest.mark.parametrize("name", TestName)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (restarted, "it restarted"),
        (silent, "its admin port did not answer for 15 s"),
        (unready, "not ready in 1 of 22 samples"),
        (another, "the admin port is another node's than before"),
    ],
)
def test_an_unstable_node_fails_every_test(name: TestName, change: Any, told: str) -> None:
    report = judged(name, change=change, seconds=20, failed_opens={"http 503": 2_000})
    assert report.outcome is Outcome.FAILED
    assert text_of(report, "node stable") == told


def test_a_busy_moment_fails_the_capacity_test() -> None:
    def busy(second: int, node: NodeFigures) -> NodeFigures:
        return dataclasses.replace(node, cpu_percent=75.5 if second == 4 else 60.0)

    report = judged(CAPACITY, change=busy)
    assert report.outcome is Outcome.FAILED
    assert text_of(report, "CPU rejection threshold not hit") == (
        "at most 75.5 % of WS_CPU_LIMIT, threshold 75 %"
    )
    assert judged(TARGET, change=busy).outcome is Outcome.PASSED


@pytest.mark.parametrize("name", [LIGHT, TARGET, CAPACITY])
def test_a_refused_client_fails_all_but_the_overload(name: TestName) -> None:
    def change(second: int, node: NodeFigures) -> NodeFigures:
        return dataclasses.replace(node, rejections={"cpu": 7 if second > 5 else 0})

    report = judged(name, change=change)
    assert report.outcome is Outcome.FAILED
    assert text_of(report, "no connection refused") == "cpu 7 refused"
    assert judged(name, admin=False, failed_opens={"http 503": 1}).outcome is Outcome.FAILED


def test_an_overload_that_nobody_refuses_fails() -> None:
    assert overloaded(failed_opens={}).outcome is Outcome.FAILED


def test_resets_and_timeouts_are_no_good_order() -> None:
    report = overloaded(failed_opens={"http 503": 900, "timed out: connect": 100})
    assert report.outcome is Outcome.FAILED
    assert text_of(report, "excess load refused in good order") == (
        "900 answers of 503, by the node for connections 4,000; 100 others (most: timed out: connect, 100)"
    )


def test_an_overload_that_costs_those_who_are_in_their_place_fails() -> None:
    assert overloaded(closes={"1008": 101}).outcome is Outcome.FAILED
    assert overloaded(closes={"1008": 100}).outcome is Outcome.PASSED


def test_a_limit_that_does_not_hold_fails() -> None:
    report = overloaded(change=lambda second, node: dataclasses.replace(node, connections=10_001))
    assert verdicts(report)["limit holds"] == "FAIL"


@pytest.mark.parametrize(
    ("name", "share", "verdict"),
    [
        (CAPACITY, 0.0, "FAIL"),
        (CAPACITY, 1e-6, "FAIL"),  # a single message is no load
        (LIGHT, 0.89, "FAIL"),
        (LIGHT, 0.91, "PASS"),
        (OVERLOAD, 0.49, "FAIL"),
        (OVERLOAD, 0.51, "PASS"),
    ],
)
def test_about_as_many_messages_come_as_were_published(name: TestName, share: float, verdict: str) -> None:
    plan = plan_of(name)
    run = run_of(plan)
    some = [dataclasses.replace(sample, deliveries=ceil(share * sample.deliveries)) for sample in run.samples]
    report = judge(plan, dataclasses.replace(run, samples=tuple(some)))
    assert verdicts(report)["messages arrive"] == verdict


def test_without_traffic_nobody_knows_of_losses() -> None:
    report = judged(LIGHT, published=False, deliveries=0)
    assert verdicts(report)["no errors"] == "UNKNOWN"
    assert report.outcome is Outcome.PASSED_IN_PART
    assert verdicts(judged(TARGET, deliveries=0))["less than 1 % of messages dropped"] == "UNKNOWN"


@pytest.mark.parametrize("name", [LIGHT, TARGET, CAPACITY])
def test_without_an_admin_port_it_says_what_it_cant_judge(name: TestName) -> None:
    report = judged(name, admin=False)
    assert report.outcome is Outcome.PASSED_IN_PART
    assert verdicts(report)["node stable"] == "UNKNOWN"
    assert any(note.startswith("without an admin port only") for note in report.notes)


def test_a_run_that_was_ended_early_is_not_passed() -> None:
    plan = plan_of(LIGHT)
    run = dataclasses.replace(run_of(plan), interrupted=True)
    report = judge(plan, run)
    assert report.outcome is Outcome.INTERRUPTED
    assert "ended early, after 8 of 300 s" in report.notes
    failed = dataclasses.replace(run_of(plan, closes={"1006": 1}), interrupted=True)
    assert judge(plan, failed).outcome is Outcome.FAILED


def test_what_was_there_before_is_noted() -> None:
    notes = judged(LIGHT, before={"connections": 37}).notes
    assert "37 connections were there before the run; figures include them" in notes
    notes = judged(LIGHT, nodes={n: {"open": 1.0, "first_seen": 0.0} for n in ("node-a", "node-b")}).notes
    assert "50 % of the clients are on other nodes than the admin port's" in notes


@given(
    name=st.sampled_from(list(TestName)),
    admin=st.booleans(),
    seconds=st.integers(0, 15),
    published=st.booleans(),
    figures=st.dictionaries(
        st.sampled_from(["lost", "doubled", "deliveries", "opened_total"]), st.integers(0, 10**6)
    ),
    missing=st.sets(st.sampled_from(["cpu_percent", "memory_bytes", "goroutines", "connections", "ready"])),
)
def test_any_run_has_a_report(
    name: TestName,
    admin: bool,
    seconds: int,
    published: bool,
    figures: dict[str, Any],
    missing: set[str],
) -> None:
    def change(second: int, node: NodeFigures) -> NodeFigures:
        nothing: dict[str, Any] = dict.fromkeys(missing)
        return dataclasses.replace(node, **nothing)

    plan = plan_of(name)
    run: Run = run_of(plan, admin=admin, seconds=seconds, published=published, change=change, **figures)
    report = judge(plan, run)
    found = {criterion.verdict for criterion in report.criteria}
    assert (report.outcome is Outcome.FAILED) == (Verdict.FAIL in found)
    assert all(judgement.verdict is not Verdict.FAIL for judgement in report.ranges)
