"""One fleet under the seed's costs and under measured ones."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.sizing import (
    MACHINES,
    Costs,
    CostSource,
    Inputs,
    Load,
    SizingError,
    compare,
    machine_by_hand,
)

OWN = Costs(message_cpu_us=Fraction(25), connection_memory_bytes=Fraction(2048), source=CostSource.MEASURED)


def test_connections_nodes_money_and_saving() -> None:
    found = compare(Inputs(load=Load(users=60_000)), {}, OWN)
    assert (found.users, found.machine) == (60_000, "e2-small")
    assert (found.seed.connections, found.seed.nodes, found.seed.cents_a_month) == (10_000, 12, 14_676)
    assert found.measured is not None
    # 2 vCPU over 50 us; the CPU trigger: 60,000 x 50 us over 1.08 vCPU.
    assert (found.measured.connections, found.measured.nodes) == (40_000, 3)
    assert found.saving_cents == 14_676 - 3 * 1223
    assert found.in_force is None


def test_what_the_plan_itself_goes_by_does_not_matter() -> None:
    by_own = compare(Inputs(costs=OWN), {}, OWN, OWN)
    assert by_own.seed == compare(Inputs(), {}, None).seed
    assert by_own.in_force == by_own.measured


def test_costs_under_which_no_fleet_stands_have_no_size_and_no_saving() -> None:
    found = compare(Inputs(), {}, Costs(message_cpu_us=Fraction(10**9)))
    assert found.measured is None
    assert found.saving_cents is None
    tiny = machine_by_hand(100, 2**25)
    with pytest.raises(SizingError):
        compare(Inputs(machine=tiny), {}, OWN)


def test_without_a_price_there_is_no_saving() -> None:
    machine = machine_by_hand(2000, 2**31)
    assert machine.monthly_cost_cents is None
    found = compare(Inputs(machine=machine), {}, OWN)
    assert found.measured is not None
    assert found.saving_cents is None


@given(st.integers(1, 99), st.integers(1, 2_000_000), st.sampled_from(sorted(MACHINES)))
def test_cheaper_messages_never_take_more_nodes(cost_us: int, users: int, machine: str) -> None:
    inputs = Inputs(machine=MACHINES[machine], load=Load(users=users))
    found = compare(inputs, {}, Costs(message_cpu_us=Fraction(cost_us)))
    assert found.measured is not None
    assert found.measured.nodes <= found.seed.nodes
