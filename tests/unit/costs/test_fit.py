"""Costs are found again in noisy figures of many nodes, wild ones among them, and never absurd."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.costs.scenes import TrueCosts, intervals
from wsfleet.costs import Interval, fit

COSTS = st.builds(
    TrueCosts,
    idle_us=st.floats(0, 30_000),
    message_us=st.floats(2, 200),
    read_us=st.floats(0, 500),
)


def test_too_few_intervals_say_nothing() -> None:
    found = fit(intervals(TrueCosts(), 19, seed=1))
    assert found.message_us is None
    assert found.fixed_us(100) == found.careful_fixed_us(100) == 0.0
    assert found.intervals == 19


@settings(max_examples=60, deadline=None, derandomize=True)
@given(costs=COSTS, seed=st.integers(0, 10_000), outliers=st.sampled_from([0.0, 0.1, 0.2]))
def test_known_costs_are_found_again_among_outliers(costs: TrueCosts, seed: int, outliers: float) -> None:
    found = fit(intervals(costs, 96, seed, outliers=outliers))
    assert found.message_us is not None
    assert found.split
    assert found.message_us == pytest.approx(costs.message_us, rel=0.12)
    middle = costs.cpu_us(0, 200)
    # Too large a fixed part would shrink a fleet too far; too small a one only keeps nodes.
    assert found.fixed_us(200) <= 1.12 * middle + 6 * found.fixed_error_us
    assert found.careful_fixed_us(200) <= middle * 1.06 + 0.02 * costs.cpu_us(10_000, 200)
    if outliers == 0:
        assert found.outliers <= 15


def test_nearly_always_they_are_found_exactly() -> None:
    rng = random.Random(1)
    exact = 0
    for seed in range(60):
        costs = TrueCosts(rng.uniform(0, 30_000), rng.uniform(2, 200), rng.uniform(0, 500))
        found = fit(intervals(costs, 96, seed, outliers=rng.choice([0.0, 0.1, 0.2])))
        middle = costs.cpu_us(0, 200)
        near = abs(found.fixed_us(200) - middle) <= 0.06 * middle + 6 * found.fixed_error_us
        exact += near and found.message_us == pytest.approx(costs.message_us, rel=0.06)
    assert exact >= 57


def test_the_cost_of_a_message_taken_in_is_told_from_the_idle_part() -> None:
    found = fit(intervals(TrueCosts(idle_us=3000, message_us=12, read_us=40), 96, seed=3, outliers=0.1))
    assert found.read_known
    assert found.read_us == pytest.approx(40, rel=0.15)
    assert found.idle_us == pytest.approx(3000, rel=0.4)


def test_a_steady_feed_leaves_the_two_together_and_their_sum_right() -> None:
    steady = intervals(TrueCosts(), 96, seed=4, reads=(12.0, 12.0))
    found = fit(steady)
    assert not found.read_known
    assert 0 < found.read_us <= 300
    assert found.fixed_us(12) == pytest.approx(3000 + 40 * 12, rel=0.3)


def test_a_load_that_never_changes_gives_an_upper_bound_and_no_fixed_part() -> None:
    found = fit(intervals(TrueCosts(), 96, seed=5, reads=(12.0, 12.0), deliveries=(2000.0, 2001.0)))
    assert not found.split
    assert found.fixed_us(12) == found.careful_fixed_us(12) == 0.0
    assert found.message_us == pytest.approx((3000 + 40 * 12 + 12 * 2000) / 2000, rel=0.02)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("factor", [3, 10, 100])
def test_absurd_deliveries_of_a_few_do_not_pull_the_fit_to_themselves(seed: int, factor: int) -> None:
    given_intervals = intervals(TrueCosts(), 96, seed)
    absurd = [one._replace(deliveries=one.deliveries * factor) for one in given_intervals[:5]]
    assert fit(absurd + given_intervals[5:]).message_us == pytest.approx(12, rel=0.05)


@pytest.mark.parametrize("seed", range(10))
def test_a_machine_that_ran_hot_under_the_highest_load_is_left_out(seed: int) -> None:
    by_load = sorted(intervals(TrueCosts(), 96, seed), key=lambda one: one.deliveries)
    hot = [one._replace(cpu_us=one.cpu_us * 3) for one in by_load[-20:]]
    assert fit(by_load[:-20] + hot).message_us == pytest.approx(12, rel=0.05)


def test_an_idle_fleet_says_nothing() -> None:
    found = fit(intervals(TrueCosts(), 96, seed=6, reads=(0.0, 0.0), deliveries=(0.0, 0.0)))
    assert found.message_us is None
    assert not found.split


WILD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e6, 1e9), st.sampled_from([0.0, 1e300, -0.0])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.builds(Interval, WILD, WILD, WILD, WILD, WILD), max_size=60))
def test_whatever_it_is_given_nothing_is_negative_or_not_a_number(given_intervals: list[Interval]) -> None:
    found = fit(given_intervals)
    for value in (found.message_us or 0.0, found.read_us, found.idle_us):
        assert math.isfinite(value)
        assert value >= 0
    for fixed in (found.fixed_us(100.0), found.careful_fixed_us(100.0)):
        assert math.isfinite(fixed)
        assert fixed >= 0
