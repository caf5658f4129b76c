"""Medians, steps, verdicts and tables of the benchmark."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.cases import CASES, FLOOR, Case, Kind
from tests.bench.dense import full
from tests.bench.figures import (
    Results,
    Step,
    expected_deliveries,
    from_json,
    judge,
    medians,
    to_json,
)
from tests.bench.plan import items
from tests.bench.processes import BenchError
from tests.bench.readme import BEGIN, END, block, placed
from tests.bench.servers import all_servers
from tests.bench.table import (
    markdown,
    ratios_table,
    render,
    servers_table,
    skipped_lines,
    summary_table,
)
from tests.bench.targets import TARGETS, Against, Target

W1 = next(case for case in CASES if case.name == "W1")
W4 = next(case for case in CASES if case.name == "W4")


def some_results() -> Results:
    results = Results(
        titles={"wsnode": "wsnode", "floor": "C floor", "uwebsockets": "uWebSockets", "nats-ws": "nats"},
        go={"nats-ws"},
    )
    for server, costs in (
        ("wsnode", (10.0, 30.0, 9.0)),
        ("floor", (9.0, 9.5, 9.0)),
        ("nats-ws", (15.0, 16.0, 14.0)),
    ):
        results.samples[server, "W1"] = [{"us_per_delivery": cost, "p99_ms": 100.0} for cost in costs]
    results.steps["wsnode"] = [[step(1000, 0.5), step(3500, 0.1), step(4000, 0.1, "late")]] * 2
    results.steps["uwebsockets"] = [[step(1000, 1.0)], [step(1000, 1.2), step(3500, 0.4)]]
    results.skipped["uwebsockets", "*"] = "no wheel here"
    return results


def step(rate: float, cost: float, why: str = "") -> Step:
    return Step(rate, {"us_per_delivery": cost, "deliveries_per_second": rate * 1000}, why)


def test_one_bad_run_does_not_move_a_median() -> None:
    assert medians([{"a": 1.0}, {"a": 50.0, "b": 2.0}, {"a": 2.0}]) == {"a": 2.0, "b": 2.0}
    assert medians([]) == {}


@pytest.mark.parametrize(
    ("against", "bound", "own", "reference", "value", "met"),
    [
        (Against.RATIO, 1.12, 11.2, 10.0, 1.12, True),
        (Against.RATIO, 1.12, 11.3, 10.0, 1.13, False),
        (Against.ABOVE_BY, 10.0, 28.0, 18.0, 10.0, True),
        (Against.ABOVE_BY, 10.0, 28.5, 18.0, 10.5, False),
        (Against.AT_MOST, 60.0, 60.0, None, 60.0, True),
        (Against.AT_LEAST, 12_000.0, 11_999.0, None, 11_999.0, False),
        (Against.RATIO, 1.12, None, 10.0, None, None),
        (Against.RATIO, 1.12, 11.0, None, None, None),
    ],
)
def test_a_figure_is_held_against_its_bound(
    against: Against,
    bound: float,
    own: float | None,
    reference: float | None,
    value: float | None,
    met: bool | None,
) -> None:
    named = FLOOR if against in (Against.RATIO, Against.ABOVE_BY) else ""
    verdict = judge(Target("W1", "us_per_delivery", against, bound, named), own, reference)
    assert verdict.met is met
    assert verdict.value == (None if value is None else pytest.approx(value))


def test_dense_traffic_is_compared_at_the_highest_rate_that_both_held_in_every_run() -> None:
    results = some_results()
    target = next(t for t in TARGETS if t.case == "W4" and t.reference == "uwebsockets")
    assert results.held("wsnode") == {1000, 3500}
    assert results.held("uwebsockets") == {1000}
    own, theirs = results.pair(target)
    assert own == 0.5
    assert theirs == pytest.approx(1.1)
    assert results.medians("wsnode", "W4")["us_per_delivery"] == 0.1


def test_the_tables_say_what_was_reached_and_what_was_not() -> None:
    results = some_results()
    rows = servers_table(W1, results)
    assert rows[0] == ["server", "us CPU/delivery", "p99 ms"]
    assert rows[1] == ["wsnode", "10.0", "100.0"]
    ratios = ratios_table(results)
    assert [
        "W1",
        "CPU a delivery, us",
        "10.0",
        "C floor",
        "9.0",
        "1.11 x",
        "at most 1.12 x",
        "ok",
    ] in ratios
    assert "0.67 x" in render(ratios)
    assert servers_table(W4, results)[1][-2:] == ["3,500,000", "late"]
    assert skipped_lines(results) == ["uWebSockets: no wheel here"]
    assert markdown(rows).splitlines()[1] == "| --- | --- | --- |"


def test_a_case_that_could_not_be_run_is_shown_as_not_measured() -> None:
    results = some_results()
    results.skipped["wsnode", "W1-deflate"] = "not offered yet"
    row = next(row for row in ratios_table(results) if row[0] == "W1-deflate")
    assert row[5:] == ["not measured", "at most 1.25 x", "-"]
    assert not servers_table(next(c for c in CASES if c.name == "W1-deflate"), results)


def test_results_survive_json() -> None:
    results = some_results()
    assert from_json(json.loads(json.dumps(to_json(results)))) == results


@given(
    first=st.integers(0, 300),
    count=st.integers(0, 300),
    lists=st.integers(1, 12),
    each=st.integers(1, 4),
    clients=st.integers(0, 60),
)
def test_each_message_is_expected_by_each_client_of_its_channel(
    first: int, count: int, lists: int, each: int, clients: int
) -> None:
    case = Case("x", "x", "x", Kind.STEADY, clients, lists * each, each)
    wanted, names = case.subscriptions(), case.channel_names()
    by_hand = sum(
        names[number % len(names)] in wanted[client % len(wanted)]
        for number in range(first, first + count)
        for client in range(clients)
    )
    assert (
        expected_deliveries(first, first + count, case.channels, clients, len(wanted), case.each) == by_hand
    )


def test_every_target_names_a_case_that_is_run() -> None:
    names = {case.name for case in CASES}
    assert {target.case for target in TARGETS} <= names
    assert {target.reference_case for target in TARGETS} <= {*names, ""}


def test_a_full_run_fits_into_its_time_and_measures_in_each_run_what_targets_look_at() -> None:
    plan = items(all_servers(), CASES, 3)
    assert sum(item.seconds(8) for item in plan) < 35 * 60
    runs = {(item.server.name, case.name): 0 for item in plan for case in item.cases}
    for item in plan:
        for case in item.cases:
            runs[item.server.name, case.name] += 1
    assert runs["wsnode", "drops"] == runs["floor", "W3"] == runs["uwebsockets", "W4"] == 3
    assert runs["nats-ws", "W2"] == runs["centrifugo", "W2"] == 3
    assert runs["websockets", "W1"] == runs["floor", "W4"] == 1
    assert ("floor", "drops") not in runs
    assert [item.run for item in plan] == sorted(item.run for item in plan)


def test_the_readme_gets_the_tables_between_its_marks_and_keeps_the_rest() -> None:
    facts = {
        name: name for name in ("cpu", "cores", "memory", "kernel", "python", "uvloop", "runs", "date")
    } | {"window_seconds": "8"}
    new = block(some_results(), facts)
    text = placed(f"before\n{BEGIN}\nold\n{END}\nafter\n", new)
    assert text == f"before\n{BEGIN}\n{new}\n{END}\nafter\n"
    assert "| C floor | 9.0 |" in new
    assert "- uWebSockets: no wheel here" in new
    assert placed(text, new) == text
    with pytest.raises(BenchError, match="lacks the lines"):
        placed("before", new)


def test_the_summary_has_a_row_for_each_server_that_was_measured() -> None:
    assert [row[:2] for row in summary_table(some_results())] == [
        ["server", "W1 us"],
        ["wsnode", "10.0"],
        ["C floor", "9.0"],
        ["nats", "15.0"],
    ]


def test_delta_is_held_against_what_the_same_messages_cost_in_full() -> None:
    results = some_results()
    results.samples["wsnode", "W2-delta"] = [{"bytes_per_delivery": 180.0, "plain_bytes": 400.0}]
    row = next(row for row in ratios_table(results) if row[0] == "W2-delta")
    assert row[2:] == ["180.0", "the same in full", "400.0", "0.45 x", "at most 0.5 x", "ok"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"closed": 3.0}, "3 clients were cut off"),
        ({"p99_ms": 1500.0}, "late"),
        ({"p99_ms": 1500.0, "server_busy_percent": 98.0}, "the server's core is full"),
        ({"deliveries_per_second": 900.0, "others_busy_percent": 99.0}, "the clients' core is full"),
        ({"deliveries_per_second": 900.0}, "fewer arrived than were due"),
    ],
)
def test_a_step_that_is_not_held_says_what_was_full(changes: dict[str, float], why: str) -> None:
    held = {
        "closed": 0.0,
        "deliveries_per_second": 990.0,
        "p99_ms": 20.0,
        "server_busy_percent": 40.0,
        "others_busy_percent": 40.0,
    }
    assert full({**held, **changes}, 1000.0) == why
