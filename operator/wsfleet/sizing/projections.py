"""What a node with the planned settings uses at given loads, and in which order it meets its limits.

Source: the seed, "Resource Utilization Projections", sections 3, 4, 6 and 7, and "When to Add Instance".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from wsfleet.sizing.capacity import Capacity, trigger_connections
from wsfleet.sizing.inputs import Load, Triggers
from wsfleet.sizing.rules import GOROUTINE_STACK_KB, WORKER_MESSAGES_PER_SECOND, WORKER_STATE_KB
from wsnode.config import Settings

_OK_PERCENT = 85
HOURS_A_MONTH = 730
SECONDS_A_MONTH = HOURS_A_MONTH * 3600


class Verdict(StrEnum):
    """How a use stands against its limits."""

    OK = "ok"
    WARNING = "warning"
    OVER = "over"


@dataclass(frozen=True)
class Use:
    """Use of one resource: amount (in the resource's unit), percent of what is available, verdict."""

    amount: Fraction
    percent: Fraction
    verdict: Verdict


@dataclass(frozen=True)
class Projection:
    """One node at a load: CPU in microseconds a second, memory in bytes, network in bytes a second.

    `growth` is how many times the connections could grow at this rate until a verdict is no longer
    ok or WS_MAX_CONNECTIONS is reached; below 1 the load is too much already.
    """

    name: str
    connections: int
    message_rate: Fraction
    cpu: Use
    memory: Use
    goroutines: Use
    network: Use | None
    growth: Fraction

    @property
    def bottleneck(self) -> str:
        """The machine's resource of which the largest share is used."""
        uses = {"CPU": self.cpu, "memory": self.memory}
        if self.network is not None:
            uses["network"] = self.network
        return max(uses, key=lambda name: uses[name].percent)

    @property
    def verdict(self) -> Verdict:
        """The worst of the resources' verdicts."""
        uses = [use for use in (self.cpu, self.memory, self.goroutines, self.network) if use is not None]
        return max((use.verdict for use in uses), key=list(Verdict).index)


def make_projections(settings: Settings, capacity: Capacity) -> tuple[Projection, ...]:
    """The seed's three: half the connections at half the rate, all at the usual rate, all at the peak."""
    most, usual = settings.max_connections, capacity.message_rate
    return (
        project("light", max(1, most // 2), usual / 2, settings, capacity),
        project("target", most, usual, settings, capacity),
        project("peak", most, capacity.peak_rate, settings, capacity),
    )


def project(
    name: str, connections: int, rate: Fraction, settings: Settings, capacity: Capacity
) -> Projection:
    """One node with so many connections at so many messages a second each."""
    goroutines = Fraction(2 * connections + settings.worker_pool_size)
    network = capacity.network_use(connections, rate)
    per_second = capacity.network_bytes_per_second
    return Projection(
        name=name,
        connections=connections,
        message_rate=rate,
        cpu=_cpu_use(capacity.cpu_us(connections, rate), settings, capacity),
        memory=_use(capacity.memory_bytes(connections), capacity.available_memory_bytes),
        goroutines=_use(goroutines, settings.max_goroutines),
        network=None if per_second is None else _use(network, per_second),
        growth=_most_ok_connections(rate, settings, capacity) / connections,
    )


def _use(amount: Fraction, limit: int) -> Use:
    percent = amount * 100 / limit
    verdict = Verdict.OK if percent <= _OK_PERCENT else Verdict.WARNING if percent <= 100 else Verdict.OVER
    return Use(amount, percent, verdict)


def _cpu_use(cpu_us: Fraction, settings: Settings, capacity: Capacity) -> Use:
    percent = cpu_us * 100 / capacity.available_cpu_us
    if percent <= Fraction(settings.cpu_reject_threshold):
        verdict = Verdict.OK
    else:
        verdict = Verdict.WARNING if cpu_us <= capacity.whole_cpu_us else Verdict.OVER
    return Use(cpu_us, percent, verdict)


def _most_ok_connections(rate: Fraction, settings: Settings, capacity: Capacity) -> Fraction:
    reject_us = Fraction(settings.cpu_reject_threshold) * capacity.available_cpu_us / 100
    network = capacity.connections_by_network(rate)
    terms = (
        settings.max_connections,
        capacity.connections_by_cpu(reject_us, rate),
        capacity.connections_by_memory(_OK_PERCENT),
        (settings.max_goroutines * _OK_PERCENT // 100 - settings.worker_pool_size) // 2,
        None if network is None else network * _OK_PERCENT // 100,
    )
    return Fraction(max(0, min(term for term in terms if term is not None)))


@dataclass(frozen=True)
class Event:
    """A limit or trigger and the number of connections on one node at which it is met."""

    connections: int
    text: str
    reachable: bool


def make_ladder(settings: Settings, capacity: Capacity, triggers: Triggers) -> tuple[Event, ...]:
    """What happens as connections grow at the usual rate, in order; beyond the limit it is unreachable."""
    available, most = capacity.available_cpu_us, settings.max_connections

    def by_cpu(percent: float, of_us: int = available) -> int | None:
        return capacity.connections_by_cpu(Fraction(percent) * of_us / 100)

    reject, pause = settings.cpu_reject_threshold, settings.cpu_pause_threshold
    steps: list[tuple[int | None, str]] = [
        (by_cpu(triggers.cpu_percent), f"CPU {triggers.cpu_percent} %: the fleet grows"),
        (by_cpu(reject), f"CPU {reject:g} %: new connections are refused"),
        (by_cpu(pause), f"CPU {pause:g} %: reading from NATS pauses"),
        (by_cpu(100), "CPU 100 % of the available"),
        (
            trigger_connections(most, triggers.connections_percent),
            f"{triggers.connections_percent} % of WS_MAX_CONNECTIONS: the fleet grows",
        ),
        (most, "WS_MAX_CONNECTIONS: new connections are refused"),
        ((settings.max_goroutines - settings.worker_pool_size) // 2, "WS_MAX_GOROUTINES"),
        (capacity.connections_by_memory(), "memory full"),
        (capacity.connections_by_network(capacity.message_rate), "network full"),
        (capacity.connections_by_network(capacity.peak_rate), "network full at the peak rate"),
    ]
    if capacity.burstable:
        steps.append((by_cpu(100, capacity.sustained_cpu_us), "sustained CPU used up, bursts from here on"))
        steps.append((by_cpu(100, capacity.machine_cpu_us), "the machine's whole vCPU, bursts included"))
    events = [Event(at, text, at <= most) for at, text in steps if at is not None]
    return tuple(sorted(events, key=lambda event: event.connections))


@dataclass(frozen=True)
class Pipeline:
    """The broadcast line of one node: its queue and its workers (seed, sections 2, 3 and 6).

    `queue_fill_seconds` and the utilisations are None where nothing is published.
    """

    connections_per_worker: int
    worker_state_kb: int
    worker_capacity_per_second: int
    worker_percent_at_peak: Fraction
    queue_bytes: int
    queue_fill_seconds: int | None
    lean_queue_size: int
    lean_saving_bytes: int
    broadcast_per_second: Fraction
    broadcast_percent: Fraction
    delivered_per_second: Fraction
    cpu_ceiling_per_second: Fraction | None
    worker_capacity_cpu_us: Fraction
    goroutine_kb: int
    goroutine_memory_percent: Fraction


def make_pipeline(settings: Settings, capacity: Capacity, load: Load) -> Pipeline:
    """Figures of the broadcast line with the planned settings."""
    workers, queue = settings.worker_pool_size, settings.worker_queue_size
    per_second = workers * WORKER_MESSAGES_PER_SECOND
    lean = min(queue, workers * 50)
    goroutine_kb = settings.max_goroutines * GOROUTINE_STACK_KB
    # As the seed counts: 8 KB x 25,000 is its 200 MB, set against MB of memory.
    memory_mb = Fraction(capacity.available_memory_bytes, 2**20)
    spare_us = capacity.available_cpu_us - capacity.fixed_cpu_us
    return Pipeline(
        connections_per_worker=-(-settings.max_connections // workers),
        worker_state_kb=workers * WORKER_STATE_KB,
        worker_capacity_per_second=per_second,
        worker_percent_at_peak=load.peak_minute_rate * 100 / per_second,
        queue_bytes=queue * load.buffer_bytes,
        queue_fill_seconds=int(queue // load.publish_rate) if load.publish_rate else None,
        lean_queue_size=lean,
        lean_saving_bytes=(queue - lean) * load.buffer_bytes,
        broadcast_per_second=load.broadcast_rate,
        broadcast_percent=load.broadcast_rate * 100 / per_second,
        delivered_per_second=settings.max_connections * capacity.message_rate,
        cpu_ceiling_per_second=spare_us / capacity.message_cpu_us if capacity.message_cpu_us else None,
        worker_capacity_cpu_us=per_second * capacity.message_cpu_us,
        goroutine_kb=goroutine_kb,
        goroutine_memory_percent=Fraction(goroutine_kb, 10) / memory_mb,
    )
