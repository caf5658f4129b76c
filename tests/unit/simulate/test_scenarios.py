"""The named traces at small sizes, with the figures that the operator has to reach on them.

All is fixed by the seed, so counts are asserted as they are promised.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from wsfleet.simulate.run import Comparison, compare
from wsfleet.simulate.scenarios import SCENARIOS, make_scenario
from wsfleet.simulate.setup import default_spec, setup_from_spec
from wsfleet.simulate.traffic import TraceError

SMALL = 60_000
SEED = 3


@cache
def comparison(name: str, connections: int = SMALL, with_hpa: bool = True) -> Comparison:
    setup = setup_from_spec(default_spec())
    scenario = make_scenario(name, setup.message_rate, connections, SEED)
    if name in ("daily-wave", "drift"):
        scenario = replace(scenario, step_seconds=10.0)
    return compare(scenario, setup, SEED, with_hpa=with_hpa)


def test_the_daily_wave_turns_nobody_away_for_a_tenth_above_the_oracle() -> None:
    found = comparison("daily-wave", 120_000, with_hpa=False)
    assert found.operator.totals.rejected == 0
    assert found.operator.node_hours <= 1.10 * found.oracle_node_hours
    assert found.operator.turns_an_hour <= 1


def test_the_drift_turns_nobody_away() -> None:
    found = comparison("drift", with_hpa=False)
    assert found.operator.totals.rejected == 0
    assert found.operator.turns == []


def test_the_rollout_turns_nobody_away_and_closes_each_client_about_once() -> None:
    found = comparison("rollout")
    assert found.hpa is not None
    assert found.operator.totals.rejected == 0 < found.hpa.totals.rejected
    # Once each, and those who came to a node not yet replaced meanwhile.
    assert 0.9 * SMALL <= found.operator.totals.closed <= 1.15 * SMALL
    assert found.operator.most_returns <= 1.2 * 100  # the budget of a fleet of this size


def test_the_flash_crowd_turns_away_far_fewer_than_an_hpa() -> None:
    found = comparison("flash-crowd", 200_000)
    assert found.hpa is not None
    assert found.operator.totals.rejected <= found.hpa.totals.rejected / 10
    assert found.operator.totals.waited_seconds < found.hpa.totals.waited_seconds / 10


def test_a_storm_of_200_000_clients_turns_away_at_most_a_tenth_of_an_hpas() -> None:
    found = comparison("reconnect-storm", 200_000)
    assert found.hpa is not None
    assert found.operator.totals.broken == found.hpa.totals.broken == 200_000
    assert found.operator.totals.rejected <= found.hpa.totals.rejected / 10
    assert found.operator.records[-1].connected > 199_000


def test_after_the_ingress_outage_no_node_is_short() -> None:
    found = comparison("ingress-outage")
    assert found.hpa is not None
    assert found.operator.size_at(35 * 60) >= found.operator.size_at(15 * 60 - 1)
    assert found.operator.totals.rejected == 0 < found.hpa.totals.rejected
    assert found.hpa.size_at(35 * 60) < found.operator.size_at(35 * 60)


def test_under_noise_the_size_settles() -> None:
    found = comparison("noise", 100_000)
    assert found.hpa is not None
    assert found.operator.totals.rejected == 0
    assert found.operator.turns_an_hour <= 1 < found.hpa.turns_an_hour


def test_a_third_of_the_nodes_lost_is_made_good() -> None:
    found = comparison("node-loss")
    assert found.hpa is not None
    assert found.operator.totals.rejected < found.hpa.totals.rejected / 4
    assert found.operator.records[-1].connected > 0.99 * SMALL


def test_silent_nodes_neither_shrink_the_fleet_nor_cost_clients() -> None:
    found = comparison("missing-metrics", 120_000, with_hpa=False)
    assert found.operator.totals.rejected == 0
    assert found.operator.turns == []
    assert found.operator.sizes[-1][1] >= 15


def test_doubled_messages_bring_nodes_by_cpu() -> None:
    found = comparison("message-rate")
    assert found.hpa is not None
    assert found.operator.totals.cpu < found.hpa.totals.cpu
    # 60,000 x 2 messages of 100 us on 1.8 vCPU each, 57 % of which divide: 11.7 nodes.
    assert 11 <= found.operator.sizes[-1][1] <= 14


def test_every_name_can_be_made() -> None:
    for name in SCENARIOS:
        assert make_scenario(name, 1.0, 1000).trace.most_connections <= 1000
    with pytest.raises(TraceError, match="at least 1,000"):
        make_scenario("noise", 1.0, 999)
