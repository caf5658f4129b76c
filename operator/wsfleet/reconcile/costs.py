"""A fleet's measured costs: taken from its nodes' figures, applied where the spec asks for it, and told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import nsmallest
from typing import Any

from wsfleet.api import CostStatus, CostValues, SizeUnderCosts
from wsfleet.costs import (
    Applied,
    CostFigures,
    NodeCount,
    NodeMemory,
    advance,
    book_to_status,
)
from wsfleet.costs.meter import NODES_WATCHED
from wsfleet.kube.kinds import Object
from wsfleet.reconcile.context import FleetState
from wsfleet.reconcile.document import CostsTold
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.prepare import Prepared
from wsfleet.sizing import Comparison, Costs, Size, SizingError, compare
from wsfleet.sizing.from_spec import measured_costs
from wsfleet.status import rfc3339

WAITING = (
    "sizing.costs is Measured, and the seed's are used until enough is measured (status.costs tells how far)"
)
_DIGITS = 3


def costs_in_force(fleet: Object, applied: Applied | None) -> Costs | None:
    """The costs to size a fleet by whose spec asks for measured ones; None where it doesn't."""
    sizing = (fleet.get("spec") or {}).get("sizing") or {}
    if sizing.get("costs") != "Measured":
        return None
    if applied is None or applied.moved_at is None or applied.figures == _seed_figures():
        return Costs(remark=WAITING)
    return measured_costs(_values(applied.figures))


def watch_costs(state: FleetState, prepared: Prepared, seen: Observed) -> None:
    """Take the nodes' figures in; a step of the costs in force, if one is due."""
    state.costs.observe(_counts(seen), _memories(seen), seen.now)
    if prepared.fleet.spec.sizing.costs != "Measured":
        if state.costs_applied is not None:
            # Who turns to measured costs again starts from the seed's, and not before the day is over.
            state.costs_applied = Applied(figures=_seed_figures(), moved_at=state.costs_applied.moved_at)
        return
    present = state.costs_applied or Applied(figures=_seed_figures())
    wanted = _wanted(state, present.figures) if _is_sure(state) else None
    state.costs_applied = advance(present, wanted, seen.now, only_down=not state.costs.estimate.split)


def costs_told(state: FleetState, prepared: Prepared) -> CostsTold:
    """What the status says of costs: worked out anew where the estimate, the plan or a step changed it."""
    book = state.costs
    mark = (prepared.generation, state.prepared_for, book.fitted_at, state.costs_applied)
    if state.costs_shown is None or state.costs_shown[0] != mark:
        state.costs_shown = (mark, _document(state, prepared))
    kept_mark = (book.measured, book.fitted_at, state.costs_applied)
    if state.costs_kept is None or state.costs_kept[0] != kept_mark:
        state.costs_kept = (kept_mark, book_to_status(book, state.costs_applied))
    return CostsTold(shown=state.costs_shown[1], kept=state.costs_kept[1])


def _counts(seen: Observed) -> Iterator[NodeCount]:
    for uid in nsmallest(NODES_WATCHED, seen.figures):
        figures = seen.figures[uid]
        yield NodeCount(
            uid=uid,
            taken=figures.taken,
            uptime_seconds=figures.uptime_seconds,
            cpu_seconds=figures.cpu_seconds_total,
            deliveries=figures.deliveries_total,
            replayed=figures.replayed_total,
            messages_in=figures.messages_in_total,
            readers=figures.feed_readers or 1,
            connections=figures.connections,
            steady=bool(
                figures.ready and figures.feed_connected and not figures.feed_paused and not figures.draining
            ),
        )


def _memories(seen: Observed) -> Iterator[NodeMemory]:
    for figures in seen.figures.values():
        if figures.memory_per_connection and figures.memory_over_connections:
            yield NodeMemory(
                bytes_per_connection=figures.memory_per_connection,
                connections=figures.memory_over_connections,
            )


