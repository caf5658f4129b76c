"""What becomes an interval, and what is left out because the node did something else than serve."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.unit.costs.scenes import CountingNode
from wsfleet.costs import Interval, NodeCount
from wsfleet.costs.meter import NODES_WATCHED, Meter

NOW = 1_000_000.0


def two_looks(
    node: CountingNode, change: dict[str, float] | None = None, seconds: float = 60.0
) -> list[Interval]:
    """A minute of 1,000 deliveries and 10 messages a second between two looks; `change` is of the second."""
    meter = Meter()
    assert meter.observe([node.look()], NOW) == []
    node.run(seconds, 1000, 10)
    return meter.observe([replace(node.look(), **(change or {}))], NOW + seconds)  # type: ignore[arg-type]


def test_a_minute_becomes_rates_a_second() -> None:
    (found,) = two_looks(CountingNode("a"))
    assert found.time == NOW + 60
    assert found.cpu_us == pytest.approx(3000 + 12 * 1000 + 40 * 10)
    assert found.deliveries == pytest.approx(1000)
    assert found.reads == pytest.approx(10)
    assert found.connections == 1000


def test_every_process_of_a_node_takes_a_message_in() -> None:
    (found,) = two_looks(CountingNode("a", readers=4))
    assert found.reads == pytest.approx(40)
    assert found.cpu_us == pytest.approx(3000 + 12 * 1000 + 40 * 40)


def test_looks_each_five_seconds_make_an_interval_a_minute() -> None:
    node, meter, found = CountingNode("a"), Meter(), 0
    for look in range(61):
        found += len(meter.observe([node.look()], NOW + 5 * look))
        node.run(5, 1000, 10)
    assert found == 5


@pytest.mark.parametrize(
    "change",
    [
        {"uptime_seconds": 30.0},  # started again
        {"cpu_seconds": 1.0},
        {"deliveries": 5.0},
        {"messages_in": 5.0},
        {"cpu_seconds": 1e9},
        {"connections": 3000},
        {"connections": 10},
        {"readers": 2},
        {"steady": False},
        {"replayed": 10_000.0},
        {"cpu_seconds": math.nan},
        {"deliveries": math.inf},
        {"messages_in": -1.0},
        {"connections": None},
        {"cpu_seconds": None},
    ],
)
def test_a_minute_in_which_the_node_did_not_just_serve_is_left_out(change: dict[str, float]) -> None:
    node = CountingNode("a", read=100.0, out=100.0)
    assert two_looks(node, change) == []


def test_a_young_node_and_a_long_gap_are_left_out() -> None:
    assert two_looks(CountingNode("a", uptime=20.0)) == []
    assert two_looks(CountingNode("a"), seconds=200.0) == []


def test_a_node_that_has_gone_is_forgotten_and_a_new_one_of_its_name_starts_anew() -> None:
    meter, node = Meter(), CountingNode("a")
    meter.observe([node.look()], NOW)
    node.run(30, 1000, 10)
    meter.observe([], NOW + 30)
    node.run(30, 1000, 10)
    assert meter.observe([node.look()], NOW + 60) == []


def test_of_a_large_fleet_some_nodes_speak_for_all() -> None:
    meter = Meter()
    nodes = [CountingNode(f"{number:04}") for number in range(500)]
    meter.observe([node.look() for node in nodes], NOW)
    for node in nodes:
        node.run(60, 1000, 10)
    assert len(meter.observe([node.look() for node in nodes], NOW + 60)) == NODES_WATCHED


def test_a_look_without_figures_is_not_usable() -> None:
    assert not NodeCount(uid="a", taken=0.0).usable
