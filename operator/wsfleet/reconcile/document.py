"""The status of a fleet as a document, from one look. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from wsfleet.reconcile.applied import AppliedSpec
from wsfleet.reconcile.context import APPLIED, BALANCE, COSTS, SAID
from wsfleet.reconcile.facts import cut
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.prepare import Prepared
from wsfleet.reconcile.settings import nodes_in_force
from wsfleet.resources import names
from wsfleet.scaling import Decision, History, RebalanceMemory, RebalancePhase
from wsfleet.status import Finding, merge_conditions

_DECISIONS = 10


@dataclass(frozen=True, slots=True)
class CostsTold:
    """Of a fleet's costs: what the status shows, and what a restart has to know."""

    shown: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)


NO_COSTS = CostsTold()


def status_document(
    prepared: Prepared,
    seen: Observed,
    decision: Decision,
    history: History,
    findings: Sequence[Finding],
    phase: str,
    before: Mapping[str, Any],
    said: Collection[str] = (),
    costs: CostsTold = NO_COSTS,
    balance: RebalanceMemory | None = None,
    generation: int | None = None,
    applied: AppliedSpec | None = None,
) -> dict[str, Any]:
    """The whole status of a fleet that is led; `before` is the last one, `said` what was remarked.

    `generation` is that of the spec that was looked at, which need not be the one that is carried out.
    """
    generation = prepared.generation if generation is None else generation
    balance = balance or RebalanceMemory()
    phase_now = balance.phase
    proven = any(pod.shape == prepared.shape for pod in seen.ready)
    return {
        **prepared.facts,
        **counts(prepared.build.name, seen, prepared.build.settings.max_connections),
        "observedGeneration": generation,
        "phase": phase,
        "desiredReplicas": decision.desired,
        "provenShape": prepared.shape if proven else before.get("provenShape"),
        "nodeSettings": {**prepared.facts["nodeSettings"], **_in_force(prepared, seen)},
        "costs": dict(costs.shown) or None,
        "scaling": cut(history.decisions_to_status()[:_DECISIONS]),
        "holds": cut([hold.text for hold in decision.holds]),
        "lastDecision": _last_decision(history),
        "conditions": merge_conditions(before.get("conditions") or (), findings, seen.now, generation),
        "rebalance": None if phase_now is RebalancePhase.IDLE else str(phase_now),
        "memory": {
            **history.to_status(),
            **({SAID: sorted(said)} if said else {}),
            **({COSTS: dict(costs.kept)} if costs.kept else {}),
            **({BALANCE: kept} if (kept := balance.to_status()) else {}),
            **({APPLIED: spec} if applied is not None and (spec := applied.to_status()) else {}),
        },
    }


def problem_document(
    fleet: str, generation: int, seen: Observed, findings: Sequence[Finding], before: Mapping[str, Any]
) -> dict[str, Any]:
    """The status of a fleet whose spec is no good: what is there, and the rest as it was."""
    return {
        **before,
        **counts(fleet, seen, 0),
        "observedGeneration": generation,
        "phase": "Degraded",
        "conditions": merge_conditions(before.get("conditions") or (), findings, seen.now, generation),
    }


def counts(fleet: str, seen: Observed, planned_connections: int) -> dict[str, Any]:
    """What there is of nodes and connections. A node that never told its limit has the planned one."""
    told = [pod.connections for pod in seen.pods if pod.connections is not None]
    percents = [pod.cpu_percent for pod in seen.ready if pod.cpu_percent is not None]
    return {
        "replicas": len(seen.active),
        "readyReplicas": len(seen.ready),
        "selector": names.selector_text(fleet),
        "connections": sum(told),
        "capacity": sum(pod.max_connections or planned_connections for pod in seen.ready),
        "cpuPercent": round(fmean(percents), 1) if percents else None,
    }


def _in_force(prepared: Prepared, seen: Observed) -> dict[str, Any]:
    refused = [figures.settings_error for figures in seen.recent.values() if figures.settings_error]
    return {
        "inForce": nodes_in_force(seen, prepared.settings_hash),
        "refused": cut(min(refused)) if refused else "",
    }


def _last_decision(history: History) -> str | None:
    if not history.decisions:
        return None
    last = history.decisions[-1]
    return f"{last.current} to {last.desired}: {last.trigger}"
