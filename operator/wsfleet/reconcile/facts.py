"""What a fleet's status says that follows from its spec alone: settings, projections, advice. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsfleet.api import NodeSettings, Projection
from wsfleet.resources import BuildContext, settings_file, settings_hash
from wsfleet.scaling.words import counted, number_of_nodes
from wsfleet.sizing import Plan
from wsfleet.sizing.notes import NoteKind
from wsnode.config import env_name

_WORD = 256
_TEXT = 1024
_NOTES = 32
_NODE_NAME = env_name("node_name")  # each node's own


def spec_facts(plan: Plan, build: BuildContext, shape: str) -> dict[str, Any]:
    """The status fields that only a changed spec changes."""
    return {
        "image": build.image,
        "shape": shape,
        "nodeSettings": _node_settings(plan, build),
        "projections": [_projection(one) for one in plan.projections],
        "recommendation": recommendation(plan, build.spec.load.users),
    }


def recommendation(plan: Plan, users: int | None) -> str | None:
    """How many nodes the expected users need, and a machine that would carry them for less."""
    if users is None:
        return None
    here = plan.cost_for(users)
    text = f"{number_of_nodes(here.nodes)} of {here.machine} for {counted(users, 'user')}"
    best = plan.cheapest_for(users)
    if best is None or here.cents_a_month is None or best.cents_a_month is None:
        return text
    if best.machine == here.machine or best.cents_a_month >= here.cents_a_month:
        return text
    saved = (here.cents_a_month - best.cents_a_month) / 100
    return f"{text}; {best.nodes} of {best.machine} would cost {saved:.2f} USD a month less"


def _node_settings(plan: Plan, build: BuildContext) -> dict[str, Any]:
    settings = build.settings.to_env()
    return NodeSettings(
        values={name: value[:_WORD] for name, value in settings.items() if name != _NODE_NAME},
        hash=settings_hash(settings_file(build.settings)),
        notes=[note.text[:_TEXT] for note in plan.notes if note.kind is NoteKind.WARNING][:_NOTES],
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


def cut(value: Any) -> Any:
    """Texts cut to the longest that the resource takes; a fleet's status is no place for more."""
    if isinstance(value, str):
        return value[:_TEXT]
    if isinstance(value, Mapping):
        return {key: cut(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [cut(inner) for inner in value]
    return value
