"""Costs in force move by at most 20 %, at most once a day, and never away from what was measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.costs import Applied, CostFigures, advance

DAY = 86_400.0
SEED = CostFigures(message_us=100.0, intake_us=0.0, idle_us=0.0, memory_bytes=104_857.6)
WANTED = CostFigures(message_us=12.0, intake_us=80.0, idle_us=3000.0, memory_bytes=1000.0)


def test_the_first_step_is_at_once_and_the_next_a_day_later() -> None:
    first = advance(Applied(figures=SEED), WANTED, 1000.0)
    assert first.figures.message_us == pytest.approx(100 / 1.2)
    assert first.figures.memory_bytes == pytest.approx(104_857.6 / 1.2)
    assert first.figures.idle_us == 3000
    assert first.moved_at == 1000
    assert advance(first, WANTED, 1000 + DAY - 1) is first
    second = advance(first, WANTED, 1000 + DAY)
    assert second.figures.message_us == pytest.approx(100 / 1.44)
    assert second.moved_at == 1000 + DAY


def test_it_arrives_and_stays() -> None:
    applied, now = Applied(figures=SEED), 0.0
    for _ in range(40):
        applied, now = advance(applied, WANTED, now), now + DAY
    assert applied.figures.message_us == pytest.approx(12, rel=0.05)
    assert applied.figures.intake_us == pytest.approx(80, rel=0.05)
    assert advance(applied, WANTED, now + 100 * DAY) is applied


def test_nothing_measured_and_a_clock_set_back_move_nothing() -> None:
    applied = Applied(figures=SEED, moved_at=5 * DAY)
    assert advance(applied, None, 10 * DAY) is applied
    assert advance(applied, WANTED, 1 * DAY) is applied
    broken = CostFigures(message_us=math.nan, intake_us=0, idle_us=0, memory_bytes=1)
    assert advance(applied, broken, 10 * DAY) is applied


def test_an_upper_bound_only_lowers() -> None:
    present = Applied(figures=CostFigures(message_us=20, intake_us=0, idle_us=0, memory_bytes=1000))
    bound = CostFigures(message_us=50, intake_us=0, idle_us=0, memory_bytes=1000)
    assert advance(present, bound, DAY, only_down=True) is present
    assert advance(present, bound, DAY).figures.message_us == pytest.approx(24)


def test_a_bound_that_holds_all_parts_takes_none_of_them_away() -> None:
    split = Applied(figures=CostFigures(message_us=20, intake_us=300, idle_us=10_000, memory_bytes=1000))
    bound = CostFigures(message_us=45, intake_us=0, idle_us=0, memory_bytes=1000)
    assert advance(split, bound, DAY, only_down=True) is split


POSITIVE = st.floats(1.0, 1e7)
FIGURES = st.builds(
    CostFigures,
    message_us=POSITIVE,
    intake_us=st.floats(0, 1e6),
    idle_us=st.floats(0, 1e6),
    memory_bytes=st.floats(256, 1e7),
)


@given(FIGURES, FIGURES, st.booleans())
def test_a_step_is_bounded_goes_towards_what_is_wanted_and_not_beyond(
    present: CostFigures, wanted: CostFigures, only_down: bool
) -> None:
    after = advance(Applied(figures=present), wanted, 0.0, only_down=only_down).figures
    for name in ("message_us", "memory_bytes"):
        old, new, goal = getattr(present, name), getattr(after, name), getattr(wanted, name)
        assert old / 1.2000001 <= new <= old * 1.2000001
        assert min(old, goal) * 0.9999999 <= new <= max(old, goal) * 1.0000001
    for name in ("intake_us", "idle_us"):
        old, new, goal = getattr(present, name), getattr(after, name), getattr(wanted, name)
        assert min(old, goal) <= new <= max(old, goal)
    assert after.usable
