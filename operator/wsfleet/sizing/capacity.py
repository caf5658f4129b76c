"""What one machine carries: available CPU, memory and network, and connections within them.

CPU is counted in microseconds a second (one vCPU is 1,000,000), so that rates times costs are exact.
Source: the seed, "Instance Specifications" and "Capacity Calculations", section 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from wsfleet.sizing.inputs import Inputs, Profile

US_PER_MILLI = 1000

# Most connections that a node's settings allow (WS_MAX_CONNECTIONS).
MOST_CONNECTIONS = 1_000_000

PROFILE_PERCENT = {Profile.CONSERVATIVE: 50, Profile.BALANCED: 100, Profile.AGGRESSIVE: 150}
MEMORY_CAP_PERCENT = 85


@dataclass(frozen=True)
class Capacity:
    """A machine's room for connections at a load.

    `connection_cpu_us` is CPU a connection at the usual message rate, `fixed_cpu_us` what reading
    the feed takes whatever the number of connections (0 at the seed's costs), `connection_memory_bytes`
    memory a connection, with that of TLS where the node ends it.
    """

    machine_cpu_us: int
    available_cpu_us: int
    sustained_cpu_us: int
    available_memory_bytes: int
    network_bytes_per_second: int | None
    burstable: bool
    message_cpu_us: Fraction
    connection_cpu_us: Fraction
    fixed_cpu_us: Fraction
    connection_memory_bytes: Fraction
    message_rate: Fraction
    peak_rate: Fraction
    message_bytes: int

    @classmethod
    def of(cls, inputs: Inputs) -> Capacity:
        """The capacity of checked inputs."""
        machine, reserved, load, costs = inputs.machine, inputs.reserved, inputs.load, inputs.costs
        return cls(
            machine_cpu_us=machine.cpu_millis * US_PER_MILLI,
            available_cpu_us=(machine.cpu_millis - reserved.cpu_millis) * US_PER_MILLI,
            sustained_cpu_us=machine.sustained_cpu_millis * US_PER_MILLI,
            available_memory_bytes=machine.memory_bytes - reserved.memory_bytes,
            network_bytes_per_second=machine.network_bytes_per_second,
            burstable=machine.burstable,
            message_cpu_us=costs.message_cpu_us,
            connection_cpu_us=load.message_rate * costs.message_cpu_us,
            fixed_cpu_us=load.publish_rate * costs.intake_cpu_us + costs.idle_cpu_us,
            connection_memory_bytes=costs.connection_memory_bytes + inputs.tls_memory_bytes,
            message_rate=load.message_rate,
            peak_rate=load.peak_rate,
            message_bytes=load.message_bytes,
        )

    @property
    def whole_cpu_us(self) -> int:
        """All CPU there is for connections: with its bursts on a burstable machine, else the available."""
        return self.machine_cpu_us if self.burstable else self.available_cpu_us

    def cpu_us(self, connections: int, rate: Fraction | None = None) -> Fraction:
        """CPU that connections take at a message rate (default: the usual one)."""
        each = self.connection_cpu_us if rate is None else rate * self.message_cpu_us
        return self.fixed_cpu_us + connections * each

    def memory_bytes(self, connections: int) -> Fraction:
        """Memory that connections take."""
        return connections * self.connection_memory_bytes

    def network_use(self, connections: int, rate: Fraction | None = None) -> Fraction:
        """Bytes a second that connections take at a message rate (default: the usual one)."""
        return connections * (self.message_rate if rate is None else rate) * self.message_bytes

    def connections_by_cpu(self, cpu_us: Fraction | int, rate: Fraction | None = None) -> int | None:
        """Connections that so much CPU carries; None when messages cost nothing."""
        each = self.connection_cpu_us if rate is None else rate * self.message_cpu_us
        return None if each == 0 else max(0, int((cpu_us - self.fixed_cpu_us) // each))

    def connections_by_memory(self, percent: int = 100) -> int:
        """Connections that a share of the available memory carries."""
        return int(self.available_memory_bytes * percent // (100 * self.connection_memory_bytes))

    def connections_by_network(self, rate: Fraction) -> int | None:
        """Connections that the network carries; None without a known network or without messages."""
        each = rate * self.message_bytes
        if self.network_bytes_per_second is None or each == 0:
            return None
        return int(self.network_bytes_per_second // each)


def at_most(*terms: int | None) -> int:
    """The least of the terms that there are."""
    return min(term for term in terms if term is not None)


def round_down(connections: int) -> int:
    """Round numbers for people: multiples of 500 from 5,000 on, of 100 from 100, of 10 from 10."""
    for least, step in ((5000, 500), (100, 100), (10, 10)):
        if connections >= least:
            return connections // step * step
    return connections


def max_connections(capacity: Capacity, profile: Profile) -> int:
    """WS_MAX_CONNECTIONS by rule; 0 when the machine carries none.

    The profile's share of what CPU, memory and network carry; a burstable machine counts its whole
    vCPU (the seed's 2 / 0.0002 = 10,000). Whatever the profile, never above 85 % of the memory nor
    above the network at the peak rate.
    """
    carried = at_most(
        capacity.connections_by_cpu(capacity.whole_cpu_us),
        capacity.connections_by_memory(),
        capacity.connections_by_network(capacity.message_rate),
    )
    bounded = at_most(
        carried * PROFILE_PERCENT[profile] // 100,
        capacity.connections_by_memory(MEMORY_CAP_PERCENT),
        capacity.connections_by_network(capacity.peak_rate),
        MOST_CONNECTIONS,
    )
    return round_down(bounded)


def trigger_connections(most: int, percent: int) -> int:
    """Connections a node at which the fleet grows: 80 % of WS_MAX_CONNECTIONS, at least one."""
    return max(1, most * percent // 100)


def nodes_for(total: int, trigger: int, cpu_us: Fraction | int, capacity: Capacity) -> int:
    """Nodes for so many connections: by the connection trigger and by the CPU a node may use.

    Where reading the feed alone takes that CPU, more nodes do not help and connections decide.
    """
    by_connections = -(-total // trigger)
    share = cpu_us - capacity.fixed_cpu_us
    if share <= 0:
        return max(1, by_connections)
    return max(1, by_connections, int(-(-total * capacity.connection_cpu_us // share)))
