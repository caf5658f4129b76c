"""A fleet as a person sees it, from its resource and its nodes. Pure; missing and odd data is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from wsfleet.kube.kinds import Object
from wsfleet.plugin.holding import Pauses, holding
from wsfleet.plugin.nodes import Node, silent
from wsfleet.plugin.reading import at, items, mapping, number, text, texts, whole
from wsfleet.status import epoch_seconds

SCHEMA = "wsfleet.io/status/v1"
"""Of the JSON; fields are added to it, and none of them goes or changes its meaning."""

DEFAULT_TOLERANCE_PERCENT = 10.0
"""The schema's default, for fleets that were made before it had the field."""


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition, and for how long it has stood so."""

    type: str
    status: str
    reason: str
    message: str
    since_seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "sinceSeconds": None if self.since_seconds is None else int(self.since_seconds),
        }


@dataclass(frozen=True, slots=True)
class DecisionView:
    """One decision of the scaling rules, as the status keeps it."""

    time: str | None
    age_seconds: float | None
    before: int | None
    after: int | None
    trigger: str
    reasons: tuple[str, ...]
    holds: tuple[str, ...]
    figures: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For programs; as in the resource's status."""
        return {
            "time": self.time,
            "from": self.before,
            "to": self.after,
            "trigger": self.trigger,
            "reasons": list(self.reasons),
            "holds": list(self.holds),
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far the pods have the shape that the spec asks for."""

    rolling: bool
    new_nodes: int | None
    """These three are None where nobody looked at the nodes."""
    new_ready: int | None
    old_nodes: int | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rolling": self.rolling,
            "newNodes": self.new_nodes,
            "newReady": self.new_ready,
            "oldNodes": self.old_nodes,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Settings:
    """What the sizing rules gave a node."""

    in_force: int | None
    hash: str | None
    refused: str | None
    values: Mapping[str, str]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "inForce": self.in_force,
            "hash": self.hash,
            "refused": self.refused,
            "values": dict(self.values),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """A fleet at one moment. What the operator has not told (yet) is None."""

    name: str
    namespace: str
    phase: str | None
    age_seconds: float | None
    generation: int | None
    observed_generation: int | None
    ready: int | None
    present: int | None
    desired: int | None
    connections: int | None
    capacity: int | None
    cpu_percent: float | None
    image: str | None
    shape: str | None
    recommendation: str | None
    settings: Settings
    rollout: Rollout
    pauses: Pauses
    holds: tuple[str, ...]
    """What keeps the fleet from changing its size now, in sentences."""
    rebalance: str | None = None
    """Where a rebalance stands, in the operator's word; None while there is none."""
    conditions: tuple[ConditionView, ...] = ()
    decisions: tuple[DecisionView, ...] = ()
    """Newest first."""
    tolerance_percent: float = DEFAULT_TOLERANCE_PERCENT
    """By which a node may be above the mean (spec.rebalance)."""
    nodes: tuple[Node, ...] | None = None
    """None where nobody looked."""
    remarks: tuple[str, ...] = ()
    """What could not be seen, and why."""

    @property
    def connections_percent(self) -> float | None:
        """Connections against capacity."""
        if self.connections is None or not self.capacity:
            return None
        return round(self.connections * 100 / self.capacity, 1)

    @property
    def now_connections(self) -> int | None:
        """By the nodes themselves where they were asked and one told; else as the operator last wrote it."""
        told = [node.connections for node in self.nodes or () if node.connections is not None]
        return sum(told) if told else self.connections

    @property
    def now_cpu_percent(self) -> float | None:
        """The ready nodes' mean, by the same rule."""
        told = [node.cpu_percent for node in self.nodes or () if node.ready and node.cpu_percent is not None]
        return fmean(told) if told else self.cpu_percent

    @property
    def last_decision(self) -> DecisionView | None:
        return self.decisions[0] if self.decisions else None

    @property
    def is_seen(self) -> bool:
        """Whether an operator has looked at it at all."""
        return self.phase is not None

    @property
    def is_current(self) -> bool:
        """Whether what the operator tells is about the spec as it is now."""
        return self.generation is None or self.observed_generation == self.generation

    def to_dict(self) -> dict[str, Any]:
        """For programs; see SCHEMA."""
        last = self.last_decision
        return {
            "schema": SCHEMA,
            "name": self.name,
            "namespace": self.namespace,
            "phase": self.phase,
            "ageSeconds": None if self.age_seconds is None else int(self.age_seconds),
            "generation": self.generation,
            "observedGeneration": self.observed_generation,
            "nodes": {"ready": self.ready, "present": self.present, "desired": self.desired},
            "connections": {
                "current": self.connections,
                "capacity": self.capacity,
                "percent": self.connections_percent,
            },
            "cpuPercent": self.cpu_percent,
            "image": self.image,
            "shape": self.shape,
            "paused": self.pauses.to_dict(),
            "holds": list(self.holds),
            "rollout": self.rollout.to_dict(),
            "rebalance": self.rebalance,
            "settings": self.settings.to_dict(),
            "recommendation": self.recommendation,
            "lastDecision": None if last is None else last.to_dict(),
            "conditions": [one.to_dict() for one in self.conditions],
            "pods": None if self.nodes is None else [node.to_dict() for node in self.nodes],
            "remarks": list(self.remarks),
        }


def view_of(
    fleet: Object, nodes: Sequence[Node] | None, now: float, remarks: Sequence[str] = ()
) -> FleetView:
    """A fleet from its resource; `now` is in epoch seconds, `nodes` None where nobody asked them."""
    status, metadata = mapping(fleet, "status"), mapping(fleet, "metadata")
    conditions = tuple(_condition(one, now) for one in items(status, "conditions"))
    pauses = Pauses.of(fleet)
    return FleetView(
        name=text(metadata, "name") or "?",
        namespace=text(metadata, "namespace") or "",
        phase=text(status, "phase"),
        age_seconds=_age(text(metadata, "creationTimestamp"), now),
        generation=whole(metadata, "generation"),
        observed_generation=whole(status, "observedGeneration"),
        ready=whole(status, "readyReplicas"),
        present=whole(status, "replicas"),
        desired=whole(status, "desiredReplicas"),
        connections=whole(status, "connections"),
        capacity=whole(status, "capacity"),
        cpu_percent=number(status, "cpuPercent"),
        image=text(status, "image"),
        shape=text(status, "shape"),
        recommendation=text(status, "recommendation"),
        settings=_settings(status),
        rollout=_rollout(status, conditions, nodes),
        pauses=pauses,
        holds=holding(pauses, {one.type: one for one in conditions}, _told_holds(status)),
        rebalance=text(status, "rebalance"),
        conditions=conditions,
        tolerance_percent=_tolerance(fleet),
        decisions=tuple(_decision(one, now) for one in items(status, "scaling")),
        nodes=None if nodes is None else tuple(nodes),
        remarks=(*remarks, *((quiet,) if nodes and (quiet := silent(nodes)) else ())),
    )


def _told_holds(status: Mapping[str, Any]) -> list[str] | None:
    """What the operator says that it holds back; None where no operator of this release has looked."""
    return texts(status, "holds") if "holds" in status or status.get("phase") is None else None


def _tolerance(fleet: Object) -> float:
    found = number(fleet, "spec", "rebalance", "tolerancePercent")
    return DEFAULT_TOLERANCE_PERCENT if found is None else found


def _age(moment: str | None, now: float) -> float | None:
    since = epoch_seconds(moment)
    return None if since is None else max(0.0, now - since)


def _condition(one: Mapping[str, Any], now: float) -> ConditionView:
    return ConditionView(
        type=text(one, "type") or "?",
        status=text(one, "status") or "Unknown",
        reason=text(one, "reason") or "",
        message=text(one, "message") or "",
        since_seconds=_age(text(one, "lastTransitionTime"), now),
    )


def _decision(one: Mapping[str, Any], now: float) -> DecisionView:
    figures = mapping(one, "figures")
    return DecisionView(
        time=text(one, "time"),
        age_seconds=_age(text(one, "time"), now),
        before=whole(one, "from"),
        after=whole(one, "to"),
        trigger=text(one, "trigger") or "?",
        reasons=tuple(texts(one, "reasons")),
        holds=tuple(texts(one, "holds")),
        figures={str(name): value for name in figures if (value := number(figures, name)) is not None},
    )


def _settings(status: Mapping[str, Any]) -> Settings:
    found = mapping(status, "nodeSettings")
    return Settings(
        in_force=whole(found, "inForce"),
        hash=text(found, "hash"),
        refused=text(found, "refused"),
        values={str(name): str(value) for name, value in mapping(found, "values").items()},
        notes=tuple(texts(found, "notes")),
    )


def _rollout(
    status: Mapping[str, Any], conditions: Sequence[ConditionView], nodes: Sequence[Node] | None
) -> Rollout:
    staying = [node for node in nodes or () if not node.terminating]
    new = [node for node in staying if node.shape == at(status, "shape")]
    progressing = [one for one in conditions if one.type == "Progressing" and one.status == "True"]
    stalled = [one for one in conditions if one.type == "Stalled" and one.status == "True"]
    return Rollout(
        rolling=text(status, "phase") == "RollingOut",
        new_nodes=None if nodes is None else len(new),
        new_ready=None if nodes is None else sum(node.ready for node in new),
        old_nodes=None if nodes is None else len(staying) - len(new),
        message=next((one.message for one in (*stalled, *progressing)), ""),
    )
