"""What a plan is made from: machine, reserve, load, costs, profile and a few choices.

Rates and costs are exact fractions, everything else whole numbers of the unit in its name: with
floats a fleet at an exact multiple (329,400 users on e2-small) would get a node too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from fractions import Fraction

from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.machines import MACHINES, MIB, Machine, machine_by_hand, machine_with

TLS_CONNECTION_BYTES = 16 * 1024
"""What TLS ended in the node takes for a connection. Measured: 15.6 KB (`python -m tests.bench.tls`)."""


def exact(value: int | float | str | Decimal | Fraction) -> Fraction:
    """The number as it is written: 0.1 is one tenth, not the float next to it."""
    return Fraction(str(value)) if isinstance(value, float) else Fraction(value)


class Profile(StrEnum):
    """How much of what a machine can carry one node takes (seed, "Alternative Configurations")."""

    CONSERVATIVE = "Conservative"
    BALANCED = "Balanced"
    AGGRESSIVE = "Aggressive"


class Limits(StrEnum):
    """Rate limits of a node (seed, sections 5 and 6): none while testing, three steps for production."""

    TESTING = "Testing"
    CONSERVATIVE = "Conservative"
    MODERATE = "Moderate"
    AGGRESSIVE = "Aggressive"


class CostSource(StrEnum):
    """Where the costs of a plan come from; always named in its output."""

    SEED = "Seed"
    MEASURED = "Measured"
    BY_HAND = "by hand"


class Fanout(StrEnum):
    """Connections a worker serves (seed, section 2: 80 for a light load, 40, 20 for a heavy one)."""

    LIGHT = "Light"
    MIDDLE = "Middle"
    HEAVY = "Heavy"

    @property
    def connections_per_worker(self) -> int:
        return {Fanout.LIGHT: 80, Fanout.MIDDLE: 40, Fanout.HEAVY: 20}[self]


@dataclass(frozen=True)
class Reserved:
    """What the machine keeps for its system (seed, "Reserved for OS/Docker"); absolute on every machine."""

    cpu_millis: int = 200
    memory_bytes: int = 256 * MIB


@dataclass(frozen=True)
class Costs:
    """What traffic costs a node.

    `message_cpu_us` is CPU a delivered message, `intake_cpu_us` CPU a message taken from NATS (once a
    node, so adding nodes does not divide it), `idle_cpu_us` CPU a second whatever comes,
    `connection_memory_bytes` memory a connection. The seed's figures: 0.0002 vCPU a connection at 2
    messages a second, and 0.1 MB (of 2**20 bytes). `remark` says where measured ones stand. `memory_has_tls`:
    the memory is what a connection of this fleet takes, TLS and all, as it is where it was measured or given.
    """

    message_cpu_us: Fraction = Fraction(100)
    connection_memory_bytes: Fraction = Fraction(MIB, 10)
    intake_cpu_us: Fraction = Fraction(0)
    source: CostSource = CostSource.SEED
    idle_cpu_us: Fraction = Fraction(0)
    remark: str = ""
    memory_has_tls: bool = False


@dataclass(frozen=True)
class Load:
    """The traffic a fleet is planned for (seed, "Current Load Profile").

    Rates are a second; `message_rate` and `peak_message_rate` are messages delivered to one user.
    What is None follows from the rest by the seed's own proportions.
    """

    users: int = 20_000
    users_most: int | None = None
    message_rate: Fraction = Fraction(2)
    peak_message_rate: Fraction | None = None
    message_bytes: int = 400
    buffered_bytes: int | None = None
    publish_rate: Fraction = Fraction(12)
    peak_publish_rate: Fraction | None = None
    messages_per_day: int | None = None
    channels: int = 100
    subscribers_per_channel: int = 200
    mix: tuple[tuple[str, Fraction], ...] = ()

    @property
    def most_users(self) -> int:
        """The upper end of the expected number of users."""
        return self.users if self.users_most is None else self.users_most

    @property
    def peak_rate(self) -> Fraction:
        """Messages a second a user in bursts: twice the usual rate (2 and 4 in the seed)."""
        return 2 * self.message_rate if self.peak_message_rate is None else self.peak_message_rate

    @property
    def buffer_bytes(self) -> int:
        """Bytes a waiting message takes: 500 for 400 on the wire in the seed."""
        return -(-self.message_bytes * 5 // 4) if self.buffered_bytes is None else self.buffered_bytes

    @property
    def peak_minute_rate(self) -> Fraction:
        """Messages published a second in the peak minute (30 to 12 in the seed)."""
        return self.publish_rate * 5 / 2 if self.peak_publish_rate is None else self.peak_publish_rate

    @property
    def peak_hour_rate(self) -> Fraction:
        """Messages published a second in the peak hour (12.5; the seed goes on with 12)."""
        return self.publish_rate * 25 / 24

    @property
    def daily_messages(self) -> Fraction:
        """Messages published a day (36,000 at a peak of 12 a second in the seed)."""
        return self.publish_rate * 3000 if self.messages_per_day is None else Fraction(self.messages_per_day)

    @property
    def broadcast_rate(self) -> Fraction:
        """Frames sent a second for what is published: publish rate x subscribers a channel."""
        return self.publish_rate * self.subscribers_per_channel


# The seed names a range of users; everything else of its load is the default of `Load`.
SEED_LOAD = Load(users_most=40_000)

# Messages a second a user, least and most, by what the user looks at (seed, "Message rate per user").
USER_RATES: Mapping[str, tuple[Fraction, Fraction]] = {
    "casual": (Fraction(1, 5), Fraction(1)),
    "active": (Fraction(1), Fraction(5)),
    "trader": (Fraction(5), Fraction(20)),
}


def mixed_rates(shares: Mapping[str, Fraction]) -> tuple[Fraction, Fraction]:
    """Average and peak message rate of a mix of users: middles and upper ends of the seed's ranges.

    Shares are percent, or parts of one.

    Raises:
        SizingError: for an unknown kind of user, a negative share, or shares that do not add up.
    """
    for kind, share in shares.items():
        if kind not in USER_RATES:
            raise SizingError("load.mix", kind, f"is unknown; kinds of users are {', '.join(USER_RATES)}")
        if share < 0:
            raise SizingError("load.mix", f"{kind}={float(share):g}", "must not be negative")
    whole = sum(shares.values(), Fraction(0))
    if whole not in (1, 100):
        raise SizingError("load.mix", f"sum {float(whole):g}", "must be 100 (shares in percent) or 1")
    average = sum((share * sum(USER_RATES[kind]) / 2 for kind, share in shares.items()), Fraction(0))
    peak = sum((share * USER_RATES[kind][1] for kind, share in shares.items()), Fraction(0))
    return average / whole, peak / whole


def choose_machine(
    name: str | None,
    *,
    cpu_millis: int | None = None,
    memory_bytes: int | None = None,
    network_bits_per_second: int | None = None,
    sustained_cpu_millis: int | None = None,
    burstable: bool | None = None,
    monthly_cost_cents: int | None = None,
) -> Machine:
    """A machine type by name, with figures over it; CPU and memory alone make one; else e2-small.

    A name that is not known needs CPU and memory too.

    Raises:
        SizingError: for an unknown name without them, or CPU without memory and no name.
    """
    if cpu_millis is not None and memory_bytes is not None and name not in MACHINES:
        base = machine_by_hand(cpu_millis, memory_bytes, name or "by hand")
    elif name is not None and name not in MACHINES:
        near = get_close_matches(name, MACHINES, n=3, cutoff=0.4)
        known = f"meant {' or '.join(near)}?" if near else f"known are {', '.join(MACHINES)}"
        text = f"is not a known machine type; {known} Any other needs CPU and memory given too"
        raise SizingError("instance.type", name, text)
    elif name is None and cpu_millis is not None:
        raise SizingError("instance.memory", "", "must be given where CPU is and no machine type")
    else:
        base = MACHINES[name or "e2-small"]
    return machine_with(
        base,
        cpu_millis=cpu_millis,
        memory_bytes=memory_bytes,
        network_bits_per_second=network_bits_per_second,
        sustained_cpu_millis=sustained_cpu_millis,
        burstable=burstable,
        monthly_cost_cents=monthly_cost_cents,
    )


@dataclass(frozen=True)
class Triggers:
    """When the fleet grows (seed, "When to Add Instance")."""

    connections_percent: int = 80
    cpu_percent: int = 60
    cpu_sustained_seconds: int = 300


@dataclass(frozen=True)
class Drain:
    """How a node is emptied: seconds before it refuses, closes a second, seconds until it cuts the rest."""

    delay_seconds: int = 10
    rate_per_second: Fraction = Fraction(100)
    timeout_seconds: int = 300


@dataclass(frozen=True)
class StreamLimits:
    """What the stream keeps (seed, "JetStream config")."""

    max_age_seconds: float = 30.0
    max_messages: int = 100_000
    max_bytes: int = 50 * MIB


@dataclass(frozen=True)
class Inputs:
    """Everything a plan depends on, save for the overrides."""

    machine: Machine = field(default_factory=lambda: MACHINES["e2-small"])
    reserved: Reserved = Reserved()
    load: Load = SEED_LOAD
    costs: Costs = Costs()
    profile: Profile = Profile.BALANCED
    limits: Limits = Limits.TESTING
    fanout: Fanout = Fanout.MIDDLE
    lean_queue: bool = False
    triggers: Triggers = Triggers()
    drain: Drain = Drain()
    stream: StreamLimits = StreamLimits()
    request_cpu_percent: int = 25
    egress_usd_per_gib: Fraction | None = None
    tls: bool = False
    """TLS is ended in the nodes."""

    @property
    def tls_memory_bytes(self) -> int:
        """What TLS adds to the memory of a connection in the costs."""
        return TLS_CONNECTION_BYTES if self.tls and not self.costs.memory_has_tls else 0
