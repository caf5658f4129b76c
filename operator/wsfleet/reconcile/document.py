"""The status of a fleet as a document, from one look. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from wsfleet.api import NodeSettings, Projection, WsFleetStatus
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.prepare import Prepared
from wsfleet.reconcile.settings import nodes_in_force
from wsfleet.resources import names
from wsfleet.scaling import Decision, History
from wsfleet.sizing import Plan
from wsfleet.sizing.notes import NoteKind
from wsfleet.status import Finding, merge_conditions
from wsnode.config import env_name

_WORD = 256
_TEXT = 1024
_DECISIONS = 10
_NODE_NAME = env_name("node_name")  # each node's own


def status_document(
    prepared: Prepared,
    seen: Observed,
    decision: Decision,
    history: History,
    findings: Sequence[Finding],
    phase: str,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole status of a fleet whose spec is good; `before` is the last one."""
    generation = prepared.generation
    proven = any(pod.shape == prepared.shape for pod in seen.ready)
    known = {
        **counts(prepared.build.name, seen, prepared.build.settings.max_connections),
        "observedGeneration": generation,
        "phase": phase,
        "desiredReplicas": decision.desired,
        "image": prepared.build.image,
        "shape": prepared.shape,
        "provenShape": prepared.shape if proven else before.get("provenShape"),
        "nodeSettings": _node_settings(prepared, seen),
        "projections": [_projection(one) for one in prepared.plan.projections],
        "recommendation": recommendation(prepared.plan, prepared.fleet.spec.load.users),
        "scaling": history.decisions_to_status()[:_DECISIONS],
        "lastDecision": _last_decision(history),
        "conditions": merge_conditions(before.get("conditions") or (), findings, seen.now, generation),
    }
    return cleaned(known) | {"memory": history.to_status()}


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


def cleaned(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document in the resource's own form: no unknown or absent fields, texts cut to their bounds."""
    model = WsFleetStatus.model_validate(_cut(document))
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def recommendation(plan: Plan, users: int | None) -> str | None:
    """How many nodes the expected users need, and a machine that would carry them for less."""
    if users is None:
        return None
    here = plan.cost_for(users)
    text = f"{here.nodes} nodes of {here.machine} for {users} users"
    best = plan.cheapest_for(users)
    if best is None or here.cents_a_month is None or best.cents_a_month is None:
        return text
    if best.machine == here.machine or best.cents_a_month >= here.cents_a_month:
        return text
    saved = (here.cents_a_month - best.cents_a_month) / 100
    return f"{text}; {best.nodes} of {best.machine} would cost {saved:.2f} USD a month less"


def _node_settings(prepared: Prepared, seen: Observed) -> dict[str, Any]:
    refused = [figures.settings_error for figures in seen.figures.values() if figures.settings_error]
    return NodeSettings(
        values={
            name: value[:_WORD]
            for name, value in prepared.build.settings.to_env().items()
            if name != _NODE_NAME
        },
        hash=prepared.settings_hash,
        in_force=nodes_in_force(seen, prepared.settings_hash),
        refused=refused[0][:_TEXT] if refused else "",
        notes=[note.text[:_TEXT] for note in prepared.plan.notes if note.kind is NoteKind.WARNING][:32],
    ).model_dump(mode="json", by_alias=True)


def _projection(one: Any) -> dict[str, Any]:
    return Projection(
        name=one.name,
        connections=one.connections,
        messages_per_second=round(float(one.message_rate), 3),
        cpu_percent=round(float(one.cpu.percent), 1),
        memory_percent=round(float(one.memory.percent), 1),
        goroutines_percent=round(float(one.goroutines.percent), 1),
        network_percent=round(float(one.network.percent), 1) if one.network else 0.0,
        verdict=str(one.verdict),
    ).model_dump(mode="json", by_alias=True)


def _last_decision(history: History) -> str | None:
    if not history.decisions:
        return None
    last = history.decisions[-1]
    return f"{last.current} to {last.desired}: {last.trigger}"


def _cut(value: Any) -> Any:
    """Texts cut to the longest that the resource takes; a fleet's status is no place for more."""
    if isinstance(value, str):
        return value[:_TEXT]
    if isinstance(value, Mapping):
        return {key: _cut(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(inner) for inner in value]
    return value
