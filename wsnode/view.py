"""What the admin port and the metrics see of a running node, and what they may ask of it.

The server implements `NodeView`; the admin port and the collector know nothing else of the node.
Reading a property must be cheap and must never wait: a scrape happens on the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wsnode.config import Settings
    from wsnode.connection_memory import ConnectionMemory
    from wsnode.counters import Counters

DrainState = Literal["none", "delay", "closing", "drained"]


# VerbError
# ├── InvalidArgumentError   a value is not allowed: answered with 400
# └── NotNowError            the node is in a state that forbids it: answered with 409
class VerbError(Exception):
    """The node was asked for something that it won't do."""


class InvalidArgumentError(VerbError):
    """A value is not allowed.

    Attributes:
        field: name of the value in the request's body.
        value: what was sent.
        allowed: what may be sent, as a phrase ("a number above 0").
    """

    def __init__(self, field: str, value: Any, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field}={value!r}: must be {allowed}")


class NotNowError(VerbError):
    """The node's state forbids it, such as to cancel the drain of a node that was sent SIGTERM."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What an existing stream keeps and takes: a node creates a stream, and never changes one.

    A limit that the stream does not have is -1, an age 0, as the broker says it.
    """

    max_age_seconds: float
    max_msgs: int
    max_bytes: int
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """Where the node stands in its stream.

    Attributes:
        connected: the broker answers and messages can arrive.
        paused: reading is held back on purpose (CPU above its pause threshold).
        seeded: what waited in the stream at start has been read, so any client can resume here.
        position: stream sequence of the last message read; 0 before the first.
        lag: messages that wait in the stream behind `position`, as the broker last said.
        epoch: hash of the stream's name and creation; empty before it is known.
        oldest: lowest stream sequence from which a client could resume here.
        problem: why the stream can't be used as it is (storage, retention, ...), else None.
        trouble: address of the broker (masked), and why it was not reached at the last try; None while it is.
            Of several processes, what the first of them says that has any.
        stream: what the stream keeps and takes, as the broker last said; None before it is known.
    """

    connected: bool = False
    paused: bool = False
    seeded: bool = False
    position: int = 0
    lag: int = 0
    epoch: str = ""
    oldest: int = 0
    problem: str | None = None
    trouble: str | None = None
    stream: StreamLimits | None = None


def waiting_for_feed(feed: FeedStatus) -> str:
    """Why a node whose feed is not seeded is not ready, as a phrase for people."""
    trouble = f"has not reached NATS at {feed.trouble}" if feed.trouble else None
    return feed.problem or trouble or "waiting for the stream"


@dataclass(frozen=True, slots=True)
class TlsStatus:
    """The certificate that new connections get.

    Attributes:
        ends_at: when it ends, in seconds since 1970.
        error: what is wrong with the files that should have taken its place, else None.
    """

    ends_at: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """How far a drain is.

    Attributes:
        state: none; delay (not ready, still accepting); closing; drained (empty and not ready).
        remaining: connections that are still open.
        rate_per_second: closes a second at the moment.
        seconds_left: until those that are left get cut; 0 without a drain.
    """

    state: DrainState = "none"
    remaining: int = 0
    rate_per_second: float = 0.0
    seconds_left: float = 0.0


@dataclass(frozen=True, slots=True)
class ShedStatus:
    """The last shed asked of the node; asking again with the same `id` changes nothing.

    Attributes:
        id: the caller's name for this request.
        target: connections to go down to.
        remaining: connections still to be closed for it.
        rate_per_second: closes a second.
    """

    id: str
    target: int
    remaining: int
    rate_per_second: float


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One of the processes that serve clients: what the node's sums would hide.

    Attributes:
        pid: its number, 0 while there is none.
        connections: open client connections.
        loop_percent: of the time, in which its event loop ran or waited to run, averaged over 5 s.
        loop_lag_seconds: how late its event loop ran what was due.
        feed_position: stream sequence of the last message that it read.
    """

    pid: int
    connections: int = 0
    loop_percent: float = 0.0
    loop_lag_seconds: float = 0.0
    feed_position: int = 0


class NodeView(Protocol):
    """A running node, as its admin port sees it."""

    @property
    def settings(self) -> Settings:
        """The settings in force."""

    @property
    def settings_error(self) -> str | None:
        """What is wrong with the settings file, None when it is in force."""

    @property
    def settings_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the settings file in force; empty without one."""

    @property
    def tls(self) -> TlsStatus | None:
        """The client port's certificate; None where it speaks no TLS."""

    @property
    def counters(self) -> Counters:
        """The totals since the start."""

    @property
    def connections(self) -> int:
        """Open client connections."""

    @property
    def goroutines(self) -> int:
        """Units of concurrent work: two a connection, one a shard, one a task."""

    @property
    def cpu_percent(self) -> float:
        """CPU in use, in percent of WS_CPU_LIMIT, averaged over 5 s (see `gauges.CpuGauge`)."""

    @property
    def cpu_seconds_total(self) -> float:
        """CPU time of the process since its start."""

    @property
    def memory_bytes(self) -> int:
        """Memory in use (see `gauges.MemoryGauge`)."""

    @property
    def connection_memory(self) -> ConnectionMemory | None:
        """What a connection takes of it; None while too few have come to tell."""

    @property
    def loop_lag_seconds(self) -> float:
        """How late the event loop ran what was due, at the last look."""

    @property
    def throttled_seconds(self) -> float:
        """Time for which the cgroup's CPU quota held the node back, since its start."""

    @property
    def feed(self) -> FeedStatus:
        """Where the node stands in its stream."""

    @property
    def drain(self) -> DrainStatus:
        """How far a drain is."""

    @property
    def shed_left(self) -> int:
        """Connections that the shed under way still closes; 0 without one."""

    @property
    def ready(self) -> bool:
        """Clients may be sent here: the feed was seeded once, and no drain is under way."""

    @property
    def not_ready_reason(self) -> str | None:
        """Why `ready` is False, as a phrase for people; None when it is True."""

    @property
    def healthy(self) -> bool:
        """New clients would be let in at this moment."""

    @property
    def queue_depth(self) -> int:
        """Broadcast jobs that wait."""

    @property
    def ring_messages(self) -> int:
        """Messages kept for resuming clients."""

    @property
    def ring_bytes(self) -> int:
        """Bytes of the messages kept for resuming clients."""

    @property
    def started_at(self) -> float:
        """Start of the node, in seconds of the monotonic clock."""

    @property
    def processes(self) -> Mapping[int, ProcessStatus]:
        """Those that serve clients, by their place among them, from 1 on."""

    @property
    def process_restarts(self) -> int:
        """Times that a process which ended had to be replaced."""

    @property
    def stuck_processes(self) -> Sequence[int]:
        """Places of the processes whose event loop does not turn, whatever the load."""

    def start_drain(self, rate: float | None) -> None:
        """Starts a drain, or changes the rate of the one under way.

        Args:
            rate: closes a second; None takes WS_DRAIN_RATE.

        Raises:
            InvalidArgumentError: the rate is not allowed.
        """

    def cancel_drain(self) -> None:
        """Ends a drain and serves again; does nothing without one.

        Raises:
            NotNowError: the node is stopping for good.
        """

    def shed(self, shed_id: str, target: int, rate: float) -> ShedStatus:
        """Closes connections, longest-connected first, down to `target`, and goes on serving.

        Idempotent: the same id again only reports.

        Raises:
            InvalidArgumentError: a value is not allowed.
            NotNowError: a drain is under way.
        """
