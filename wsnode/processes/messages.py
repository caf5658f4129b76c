"""What parent and workers say to each other. Each is a value; `line` carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wsnode.certificates import Pair
from wsnode.config import Settings
from wsnode.counters import Counters
from wsnode.view import DrainStatus, FeedStatus

# From the parent.


@dataclass(frozen=True, slots=True)
class Begin:
    """The first word to a worker: be a node with these settings.

    Attributes:
        when_seeded: clients are taken only once the feed is seeded, since others serve meanwhile.
        pair: the certificate, where TLS is spoken; the parent alone reads and judges its files.
    """

    settings: Settings
    settings_hash: str
    when_seeded: bool
    pair: Pair | None = None


@dataclass(frozen=True, slots=True)
class LetGo:
    """Drain: `rate` is of the whole node; see `drain.Drain.start`."""

    rate: float | None
    final: bool
    delay: bool


@dataclass(frozen=True, slots=True)
class Stay:
    """The drain is cancelled."""


@dataclass(frozen=True, slots=True)
class TellAges:
    """How long are your clients connected? To be answered with `Ages`."""

    shed_id: str


@dataclass(frozen=True, slots=True)
class GoDown:
    """This worker's part of a shed; `target` is of the whole node; see `drain.Drain.shed`."""

    shed_id: str
    target: int
    rate: float
    closes: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A drain's time is up."""


@dataclass(frozen=True, slots=True)
class End:
    """Close the port and go."""


# From a worker.


@dataclass(frozen=True, slots=True)
class Accepting:
    """Clients are taken from now on."""


@dataclass(frozen=True, slots=True)
class Ages:
    """Answer to `TellAges`: second of the monotonic clock -> clients that came in it."""

    shed_id: str
    opened: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the parent shows of a worker, each second.

    Attributes:
        loop_percent: of the time, in which the event loop ran or waited to run.
        lag_seconds: how late the loop ran.
        shed_id, shed_left: the last shed, and closes that it still has to do.
        tasks: of the event loop.
        cpu_seconds: CPU time of the process.
    """

    counters: Counters
    feed: FeedStatus
    drain: DrainStatus
    shed_id: str
    shed_left: int
    queue_depth: int
    ring_messages: int
    ring_bytes: int
    tasks: int
    loop_percent: float
    lag_seconds: float
    cpu_seconds: float
