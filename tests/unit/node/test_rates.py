"""Rates without timers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsnode.rates import TokenBucket, spaced


def test_no_rate_is_no_limit() -> None:
    bucket = TokenBucket(0)
    bucket.take(1.0, 10**9)
    assert (bucket.wait_seconds(1.0), bucket.available(1.0)) == (0.0, float("inf"))


def test_a_debt_is_waited_for() -> None:
    bucket = TokenBucket(100)
    assert bucket.wait_seconds(5.0) == 0
    bucket.take(5.0, 60)  # 10 are the burst, 50 are owed
    assert 0.5 <= bucket.wait_seconds(5.0) < 0.51
    assert bucket.wait_seconds(5.51) == 0


@given(st.floats(1, 10_000), st.lists(st.floats(0, 0.05), min_size=50, max_size=300))
def test_in_the_long_run_the_rate_holds(rate: float, gaps: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate), 100.0, 0.0
    for gap in gaps:
        now += gap
        if not bucket.wait_seconds(now):
            bucket.take(now, 3)
            taken += 3
    assert taken <= (now - 100.0) * rate + bucket.burst + 3


def test_a_burst_then_one_at_a_time() -> None:
    due, allowed = 0, 0
    for _ in range(150):
        result = spaced(due, 1_000_000, 100, 10.0)
        if result is not None:
            due, allowed = result, allowed + 1
    assert allowed == 100
    assert spaced(due, 1_000_099, 100, 10.0) is None
    after = spaced(due, 1_000_100, 100, 10.0)
    assert after is not None
    assert spaced(after, 1_000_100, 100, 10.0) is None
    later = spaced(after, 2_000_000, 100, 10.0)  # rest gives the whole burst back, no more
    assert later == 2_000_100