def _seed_figures() -> CostFigures:
    seed = Costs()
    return CostFigures(
        message_us=float(seed.message_cpu_us),
        intake_us=float(seed.intake_cpu_us),
        idle_us=float(seed.idle_cpu_us),
        memory_bytes=float(seed.connection_memory_bytes),
    )


def _wanted(state: FleetState, present: CostFigures) -> CostFigures | None:
    """What was measured; memory stays as it is while no node could tell it."""
    book, estimate = state.costs, state.costs.estimate
    if estimate.message_us is None:
        return None
    return CostFigures(
        message_us=estimate.message_us,
        intake_us=estimate.read_us * book.readers,
        idle_us=estimate.idle_us,
        memory_bytes=book.memory_bytes or present.memory_bytes,
    )


def _is_sure(state: FleetState) -> bool:
    """Whether what was measured can be sized by: both parts told apart, or a bound below the seed's."""
    estimate = state.costs.estimate
    if estimate.message_us is None:
        return False
    return estimate.split or estimate.message_us < _seed_figures().message_us


def _document(state: FleetState, prepared: Prepared) -> dict[str, Any]:
    spec, book = prepared.fleet.spec, state.costs
    wanted = _wanted(state, _seed_figures())
    measured = None if wanted is None else _values(wanted)
    applied = state.costs_applied if spec.sizing.costs == "Measured" else None
    moved = applied is not None and applied.moved_at is not None and applied.figures != _seed_figures()
    in_force = _values(applied.figures) if moved and applied is not None else None
    sizes = _compared(prepared, measured if _is_sure(state) else None)
    source = "Seed" if spec.sizing.costs == "Measured" and in_force is None else spec.sizing.costs
    told = CostStatus(
        source=source,
        message=_message(state, spec.sizing.costs),
        intervals=book.measured,
        sure=_is_sure(state),
        users=None if sizes is None else sizes.users,
        measured=measured,
        in_force=in_force,
        fixed_cpu_percent=round(book.fixed_percent(prepared.build.settings.cpu_limit), 1),
        by_seed=None if sizes is None else _size(sizes.seed),
        by_measured=_size(sizes.measured) if sizes is not None and sizes.measured is not None else None,
        saving=None if sizes is None or sizes.saving_cents is None else sizes.saving_cents / 100,
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
    if moved and applied is not None and applied.moved_at is not None:
        told["movedAt"] = rfc3339(applied.moved_at)
    return told


def _message(state: FleetState, asked: str) -> str:
    estimate, book = state.costs.estimate, state.costs
    if estimate.message_us is None:
        text = "too little has been measured: some 20 minutes of a node with clients are needed"
    elif not estimate.split:
        text = (
            "the load was too even to tell the cost of a message from the fixed part of CPU: the cost of a "
            "message has all of it, and the fixed part counts as 0"
        )
    elif not estimate.read_known:
        text = (
            "messages came in too evenly to tell the cost of taking one in from the idle part of CPU; "
            "their sum is measured"
        )
    else:
        text = "each part is measured"
    if book.memory_bytes is None:
        text += "; memory a connection is not known yet, and the seed's stands in for it"
    if asked == "Measured" and not _is_sure(state):
        text += "; the seed's costs are used until then"
    return text


def _compared(prepared: Prepared, measured: CostValues | None) -> Comparison | None:
    try:
        return compare(
            prepared.inputs, prepared.overrides, None if measured is None else measured_costs(measured)
        )
    except SizingError:
        return None


def _size(size: Size) -> SizeUnderCosts:
    cents = size.cents_a_month
    return SizeUnderCosts(
        connections=size.connections,
        nodes=size.nodes,
        monthly_cost=None if cents is None else cents / 100,
    )


def _values(figures: CostFigures) -> CostValues:
    """As the status shows them and the plan takes them: three digits, so that noise changes nothing."""
    return CostValues(
        message_cpu_micros=_rounded(figures.message_us),
        published_cpu_micros=_rounded(figures.intake_us),
        idle_cpu_micros=_rounded(figures.idle_us),
        memory_per_connection=_rounded(figures.memory_bytes),
    )


def _rounded(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return 0.0
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))
