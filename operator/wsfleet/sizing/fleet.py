"""A fleet of planned nodes: how many, what each carries, what they cost, and what would cost less.

Source: the seed, "Scaling Math" and "Cost"; a burstable machine is sized by its sustained CPU too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from wsfleet.sizing.capacity import Capacity, max_connections, nodes_for, trigger_connections
from wsfleet.sizing.checks import check_inputs
from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import Inputs
from wsfleet.sizing.machines import MACHINES, Machine
from wsfleet.sizing.projections import SECONDS_A_MONTH


@dataclass(frozen=True)
class Share:
    """So many nodes at so many users in all; percents of one node's CPU, `cpu_us` of one node."""

    nodes: int
    users: int
    connections_each: int
    cpu_us: Fraction
    cpu_percent: Fraction
    machine_percent: Fraction

    @property
    def headroom_percent(self) -> Fraction:
        """What is left of the available CPU; negative when it is overdrawn."""
        return 100 - self.cpu_percent


def share_of(nodes: int, users: int, capacity: Capacity) -> Share:
    """What each of the nodes carries when users are spread evenly."""
    each = -(-users // nodes)
    cpu_us = capacity.cpu_us(each)
    return Share(
        nodes=nodes,
        users=users,
        connections_each=each,
        cpu_us=cpu_us,
        cpu_percent=cpu_us * 100 / capacity.available_cpu_us,
        machine_percent=cpu_us * 100 / capacity.machine_cpu_us,
    )


@dataclass(frozen=True)
class FleetCost:
    """Nodes of a machine for some users; money in cents a month, None where no price is known."""

    machine: str
    users: int
    nodes: int
    cents_a_month: int | None

    @property
    def cents_per_thousand_users(self) -> Fraction | None:
        return None if self.cents_a_month is None else Fraction(self.cents_a_month * 1000, self.users)


def fleet_cost(machine: Machine, users: int, nodes: int) -> FleetCost:
    """The price of so many machines."""
    price = machine.monthly_cost_cents
    return FleetCost(machine.name, users, nodes, None if price is None else price * nodes)


def trigger_cpu_us(inputs: Inputs, capacity: Capacity) -> Fraction:
    """CPU one node may use before the fleet grows: 60 % of the available."""
    return Fraction(capacity.available_cpu_us * inputs.triggers.cpu_percent, 100)


def sustained_cpu_us(inputs: Inputs, capacity: Capacity) -> Fraction:
    """CPU one node may use for hours: 60 % of what the machine sustains.

    No reserve is taken off a burstable machine's share; a dedicated one sustains what is available.
    """
    lasting = capacity.sustained_cpu_us if capacity.burstable else capacity.available_cpu_us
    return Fraction(lasting * inputs.triggers.cpu_percent, 100)


def nodes_by_sustained_cpu(users: int, most: int, inputs: Inputs, capacity: Capacity) -> int:
    """Nodes for users when no CPU burst is counted on."""
    trigger = trigger_connections(most, inputs.triggers.connections_percent)
    return nodes_for(users, trigger, sustained_cpu_us(inputs, capacity), capacity)


def cheapest_fleet(
    users: int, inputs: Inputs, machines: Iterable[Machine] = MACHINES.values()
) -> FleetCost | None:
    """The cheapest fleet of any machine type for the same load and profile, by sustained CPU.

    None when no type carries the load. Ties go to the fleet of fewer nodes.
    """
    found: list[tuple[int, int, FleetCost]] = []
    for machine in machines:
        candidate = replace(inputs, machine=machine)
        try:
            check_inputs(candidate)
        except SizingError:
            continue
        capacity = Capacity.of(candidate)
        most = max_connections(capacity, inputs.profile)
        if most == 0 or sustained_cpu_us(candidate, capacity) <= capacity.fixed_cpu_us:
            continue
        nodes = nodes_by_sustained_cpu(users, most, candidate, capacity)
        cost = fleet_cost(machine, users, nodes)
        if cost.cents_a_month is not None:
            found.append((cost.cents_a_month, nodes, cost))
    return min(found, key=lambda item: item[:2])[2] if found else None


@dataclass(frozen=True)
class Egress:
    """What one node sends at the target load in a month of 730 hours; not part of a machine's price."""

    bytes_a_month: Fraction
    usd_a_month: Fraction | None


def egress_of(connections: int, capacity: Capacity, usd_per_gib: Fraction | None) -> Egress:
    """Bytes a month at the usual rate, and money at a price a GiB (2**30 bytes; volume tiers ignored)."""
    sent = capacity.network_use(connections) * SECONDS_A_MONTH
    return Egress(sent, None if usd_per_gib is None else sent / 2**30 * usd_per_gib)
