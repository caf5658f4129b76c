"""Decisions in sentences: what was decided when, by which rule, with which figures. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from wsfleet.plugin.view import DecisionView, FleetView
from wsfleet.scaling.words import number_of_nodes
from wsfleet.sizing.text import plain

_TRIGGERS = {
    "Connections": "the connections asked for it",
    "Cpu": "CPU asked for it",
    "Rejections": "nodes turned clients away",
    "MinReplicas": "minReplicas asked for it",
    "MaxReplicas": "maxReplicas allowed no more",
    "LowLoad": "the load had fallen",
    "Replicas": "spec.replicas asked for it",
    "Steady": "nothing asked for another size",
}


def decision_sentences(decision: DecisionView) -> list[str]:
    """What was decided and why, then what kept it from more."""
    told = [f"{_move(decision)}, since {_TRIGGERS.get(decision.trigger, decision.trigger)}."]
    told += [_sentence(reason) for reason in decision.reasons]
    told += [_sentence(f"held back: {hold}") for hold in decision.holds]
    return told


def size_sentences(view: FleetView) -> list[str]:
    """Why the fleet has the size it has now."""
    if not view.is_seen:
        return ["No operator has looked at this fleet yet."]
    wanted = "unknown" if view.desired is None else number_of_nodes(view.desired)
    told = [f"{view.name} should have {wanted} and has {view.ready or 0:,} ready."]
    active = next((one for one in view.conditions if one.type == "ScalingActive"), None)
    if active is not None and active.message:
        told.append(_sentence(active.message))
    told += [_sentence(hold) for hold in view.holds if active is None or hold != active.message]
    return told


def _move(decision: DecisionView) -> str:
    before, after = decision.before, decision.after
    if before is None or after is None:
        return "The size changed"
    if before == after:
        return f"Stayed at {number_of_nodes(after)}"
    return f"{'Grew' if after > before else 'Shrank'} from {before:,} to {number_of_nodes(after)}"


def _sentence(text: str) -> str:
    whole = text[:1].upper() + text[1:]
    return whole if whole.endswith((".", "!", "?", "…")) else f"{whole}."


def figures_line(figures: Iterable[tuple[str, float]]) -> str:
    """The figures a decision was made on, by name."""
    return ", ".join(f"{name} {plain(value, 4)}" for name, value in sorted(figures))
