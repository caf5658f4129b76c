"""The rules for single settings, each a function of a few numbers.

Source: the seed, "Capacity Calculations", sections 2 to 8, with the bounds that keep every machine's
result sensible. WS_MAX_CONNECTIONS is in `capacity`.
"""

from __future__ import annotations

from fractions import Fraction

from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import Limits, Profile

WORKER_MESSAGES_PER_SECOND = 1000  # seed, section 2: 1,000 to 2,000 a worker; it plans with the lower
STATIC_GOROUTINES = 20  # seed, section 4: monitors, NATS consumers, timers
GOROUTINE_STACK_KB = 8  # seed, "Goroutine Cost"
WORKER_STATE_KB = 1  # seed, section 2
LEAST_WORKERS = 32

_MOST_DRAIN_SECONDS = 500
_GRACE_BEYOND_DRAIN_SECONDS = 30
_MOST_GRACE_SECONDS = 540
_REJECT_PERCENT = {Profile.CONSERVATIVE: 70, Profile.BALANCED: 75, Profile.AGGRESSIVE: 80}
_MOST_REJECT_PERCENT = 94
_NATS_RATE = {Limits.TESTING: 0, Limits.CONSERVATIVE: 1000, Limits.MODERATE: 5000, Limits.AGGRESSIVE: 10_000}
_BROADCAST_RATE_IN_PRODUCTION = 100_000


def worker_pool_size(connections: int, connections_per_worker: int) -> int:
    """The next power of two from max(32, connections / fan-out) on, never more than connections."""
    wanted = max(LEAST_WORKERS, -(-connections // connections_per_worker))
    size = 1 << (wanted - 1).bit_length()
    return min(size, 1 << (connections.bit_length() - 1))


def worker_queue_size(workers: int, *, lean: bool, available_memory_bytes: int, buffer_bytes: int) -> int:
    """100 waiting messages a worker (50 if lean), in at most 5 % of the memory, at least one a worker."""
    by_memory = available_memory_bytes // 20 // buffer_bytes
    return max(workers, min(workers * (50 if lean else 100), by_memory))


def least_goroutines(connections: int, workers: int) -> int:
    """What a full node needs: two a connection, one a worker, and the static ones."""
    return 2 * connections + workers + STATIC_GOROUTINES


def max_goroutines(connections: int, workers: int) -> int:
    """20 % more than a full node needs, rounded up to a multiple of 2,500 (of 100 below 2,500)."""
    needed = -(-least_goroutines(connections, workers) * 12 // 10)
    step = 100 if needed < 2500 else 2500
    return -(-needed // step) * step


def max_nats_rate(limits: Limits) -> int:
    """Messages taken from NATS a second; 0 is unlimited."""
    return _NATS_RATE[limits]


def max_broadcast_rate(limits: Limits) -> int:
    """Frames sent a second; 0 is unlimited, in production a safety valve."""
    return 0 if limits is Limits.TESTING else _BROADCAST_RATE_IN_PRODUCTION


def cpu_reject_threshold(profile: Profile) -> int:
    """CPU % of the available above which new connections are refused."""
    return _REJECT_PERCENT[profile]


def cpu_pause_threshold(reject: float) -> float:
    """CPU % above which reading from NATS pauses: five points above rejection, at least 80.

    Raises:
        SizingError: if rejection is so high that the pause would come above 99 %.
    """
    if reject > _MOST_REJECT_PERCENT:
        raise SizingError(
            "overrides.cpuRejectThreshold",
            f"{reject:g}",
            f"must be at most {_MOST_REJECT_PERCENT}: the pause follows 5 points above, at most at 99",
        )
    return max(80, reject + 5)


def drain_seconds(connections: int, rate_per_second: Fraction, delay_seconds: int | Fraction) -> int:
    """Seconds that draining a full node takes, rounded up."""
    return int(-(-(delay_seconds + connections / rate_per_second) // 1))


def drain_timeout(needed_seconds: int, timeout_seconds: int) -> int:
    """The timeout, raised to what a full node needs, at most 500 s."""
    return max(timeout_seconds, min(needed_seconds, _MOST_DRAIN_SECONDS))


def grace_seconds(delay_seconds: float, timeout_seconds: float) -> int:
    """The pod's termination grace period: room for the drain, at most 540 s."""
    return min(
        _MOST_GRACE_SECONDS, -int(-(delay_seconds + timeout_seconds) // 1) + _GRACE_BEYOND_DRAIN_SECONDS
    )


def client_buffer_total(default_bytes: int, available_memory_bytes: int, one_client_bytes: int) -> int:
    """Bytes that may wait for all slow clients: at most a quarter of the memory, at least one client's."""
    return max(one_client_bytes, min(default_bytes, available_memory_bytes // 4))
