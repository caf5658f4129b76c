"""The seed document's measured test and stated assumptions: what the rules rest on and do not compute."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

# "From Testing Data": what 2,000 connections took while 20 messages a second were delivered in all.
TEST_CONNECTIONS = 2000
TEST_MESSAGES_PER_SECOND = 20
TEST_CPU_US = 240_000
TEST_MEMORY_MB = 200

# "Memory cost (from code comments)": bytes of one client, summed to 178,300 and called 180 KB there.
CLIENT_STRUCT_BYTES = 200
SEND_SLOTS = 256
REPLAY_MESSAGES = 100
OTHER_BYTES = 100
DERIVED_CLIENT_KB = 180

WORKDAY_SECONDS = 8 * 3600
DAY_SECONDS = 24 * 3600
GROWTH = 1000  # section 5: "even 1000x growth is handleable"


def test_cpu_us_per_connection() -> Fraction:
    """0.00012 vCPU a connection, as tested."""
    return Fraction(TEST_CPU_US, TEST_CONNECTIONS)


def test_rate_per_connection() -> Fraction:
    """0.01 messages a second a connection, as tested."""
    return Fraction(TEST_MESSAGES_PER_SECOND, TEST_CONNECTIONS)


def scaled_cpu_us_per_connection(rate: Fraction) -> Fraction:
    """The tested CPU scaled to a message rate: 0.024 vCPU at 2 a second."""
    return test_cpu_us_per_connection() * rate / test_rate_per_connection()


def derived_client_bytes(buffer_bytes: int) -> int:
    """Bytes of one client from its parts: 200 + 256 x 500 + 100 x 500 + 100."""
    return CLIENT_STRUCT_BYTES + (SEND_SLOTS + REPLAY_MESSAGES) * buffer_bytes + OTHER_BYTES


@dataclass(frozen=True)
class Assumption:
    """A line of the document that is repeated, not computed."""

    section: str
    text: str


ASSUMPTIONS = (
    Assumption(
        "Testing Data",
        f"{TEST_CONNECTIONS:,} connections at {TEST_MESSAGES_PER_SECOND} messages/s in all took "
        f"{TEST_CPU_US / 10**6:g} vCPU and {TEST_MEMORY_MB} MB",
    ),
    Assumption(
        "Current Load Profile",
        "users of a list see 0.2-1 messages/s, active ones 1-5, traders 5-20; 2-4 on average",
    ),
    Assumption("Resource Cost", "100 us of CPU a delivered message, chosen as a conservative estimate"),
    Assumption("Resource Cost", "0.1 MB a connection, from one test of 2,000 connections on another server"),
    Assumption("Resource Cost", "2 goroutines a connection (reading, writing) of 8 KB of stack: 16 KB"),
    Assumption(
        "2 Workers",
        "a worker handles 1,000-2,000 messages/s and keeps 1 KB of state; a power of two suits cache lines",
    ),
    Assumption("3 Queue", "100 waiting messages a worker; 50 would do"),
    Assumption(
        "4 Goroutines",
        "20 static ones (monitors, NATS, timers), 20 % for passing ones; at the limit something leaks",
    ),
    Assumption("5-6 Rates", "no limit while testing, to see the true capacity; limits are for production"),
    Assumption(
        "7 Rejection",
        "25 % kept for those connected; called an industry standard like Kubernetes' "
        "eviction thresholds, which are about memory and disk, not CPU",
    ),
    Assumption(
        "8 Pause",
        "5 points between rejection and pause; what is above goes on when CPU falls again "
        "(the node waits for 5 points less, so that it does not flap)",
    ),
    Assumption("JetStream", "30 s, 100,000 messages, 50 MB kept in the stream ODIN_TOKENS"),
    Assumption(
        "Projections",
        "a burstable machine carries spikes; rejection holds them off; the autoscaler "
        "adds a node if they last",
    ),
    Assumption("Conservative", "for a first deployment and tests that avoid risk: stability over capacity"),
    Assumption("Aggressive", "once proven stable: capacity over margin; CPU spikes may make it unstable"),
)
