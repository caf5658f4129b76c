"""A Lease as a document, and the rules of taking one. Pure: times are parameters.

Rules: a contender takes a lease that nobody holds at once, and one that is held only after it has
seen it unchanged for its whole duration by its own clock. The holder's times in it are for people:
no two machines' clocks are ever compared.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from wsfleet.kube.kinds import LEASE, Object

_MOST_TRANSITIONS = 2**31 - 1
_YEAR_2025 = 1_735_689_600


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What a Lease says."""

    holder: str
    """Empty: nobody."""
    transitions: int
    duration_seconds: float
    renewed: str
    """The holder's own time: only looked at to see it move."""
    uid: str

    @classmethod
    def of(cls, lease: Object) -> LeaseState:
        """Lenient: people edit leases, and a chart makes an empty one."""
        spec = lease.get("spec") or {}
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            transitions=int(spec.get("leaseTransitions") or 0),
            duration_seconds=float(spec.get("leaseDurationSeconds") or 0),
            renewed=str(spec.get("renewTime") or ""),
            uid=str(lease["metadata"].get("uid") or ""),
        )


class Contender:
    """Watches a lease and says when it may be taken, and with which number of transitions."""

    def __init__(self, duration_seconds: float) -> None:
        self._duration_seconds = duration_seconds
        self._seen: LeaseState | None = None
        self._since: float | None = None
        """When it was first seen as it is now; None before the first look."""
        self._vanished = False
        """The object that was there is gone, perhaps under a holder who has not noticed yet."""
        self._highest = 0

    def may_take(self, lease: Object | None, now: float) -> bool:
        """Tell what was read at `now`, monotonic seconds (None: there is none); whether it may be taken.

        A lease that is not there, or is another one than before, may have been deleted by hand: it is
        waited for as if it were held. That is why the chart makes an empty one.
        """
        state = None if lease is None else LeaseState.of(lease)
        if self._since is None or state != self._seen:
            if self._since is not None and _uid(state) != _uid(self._seen):
                self._vanished = True
            self._seen, self._since = state, now
        waited = now - self._since
        if state is None:
            return waited >= self._duration_seconds
        self._highest = max(self._highest, state.transitions)
        if state.holder:
            self._vanished = False
        elif not self._vanished:
            return True
        return waited >= max(self._duration_seconds, state.duration_seconds)

    def next_transitions(self, wall_seconds: float) -> int:
        """More than any number seen.

        A lease made anew begins at the seconds since 2025: later than all that its forerunners reached, as
        long as no clock is far off, though nobody may remember them.
        """
        highest = self._highest or max(0, int(wall_seconds) - _YEAR_2025)
        return min(highest + 1, _MOST_TRANSITIONS)


def _uid(state: LeaseState | None) -> str:
    return "" if state is None else state.uid


def lease_document(
    namespace: str,
    name: str,
    *,
    holder: str,
    transitions: int,
    duration_seconds: float,
    acquired: str,
    wall_seconds: float,
    like: Object | None = None,
) -> Object:
    """The lease to write; with `like`, only over that very version of it."""
    metadata: Object = {"namespace": namespace, "name": name}
    if like is not None:
        # What others have put there stays.
        metadata = {key: value for key, value in like["metadata"].items() if key != "managedFields"}
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": metadata,
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(duration_seconds)),
            "leaseTransitions": transitions,
            "acquireTime": acquired,
            "renewTime": micro_time(wall_seconds),
        },
    }


def micro_time(wall_seconds: float) -> str:
    """A moment as Kubernetes' MicroTime."""
    return dt.datetime.fromtimestamp(wall_seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
