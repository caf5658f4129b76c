"""Memory a connection, from how a node's memory grew."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsnode.connection_memory import ConnectionMemory, MemoryGrowth

BASE = 60_000_000


def grown(counts: list[int], each: float, noise: int = 0, seed: int = 0) -> MemoryGrowth:
    """A node that has been idle for a while and then had so many connections, a second each."""
    dice, growth = random.Random(seed), MemoryGrowth()
    for count in [0] * 30 + counts:
        growth.sample(count, BASE + round(count * each) + dice.randint(0, noise))
    return growth


def test_a_node_that_saw_few_connections_says_nothing() -> None:
    assert MemoryGrowth().figure is None
    assert grown([], 1000).figure is None
    assert grown([150] * 100, 1000).figure is None


def test_the_slope_is_what_a_connection_takes() -> None:
    assert grown([*range(0, 5000, 100), *([5000] * 60)], 900).figure == ConnectionMemory(900, 5000)


def test_memory_that_is_kept_when_clients_leave_does_not_hide_what_they_took() -> None:
    growth = grown([*range(0, 5000, 100), *([5000] * 60)], 900)
    for _ in range(1000):
        growth.sample(100, BASE + 4_400_000)
    assert growth.figure == ConnectionMemory(900, 5000)


@settings(max_examples=50, deadline=None)
@given(st.integers(500, 50_000), st.integers(0, 10_000))
def test_noise_of_a_megabyte_matters_little_over_thousands(each: int, seed: int) -> None:
    dice = random.Random(seed)
    counts = sorted(dice.randint(0, 10_000) for _ in range(200)) + [10_000] * 30
    found = grown(counts, each, noise=1_000_000, seed=seed).figure
    assert found is not None
    assert found.bytes_each == pytest.approx(each, rel=0.1, abs=150)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 2**40)), max_size=200))
def test_whatever_it_sees_it_is_never_negative_and_stays_small(samples: list[tuple[int, int]]) -> None:
    growth = MemoryGrowth()
    for connections, memory in samples:
        growth.sample(connections, memory)
    assert growth.figure is None or growth.figure.bytes_each >= 0


def test_a_reset_forgets() -> None:
    growth = grown([*range(0, 5000, 100)], 900)
    growth.reset()
    assert growth.figure is None
