"""One budget for all closes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.scaling import (
    DrainState,
    NodeSample,
    Phase,
    drain_rate,
    drain_rates,
    nodes_at_once,
    rates_to_tell,
)


def pod(uid: str, connections: int | None, **more: object) -> NodeSample:
    return NodeSample(uid=uid, name=uid, shape="a", connections=connections, **more)  # type: ignore[arg-type]


def test_one_that_drains_alone_has_all_of_it() -> None:
    assert drain_rate("a", [pod("a", 5000), pod("b", 5000)], None, 100.0) == 100.0
    assert drain_rate("a", [pod("a", 5000), pod("b", 5000)], 40.0, 100.0) == 40.0


def test_those_that_are_emptied_share_it_as_their_connections_are() -> None:
    pods = [pod("a", 3000), pod("b", 1000, marked_seconds=1.0), pod("c", 9000)]
    assert drain_rate("a", pods, 100.0, 100.0) == 75.0
    assert drain_rate("b", [pod("a", 3000, drain=DrainState.CLOSING), pods[1]], 100.0, 100.0) == 25.0


def test_pods_that_end_by_themselves_take_theirs_first_and_never_all() -> None:
    leaving = pod("x", 500, phase=Phase.TERMINATING)
    assert drain_rate("a", [pod("a", 100), leaving], 100.0, 60.0) == 40.0
    assert drain_rate("a", [pod("a", 100), leaving], 100.0, 500.0) == 10.0


def leaving(uid: str, connections: int | None, answered: float | None = 0.0) -> NodeSample:
    return pod(uid, connections, phase=Phase.TERMINATING, sample_age_seconds=answered)


def test_pods_that_others_delete_share_the_budget_while_they_answer() -> None:
    drains = pod("a", 3000, drain=DrainState.CLOSING, marked_seconds=30.0)
    pods = [drains, leaving("b", 1000), pod("c", 9000)]
    assert drain_rates(pods, 100.0, 100.0) == {"a": 75.0, "b": 25.0}
    assert drain_rates([leaving("b", 1000), leaving("d", 1000)], 100.0, 100.0) == {"b": 50.0, "d": 50.0}
    silent = [drains, leaving("b", 1000, answered=16.0), leaving("d", 1000, answered=None)]
    assert drain_rates(silent, 100.0, 30.0) == {"a": 40.0}
    assert drain_rates([drains, leaving("b", 0)], 100.0, 100.0) == {"a": 100.0}, "an empty one takes nothing"


def test_a_node_is_told_its_rate_when_it_has_become_another() -> None:
    drains, ends = pod("a", 3000, drain=DrainState.CLOSING, drain_rate=80.0), leaving("b", 3000)
    pods = [drains, ends, pod("c", 3000, marked_seconds=1.0)]
    rates = {"a": 50.0, "b": 50.0, "c": 50.0}
    assert rates_to_tell(pods, rates, {}, 100.0) == {"a": 50.0, "b": 50.0}, "the third has not begun"
    assert rates_to_tell(pods, rates, {"a": 50.0, "b": 55.0}, 100.0) == {}
    assert rates_to_tell(pods, rates, {"a": 100.0, "b": 30.0}, 100.0) == {"a": 50.0, "b": 50.0}
    assert rates_to_tell([ends], {"b": 100.0}, {}, 100.0) == {}
    nearly = leaving("b", 150)
    assert rates_to_tell([nearly], {"b": 50.0}, {}, 100.0) == {}, "it is over in two seconds"


@given(
    st.lists(
        st.tuples(st.sampled_from(["drains", "ends", "silent", "serves"]), st.none() | st.integers(0, 9000)),
        min_size=1,
        max_size=30,
    ),
    st.floats(1, 10_000),
    st.floats(0, 200),
)
def test_with_those_that_others_delete_it_is_never_more_than_the_budget(
    kinds: list[tuple[str, int | None]], budget: float, own_rate: float
) -> None:
    pods = []
    for number, (kind, connections) in enumerate(kinds):
        uid = str(number)
        if kind in ("ends", "silent"):
            pods.append(leaving(uid, connections, 0.0 if kind == "ends" else None))
        else:
            state = DrainState.CLOSING if kind == "drains" else DrainState.NONE
            pods.append(pod(uid, connections, drain=state))
    rates = drain_rates(pods, budget, own_rate)
    by_themselves = own_rate * sum(1 for kind, connections in kinds if kind == "silent" and connections)
    assert sum(rates.values()) <= max(budget - by_themselves, budget * 0.1) * 1.001 + 1e-3 * len(rates)


@given(st.lists(st.none() | st.integers(0, 10_000), min_size=1, max_size=30), st.floats(1, 10_000), st.data())
def test_together_they_never_have_more_than_the_budget(
    connections: list[int | None], budget: float, data: st.DataObject
) -> None:
    marks = data.draw(st.lists(st.booleans(), min_size=len(connections), max_size=len(connections)))
    pods = [
        pod(str(index), one, marked_seconds=1.0 if mark else None)
        for index, (one, mark) in enumerate(zip(connections, marks, strict=True))
    ]
    rates = [drain_rate(one.uid, pods, budget, 0.0) for one in pods if one.marked]
    assert sum(rates) <= budget * 1.001 + 1e-3 * len(rates)


@pytest.mark.parametrize(
    ("nodes", "connections", "closes", "at_once"),
    [
        (3, 24_000, 100.0, 1),
        (1, 0, 100.0, 1),
        (0, 0, 100.0, 1),
        (8, 0, 100.0, 2),
        (40, 320_000, 177.8, 1),
        (40, 40_000, 100.0, 6),
        (2000, 10_000_000, 5555.6, 66),
    ],
)
def test_a_wave_is_what_the_budget_empties_in_a_minute_and_at_most_a_quarter(
    nodes: int, connections: int, closes: float, at_once: int
) -> None:
    assert nodes_at_once(nodes, connections, closes) == at_once
