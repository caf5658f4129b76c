"""What a validation test is going to do, on the document's machine, on others, and as the user wishes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.validate.runs import plan_of
from wsnode.config import Settings
from wsnode.config.expectations import MIB, Range, TestName
from wsnode.validate_plan import ValidateError, Wishes, make_plan
from wsnode.validate_plan import test_name as name_of_test

SMALL = Settings(max_connections=1_000, max_goroutines=2_500)


@pytest.mark.parametrize(
    ("name", "connections", "seconds", "final"),
    [
        (TestName.LIGHT, 2_000, 300, 2_000),
        (TestName.TARGET, 5_000, 600, 5_000),
        (TestName.CAPACITY, 10_000, 600, 10_000),
        (TestName.OVERLOAD, 12_000, 300, 10_000),
    ],
)
def test_unasked_it_is_the_documents_test(name: TestName, connections: int, seconds: int, final: int) -> None:
    plan = make_plan(name, Wishes(), None)
    assert (plan.test.connections, plan.duration_seconds) == (connections, seconds)
    assert plan.test.final_connections == final
    assert not plan.reduced
    assert not plan.settings_known


def test_a_smaller_node_gets_the_same_shares() -> None:
    assert [plan_of(name, SMALL).test.connections for name in TestName] == [200, 500, 1_000, 1_200]


def test_with_other_connections_the_ranges_follow() -> None:
    plan = plan_of(TestName.LIGHT, connections=1_000, duration_seconds=20.0)
    assert plan.test.connections == plan.test.final_connections == 1_000
    assert plan.test.cpu_percent == Range(5, 10)
    assert plan.test.memory_bytes == Range(100 * MIB, 150 * MIB)
    assert plan.test.goroutines == 2_500
    assert plan.test.messages_per_second == Range(1_000, 2_000)
    assert (plan.document_connections, plan.document_seconds) == (2_000, 300)
    assert plan.reduced


def test_ten_channels_at_two_messages_are_the_twenty_a_second_of_the_documents_measured_test() -> None:
    channels = tuple(f"S{n}.trade" for n in range(10))
    plan = make_plan(TestName.LIGHT, Wishes(channels=channels), None)
    assert plan.published_per_second == 20
    assert plan.subscribers_per_message == 200
    assert plan.ramp_seconds == 10


def test_clients_with_several_channels_need_fewer_messages_on_each() -> None:
    plan = plan_of(TestName.LIGHT, channels_each=2, message_rate=3.0)
    assert plan.published_per_second == 3
    assert plan.subscribers_per_message == 2_000
    assert plan.test.messages_per_second == Range(3_000, 6_000)


@given(name=st.sampled_from(list(TestName)), connections=st.integers(1, 1_000_000))
def test_any_number_of_connections_has_expectations(name: TestName, connections: int) -> None:
    test = make_plan(name, Wishes(connections=connections), None).test
    assert test.connections == connections
    assert test.final_connections == min(connections, 10_000)
    expected = connections * 0.00012 * 100 / 1.8
    assert test.cpu_percent.low <= expected + 1
    assert test.cpu_percent.high is None or test.cpu_percent.high >= expected - 1
    if test.memory_bytes is not None:
        # To one connection: the test's share of a limit is rounded.
        assert test.memory_bytes.low == pytest.approx(connections * 0.1 * MIB, abs=0.2 * MIB)


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"connections": 0}, "connections 0: must be between 1 and 1000000"),
        ({"duration_seconds": 0.5}, "duration 0.5 s: must be between 1 and 86400 seconds"),
        ({"duration_seconds": float("nan")}, "duration nan s: must be between 1 and 86400 seconds"),
        ({"message_rate": 0.0}, "message rate 0: must be above 0, at most 1000"),
        ({"message_rate": float("inf")}, "message rate inf: must be above 0, at most 1000"),
        (
            {"connections": 1_001},
            "connections 1001: above the node's limit of 1000 (WS_MAX_CONNECTIONS);"
            " that is the overload test",
        ),
    ],
)
def test_wishes_out_of_bounds(wishes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidateError) as told:
        plan_of(TestName.LIGHT, SMALL, **wishes)
    assert str(told.value) == problem


def test_an_overload_below_the_limit_is_none() -> None:
    with pytest.raises(ValidateError, match="there is nothing to refuse"):
        plan_of(TestName.OVERLOAD, SMALL, connections=1_000)
    assert plan_of(TestName.OVERLOAD, SMALL, connections=1_001).refuses


def test_names() -> None:
    assert name_of_test("capacity") is TestName.CAPACITY
    with pytest.raises(ValidateError, match="must be one of light, target, capacity, overload"):
        name_of_test("heavy")
