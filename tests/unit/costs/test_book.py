"""What is kept of a fleet: bounded, over hours and restarts, with the rare loads that tell costs apart."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.costs.scenes import CountingNode, TrueCosts, intervals
from wsfleet.costs import (
    Applied,
    CostBook,
    CostFigures,
    NodeMemory,
    book_from_status,
    book_to_status,
)
from wsfleet.costs.book import INTERVALS_KEPT

NOW = 1_000_000.0


def run(book: CostBook, nodes: list[CountingNode], minutes: int, seed: int, start: float = NOW) -> float:
    """A fleet of varied load, looked at each 20 s; the time after it."""
    dice, now = random.Random(seed), start
    for _ in range(minutes):
        published = dice.uniform(1, 300)
        share = [dice.uniform(0.2, 2.0) for _ in nodes]
        for _ in range(3):
            book.observe([node.look() for node in nodes], [], now)
            for node, part in zip(nodes, share, strict=True):
                node.run(20, 3000 * part, published)
            now += 20
    return now


def test_a_fleets_costs_are_found_and_the_fixed_part_in_percent() -> None:
    book, nodes = CostBook(), [CountingNode(f"n{at}", readers=2) for at in range(4)]
    run(book, nodes, 60, seed=1)
    assert book.estimate.split
    assert book.estimate.message_us == pytest.approx(12, rel=0.02)
    assert book.readers == 2
    fixed_us = 3000 + 40 * book.reads
    assert book.fixed_percent(1.8) == pytest.approx(100 * fixed_us / 1.8e6, rel=0.05)
    assert book.fixed_percent(8.0) == pytest.approx(100 * fixed_us / 2e6, rel=0.05)
    assert book.fixed_percent(0.0) == 0.0


def test_memory_is_bounded_and_a_rare_load_is_not_pushed_out() -> None:
    book, nodes = CostBook(), [CountingNode(f"n{at}") for at in range(20)]
    now = run(book, nodes, 12, seed=2)
    for node in nodes:
        node.run(40, 200, 1)
    rare = len([one for one in book.intervals if one.deliveries < 1500])
    assert rare > 5
    for _ in range(300):
        book.observe([node.look() for node in nodes], [], now)
        for node in nodes:
            node.run(60, 3000, 12)
        now += 60
    assert len(book.intervals) == INTERVALS_KEPT
    assert len([one for one in book.intervals if one.deliveries < 1500]) >= 5
    assert book.measured > 3000
    assert book.estimate.message_us == pytest.approx(12, rel=0.05)


def test_what_is_two_weeks_old_is_forgotten() -> None:
    book, nodes = CostBook(), [CountingNode("a")]
    run(book, nodes, 30, seed=3)
    run(book, nodes, 30, seed=4, start=NOW + 20 * 86_400)
    assert min(one.time for one in book.intervals) > NOW + 19 * 86_400


def test_memory_is_the_nodes_own_figure_by_how_much_they_saw() -> None:
    book, node = CostBook(), CountingNode("a")
    told = [
        NodeMemory(bytes_per_connection=900, connections=5000),
        NodeMemory(bytes_per_connection=1000, connections=4000),
        NodeMemory(bytes_per_connection=90_000, connections=600),
        NodeMemory(bytes_per_connection=1, connections=100),
        NodeMemory(bytes_per_connection=math.nan, connections=9000),
    ]
    book.observe([node.look()], told, NOW)
    node.run(60, 100, 10)
    assert book.observe([node.look()], told, NOW + 60)
    assert book.memory_bytes == 900


def test_a_restart_forgets_nothing() -> None:
    book = CostBook()
    now = run(book, [CountingNode(f"n{at}") for at in range(3)], 40, seed=5)
    book.memory_bytes = 1234.5
    figures = CostFigures(message_us=83.333, intake_us=40.0, idle_us=3000.0, memory_bytes=87_381.333)
    applied = Applied(figures=figures, moved_at=now - 7)
    kept = json.loads(json.dumps(book_to_status(book, applied)))
    assert len(json.dumps(kept)) < 6000
    again, restored = book_from_status(kept, now)
    assert restored == applied
    assert again.estimate.message_us == pytest.approx(book.estimate.message_us, rel=1e-4)
    assert again.estimate.split
    assert (again.measured, again.readers, again.memory_bytes) == (book.measured, 1, 1234.5)
    assert again.fixed_percent(1.8) == pytest.approx(book.fixed_percent(1.8), rel=0.01)
    assert len(again.intervals) == len(book.intervals)
    assert book_to_status(again, restored) == kept


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["intervals", "measured", "readers", "reads", "memoryBytes", "fittedAt", "estimate", "applied", "movedAt"]
)


@given(JSON | st.dictionaries(NAMES, JSON))
def test_a_memory_that_is_not_understood_is_left_and_nothing_fails(memory: Any) -> None:
    book, applied = book_from_status(memory, NOW)
    assert applied is None or applied.figures.usable
    fixed = book.fixed_percent(1.8)
    assert 0 <= fixed <= 100
    json.dumps(book_to_status(book, applied), allow_nan=False)


def test_an_idle_fleet_is_not_fitted_again_and_again() -> None:
    book = CostBook()
    book.intervals = intervals(TrueCosts(), 30, seed=1)
    assert book.observe([], [], NOW)
    assert not book.observe([], [], NOW + 1000)
