"""What a status says, and what follows from samples in a row."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.validate.runs import node_at, plan_of, run_of
from wsnode.config.expectations import TestName
from wsnode.validate_samples import NodeFigures, Sample, rate_over, rates

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["node", "uptime_seconds", "ready", "connections", "cpu", "memory", "goroutines", "messages"]
STATUS = st.dictionaries(
    st.sampled_from([*NAMES, "rejections"]),
    JSON | st.dictionaries(st.sampled_from(["current", "percent", "bytes", "out"]), JSON),
)


def test_a_status_as_nodes_send_it() -> None:
    body = {
        "node": "node-a",
        "uptime_seconds": 12.5,
        "ready": True,
        "connections": {"current": 812, "max": 10_000},
        "cpu": {"percent": 12.5, "limit_cores": 1.8},
        "memory": {"bytes": 1_000, "limit_bytes": 2_000},
        "goroutines": {"current": 1_886, "limit": 25_000},
        "messages": {"in": 1, "out": 99, "bytes_out": 5},
        "rejections": {"connections": 3, "cpu": 0},
        "something": "new",
    }
    assert NodeFigures.from_status(body) == NodeFigures(
        "node-a", 12.5, True, 812, 12.5, 1_000, 1_886, 99, {"connections": 3, "cpu": 0}
    )


@given(STATUS)
def test_a_strange_status_has_figures_that_make_sense_or_none(body: dict[str, object]) -> None:
    if "connections" not in body:
        with pytest.raises(ValueError, match="not the status of a node"):
            NodeFigures.from_status(body)
        return
    figures = NodeFigures.from_status(body)
    for value in (figures.cpu_percent, figures.memory_bytes, figures.messages_out, figures.uptime_seconds):
        assert value is None or (math.isfinite(value) and value >= 0)


@pytest.mark.parametrize("body", [None, [], "ok", 3, {"healthy": True}])
def test_what_is_no_status(body: object) -> None:
    with pytest.raises(ValueError, match="not the status of a node"):
        NodeFigures.from_status(body)


def _sample(at: float, deliveries: int) -> Sample:
    return Sample(at, "hold", open=1, subscribed=1, messages=0, deliveries=deliveries)


def test_rates_over_time() -> None:
    samples = [_sample(0, 0), _sample(1, 100), _sample(2, 300), _sample(4, 300), _sample(5, 1_300)]
    assert rates(samples, lambda s: s.deliveries) == [None, 100, 150, 0, pytest.approx(1_000 / 3)]
    assert rate_over(samples, lambda s: s.deliveries) == 260


def test_no_rate_where_nothing_is_known_or_a_total_began_anew() -> None:
    samples = [_sample(0, 100), _sample(1, 200), _sample(2, 10), _sample(3, 20)]
    assert rates(samples, lambda s: s.deliveries) == [None, 100, None, 10]
    assert rates(samples, lambda s: None) == [None] * 4
    assert rate_over(samples, lambda s: None) is None
    assert rate_over(samples[:1], lambda s: s.deliveries) is None


@given(st.lists(st.tuples(st.floats(0.5, 3), st.none() | st.integers(0, 10**9)), max_size=20))
def test_a_rate_is_never_negative(steps: list[tuple[float, int | None]]) -> None:
    samples, at, totals = [], 0.0, {}
    for step, total in steps:
        at += step
        samples.append(_sample(at, 0))
        totals[at] = total
    found = rates(samples, lambda s: totals[s.at_seconds])
    assert len(found) == len(samples)
    assert all(rate is None or rate >= 0 for rate in found)


def test_rejections_are_those_of_the_run() -> None:
    plan = plan_of(TestName.LIGHT)

    def change(second: int, node: NodeFigures) -> NodeFigures:
        return dataclasses.replace(node, rejections={"connections": 10 + second, "cpu": 4})

    run = run_of(plan, change=change, before={"rejections": {"connections": 10, "cpu": 4}})
    assert run.rejections() == {"connections": 10}
    assert run_of(plan, admin=False).rejections() == {}


def test_the_silence_of_an_admin_port() -> None:
    plan = plan_of(TestName.LIGHT)
    assert run_of(plan).longest_silence_seconds() == 1
    assert run_of(plan, change=lambda n, node: None if 3 <= n <= 6 else node).longest_silence_seconds() == 5
    assert run_of(plan, change=lambda n, node: None if n > 2 else node).longest_silence_seconds() == 8
    assert run_of(plan, admin=False).longest_silence_seconds() == 0


def test_the_hold() -> None:
    run = run_of(plan_of(TestName.LIGHT), seconds=10)
    assert [sample.at_seconds for sample in run.hold] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert run.held_seconds == 8
    assert run.nodes[0] == node_at(0)
