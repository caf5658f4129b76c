"""What a look has at hand: the way to the cluster and the nodes, and what is remembered of a fleet."""

from __future__ import annotations

import asyncio
import math
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsfleet.costs import Applied, CostBook, book_from_status
from wsfleet.kube.apply import Applier
from wsfleet.kube.cache import Cache
from wsfleet.kube.client import KubeClient
from wsfleet.kube.events import EventRecorder
from wsfleet.kube.kinds import Kind, Object
from wsfleet.metrics import Metrics
from wsfleet.options import OperatorOptions
from wsfleet.reconcile.applied import AppliedSpec
from wsfleet.reconcile.troubles import Troubles
from wsfleet.scaling import History, RebalanceMemory, Step
from wsfleet.scrape import NodeAdmin, NodeFigures

if TYPE_CHECKING:
    from wsfleet.reconcile.prepare import Prepared, Problem


@dataclass(frozen=True, slots=True)
class Context:
    """Everything outside: shared by all fleets."""

    client: KubeClient
    cache: Cache
    applier: Applier
    admin: NodeAdmin
    events: EventRecorder
    metrics: Metrics
    options: OperatorOptions
    optional_kinds: frozenset[Kind] = frozenset()
    """Kinds of others' CRDs that are there: PodMonitor, PrometheusRule."""
    rolling: set[tuple[str, str]] = field(default_factory=set)
    """Fleets whose pods are brought to another shape now; `rollouts_at_once` bounds them."""


COSTS = "costs"
"""Of the status' memory: what was measured of costs, and which are in force."""
BALANCE = "rebalance"
"""Of the status' memory: where a rebalance stands."""
SAID = "said"
"""Of the status' memory: the remarks that were made."""
APPLIED = "applied"
"""Of the status' memory: the last spec that was carried out."""


@dataclass(slots=True)
class FleetState:
    """What one process remembers of one fleet. All of it can be lost: see `status` and `history`."""

    uid: str
    status: dict[str, Any]
    """The status as last read or written."""
    history: History
    written_at: float = -math.inf
    """Monotonic seconds of the last write of the status."""
    prepared: Prepared | Problem | None = None
    prepared_for: object = None
    applied: AppliedSpec | None = None
    """The last spec that was carried out; None before the first, or where that is not known."""
    kept: Prepared | Problem | None = None
    """What was prepared of it, while the present spec can't be carried out."""
    kept_for: object = None
    troubles: Troubles = field(default_factory=Troubles)
    """What could not be written, each with a pause of its own."""
    drain_rates: dict[str, float] = field(default_factory=dict)
    """Closes a second that nodes which are being emptied were told last, by pod UID."""
    figures: dict[str, NodeFigures] = field(default_factory=dict)
    """Last figures by pod UID."""
    costs: CostBook = field(default_factory=CostBook)
    costs_applied: Applied | None = None
    """Measured costs in force; None before the fleet was first sized by them."""
    costs_shown: tuple[object, dict[str, Any]] | None = None
    """The costs of the status, and what they were worked out for."""
    costs_kept: tuple[object, dict[str, Any]] | None = None
    """The same of what a restart has to know."""
    token: str = ""
    secret_seen_at: float = -math.inf
    credentials_seen_at: float = -math.inf
    credentials_problem: Problem | None = None
    credentials_for: object = None
    """The Secrets that this is about."""
    template_compared: object = None
    """The pod template and ReplicaSet that were last compared and found equal, or put right."""
    obstacle: Problem | None = None
    """Why the fleet's objects can't be made: somebody else has one of their names."""
    obstacle_until: float = -math.inf
    """Monotonic seconds until which it is not looked at again, while the spec is as it was."""
    obstacle_for: object = None
    leftovers_since: float | None = None
    """Since when the objects of an earlier fleet of this name are waited for."""
    said: set[str] = field(default_factory=set)
    """Remarks that were made and still hold: they are not made again."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the status is written: a look and the telling of a failure may meet."""
    failures: int = 0
    """Looks in a row that failed."""
    balance: RebalanceMemory = field(default_factory=RebalanceMemory)
    step: Step | None = None
    """The last look's; None before the first."""

    @classmethod
    def of(cls, fleet: Object, now: float | None = None) -> FleetState:
        """The state of a fleet met for the first time by this process: what its status says.

        `now` are epoch seconds, by default the clock's.
        """
        status = dict(fleet.get("status") or {})
        memory = status.get("memory")
        history = History.from_status(memory, status.get("scaling") or ())
        said = memory.get(SAID) if isinstance(memory, dict) else None
        words = {one for one in said if isinstance(one, str)} if isinstance(said, list) else set()
        balance = RebalanceMemory.from_status(memory.get(BALANCE) if isinstance(memory, dict) else None)
        kept = memory.get(COSTS) if isinstance(memory, dict) else None
        costs, applied = book_from_status(kept, time.time() if now is None else now)
        return cls(
            uid=fleet["metadata"]["uid"],
            status=status,
            history=history,
            said=words,
            costs=costs,
            costs_applied=applied,
            balance=balance,
            applied=AppliedSpec.from_status(memory.get(APPLIED) if isinstance(memory, dict) else None),
        )

    @property
    def jitter(self) -> float:
        """A number from 0 to 1 that is this fleet's own and always the same."""
        return zlib.crc32(self.uid.encode()) / 2**32
