"""What counts as a figure."""

from __future__ import annotations

import pytest

from wsfleet.scaling import DrainState, NodeSample, Phase, closes_per_second, count, drain_state, figure


@pytest.mark.parametrize("value", [None, "7", True, float("nan"), float("inf"), -0.5, -1, [], {}])
def test_what_is_no_figure_is_missing_and_not_zero(value: object) -> None:
    assert figure(value) is None
    assert count(value) is None


def test_figures_and_counts() -> None:
    assert figure(0) == 0.0
    assert figure(12.5) == 12.5
    assert count(7.9) == 7


def test_a_limit_of_zero_connections_is_missing() -> None:
    assert NodeSample(uid="a", name="a", shape="s", max_connections=0).max_connections is None


def test_drain_states_are_read_leniently() -> None:
    assert drain_state("closing") is DrainState.CLOSING
    assert drain_state("something new") is None
    assert drain_state(None) is None


def test_a_sample_is_whole_only_with_fresh_connections_and_cpu() -> None:
    sample = NodeSample(uid="a", name="a", shape="s", connections=1, cpu_percent=2.0, sample_age_seconds=14)
    assert sample.has_figures(15)
    assert not sample.has_figures(10)
    assert not NodeSample(uid="a", name="a", shape="s", connections=1, sample_age_seconds=1).has_figures(15)


def test_a_node_can_serve_when_it_is_ready_and_nothing_takes_it_away() -> None:
    def can_serve(**more: object) -> bool:
        return NodeSample(uid="a", name="a", shape="s", **({"ready": True} | more)).can_serve  # type: ignore[arg-type]

    assert can_serve()
    assert can_serve(drain=DrainState.NONE)
    assert not can_serve(ready=False)
    assert not can_serve(drain=DrainState.DELAY)
    assert not can_serve(marked_seconds=0.0)
    assert not can_serve(phase=Phase.TERMINATING)


def test_the_budget_of_closes_is_100_a_second_or_all_within_half_an_hour() -> None:
    assert closes_per_second(5000) == 100
    assert closes_per_second(1_800_000) == 1000
    assert closes_per_second(1_800_000, configured=50) == 50
