"""Telling: the status written when it says something new, problems as conditions and events."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from wsfleet.kube.errors import ConflictError, KubeError, NotFoundError, UnavailableError
from wsfleet.kube.kinds import WSFLEET, Object, name_of, namespace_of
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.document import problem_document
from wsfleet.reconcile.findings import feed_finding, problem_findings, ready_finding
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.prepare import Problem
from wsfleet.status import MESSAGE_LENGTH, Finding, merge_conditions, seconds_until_write

logger = logging.getLogger(__name__)


async def tell(context: Context, fleet: Object, state: FleetState, new: dict[str, Any]) -> float | None:
    """Write the status if it is due; seconds until it will be, None if there is nothing more to say."""
    new = {name: value for name, value in new.items() if value is not None}
    async with state.writing:
        since = time.monotonic() - state.written_at
        wait = seconds_until_write(state.status, new, since, state.jitter)
        if wait > 0:
            return wait if wait < math.inf else None
        await _write(context, fleet, new)
        state.status, state.written_at = new, time.monotonic()
    context.metrics.status_writes.inc()
    return None


async def _write(context: Context, fleet: Object, new: dict[str, Any]) -> None:
    metadata = fleet["metadata"]
    body = {
        "apiVersion": WSFLEET.api_version,
        "kind": WSFLEET.kind,
        # With the uid, or the status of a deleted fleet would land on one that has its name.
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid")},
        "status": new,
    }
    await context.client.apply(body, subresource="status")


async def tell_problem(
    context: Context, fleet: Object, state: FleetState, seen: Observed, problem: Problem
) -> float | None:
    """Condition and event; running pods stay as they are until the spec changes."""
    wanted = int(state.status.get("desiredReplicas") or 0)
    ready = ready_finding(seen, wanted, state.status)
    if not seen.active:
        # No nodes are wanted because no one can say how many: that is not what a wait for Ready is for.
        ready = Finding.of("Ready", False, problem.reason, problem.message)
    findings = [
        *problem_findings(problem.reason, problem.message, stalled=True),
        ready,
        feed_finding(seen),
    ]
    new = problem_document(name_of(fleet), _generation(fleet), seen, findings, state.status)
    warn_once(context, fleet, state, problem.reason, problem.message)
    return await tell(context, fleet, state, new)


def warn_once(context: Context, fleet: Object, state: FleetState, reason: str, message: str) -> None:
    """An event of what the fleet's Degraded will say, unless it says so already."""
    if not _said(state, reason, message):
        context.events.warning(fleet, reason, "Reconcile", message)


async def show_failure(context: Context, fleet: Object, state: FleetState, exc: Exception) -> None:
    """A look that raised, in the fleet's conditions."""
    text = str(exc) or type(exc).__name__
    passing = isinstance(exc, UnavailableError | ConflictError | NotFoundError)
    if not passing:
        warn_once(context, fleet, state, type(exc).__name__, text)
    findings = problem_findings(type(exc).__name__, text, stalled=False)
    before = state.status.get("conditions") or ()
    conditions = merge_conditions(before, findings, time.time(), _generation(fleet))
    try:
        await tell(context, fleet, state, {**state.status, "phase": "Degraded", "conditions": conditions})
    except KubeError as error:
        logger.warning(
            "%s/%s: the failure could not be shown: %s", namespace_of(fleet), name_of(fleet), error
        )


def _said(state: FleetState, reason: str, message: str) -> bool:
    """Whether the status tells this already: then an event has, too, if by an operator before this one."""
    conditions = state.status.get("conditions") or ()
    degraded: dict[str, Any] = next((one for one in conditions if one.get("type") == "Degraded"), {})
    told = (degraded.get("status"), degraded.get("reason"), degraded.get("message"))
    return told == ("True", reason, message[:MESSAGE_LENGTH])


def _generation(fleet: Object) -> int:
    return int(fleet["metadata"].get("generation") or 0)
