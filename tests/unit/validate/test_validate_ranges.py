"""A node beside the expected ranges: within, better, worse, and where nothing can be said."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.unit.validate.runs import plan_of, run_of
from wsnode.config.expectations import MIB, Range, TestName
from wsnode.validate_ranges import Judgement, figures_of, judge_ranges
from wsnode.validate_samples import NodeFigures


def ranges(name: TestName, wishes: dict[str, Any] | None = None, **changes: Any) -> dict[str, Judgement]:
    plan = plan_of(name, **(wishes or {}))
    run = run_of(plan, **changes)
    return {judgement.name: judgement for judgement in judge_ranges(plan, run, figures_of(plan, run))}


def with_figures(**figures: Any) -> Any:
    return lambda second, node: dataclasses.replace(node, **figures)


def verdict(found: dict[str, Judgement], name: str) -> tuple[str, str]:
    return found[name].verdict.name, found[name].text


def test_a_node_that_needs_less_is_better_and_it_says_by_how_much() -> None:
    found = ranges(TestName.LIGHT)
    assert verdict(found, "CPU") == (
        "BETTER",
        "this node needs 2.0 times less than the least that the document expects",
    )
    assert (found["CPU"].measured, found["CPU"].expected) == (5.0, Range(10, 20))
    assert verdict(found, "memory") == (
        "BETTER",
        "this node needs 4.0 times less than the least that the document expects",
    )
    assert verdict(found, "goroutines") == ("PASS", "")
    assert verdict(found, "messages") == ("PASS", "")
    assert found["messages"].measured == 4_000


def test_a_node_as_expected() -> None:
    found = ranges(TestName.LIGHT, change=with_figures(cpu_percent=20.0, memory_bytes=200 * MIB))
    assert {judgement.verdict.name for judgement in found.values()} == {"PASS"}


def test_a_node_that_needs_more_is_worse() -> None:
    found = ranges(TestName.LIGHT, change=with_figures(cpu_percent=21.0, goroutines=5_001))
    assert verdict(found, "CPU") == ("WORSE", "this node needs more than the document expects")
    assert found["goroutines"].verdict.name == "WORSE"


def test_few_connections_say_nothing_of_what_a_node_needs_more() -> None:
    found = ranges(TestName.LIGHT, {"connections": 100}, change=with_figures(cpu_percent=5.0))
    assert verdict(found, "CPU") == (
        "UNKNOWN",
        "what the node needs at rest tells with so few connections",
    )


def test_a_light_load_makes_no_node_better() -> None:
    slow = with_figures(messages_out=0, cpu_percent=1.0)
    found = ranges(TestName.LIGHT, published=False, change=slow)
    assert verdict(found, "CPU") == ("UNKNOWN", "the load was lighter than the test's")
    assert found["messages"].text == (
        "the load was lighter than the test's; --publish nats://... brings its own"
    )
    assert found["memory"].verdict.name == "BETTER"


def test_missing_clients_make_no_node_better() -> None:
    found = ranges(TestName.LIGHT, subscribed=lambda second: 1_000)
    assert {found[name].verdict.name for name in ("CPU", "memory")} == {"UNKNOWN"}


def test_a_node_that_sends_less_than_was_published_is_worse() -> None:
    def half(second: int, node: NodeFigures) -> NodeFigures:
        return dataclasses.replace(node, messages_out=2_000 * second)

    found = ranges(TestName.LIGHT, change=half)
    assert verdict(found, "messages") == ("WORSE", "published were messages for 4,000/s")


def test_a_heavier_load_is_said() -> None:
    def much(second: int, node: NodeFigures) -> NodeFigures:
        return dataclasses.replace(node, messages_out=9_000 * second)

    assert verdict(ranges(TestName.LIGHT, change=much), "messages") == (
        "PASS",
        "a heavier load than the test's",
    )


@pytest.mark.parametrize(
    ("connections", "reason", "told"),
    [
        (10_000, "connections", ("PASS", "")),
        (9_500, "cpu", ("PASS", "")),
        (9_499, "cpu", ("WORSE", "refused for cpu")),
        (10_001, "connections", ("WORSE", "above the limit")),
    ],
)
def test_the_final_count_of_an_overload(connections: int, reason: str, told: tuple[str, str]) -> None:
    change = with_figures(connections=connections, rejections={reason: 2_000})
    assert verdict(ranges(TestName.OVERLOAD, change=change), "final connections") == told


def test_an_overload_expects_no_memory_goroutines_or_rate() -> None:
    found = ranges(TestName.OVERLOAD)
    assert list(found) == ["CPU", "final connections"]
    assert found["CPU"].verdict.name == "BETTER"
    assert found["CPU"].expected == Range(75, None)


def test_clients_on_other_nodes_leave_the_node_unjudged() -> None:
    nodes = {"node-a": {"open": 1_000, "first_seen": 0.0}, "node-b": {"open": 1_000, "first_seen": 0.0}}
    found = ranges(TestName.LIGHT, nodes=nodes)
    assert verdict(found, "CPU") == ("UNKNOWN", "most of the load may be elsewhere")


def test_without_an_admin_port() -> None:
    found = ranges(TestName.LIGHT, admin=False)
    assert [(name, judgement.verdict.name) for name, judgement in found.items()] == [
        ("CPU", "UNKNOWN"),
        ("memory", "UNKNOWN"),
        ("goroutines", "UNKNOWN"),
        ("messages", "PASS"),
    ]
    assert ranges(TestName.OVERLOAD, admin=False)["final connections"].verdict.name == "UNKNOWN"


def test_figures_leave_the_ramp_and_its_echo_out() -> None:
    def ramp(second: int, node: NodeFigures) -> NodeFigures:
        return dataclasses.replace(node, cpu_percent=50.0 if second < 4 else 10.0)

    plan = plan_of(TestName.LIGHT)
    figures = figures_of(plan, run_of(plan, change=ramp))
    assert (figures.cpu_mean, figures.cpu_peak) == (10.0, 50.0)
