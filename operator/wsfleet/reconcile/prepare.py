"""From a fleet's spec to what should be there: checked, sized and built once a generation.

Pure but for what it is given. A spec that no plan can be made of is a `Problem`: it is told, not
retried, and leaves running pods as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsfleet.api import InvalidFleetError, WsFleet
from wsfleet.api.quantities import parse_bytes, parse_cpu
from wsfleet.kube.apply import mark
from wsfleet.kube.kinds import PODMONITOR, PROMETHEUSRULE, Kind, Object
from wsfleet.reconcile.facts import spec_facts
from wsfleet.resources import (
    BuildContext,
    build_configmap,
    build_networkpolicy,
    build_pdb,
    build_pod_template,
    build_podmonitor,
    build_prometheusrule,
    build_service,
    names,
    settings_file,
    settings_hash,
    shape_hash,
)
from wsfleet.resources.context import PROMETHEUS, Peer
from wsfleet.resources.pod import pod_resources
from wsfleet.scaling import RebalancePolicy, RolloutPolicy, ScalingPolicy, Window
from wsfleet.scaling.from_spec import (
    policy_from_spec,
    rebalance_policy_from_spec,
    rollout_policy_from_spec,
    windows_from_spec,
)
from wsfleet.sizing import Costs, Inputs, SizingError, make_plan
from wsfleet.sizing.from_spec import inputs_from_spec

_WATCHED_ANNOTATIONS = (
    names.RESTARTED_AT_ANNOTATION,
    names.PAUSED_ANNOTATION,
    names.PAUSED_SCALE_IN_ANNOTATION,
    names.PAUSED_SCALE_OUT_ANNOTATION,
    names.REBALANCE_ANNOTATION,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why nothing can be made of a spec: one word, and a sentence that names the field."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What should be there of one fleet."""

    fleet: WsFleet
    inputs: Inputs
    overrides: Mapping[str, Any]
    """What the plan was made from."""
    build: BuildContext
    shape: str
    settings_hash: str
    scaling: ScalingPolicy
    rollout: RolloutPolicy
    rebalance: RebalancePolicy
    windows: tuple[Window, ...]
    """When a rollout may begin."""
    objects: tuple[Object, ...]
    """What is applied, marked: everything but ReplicaSets and the Secret."""
    template: Object
    """The pod template of the fleet's shape."""
    facts: Mapping[str, Any]
    """The part of the status that follows from the spec alone."""

    @property
    def generation(self) -> int:
        return self.fleet.metadata.generation


def fingerprint(fleet: Mapping[str, Any], image: str, costs: Costs | None = None) -> object:
    """Equal as long as `prepare` would give the same again."""
    metadata = fleet["metadata"]
    annotations = metadata.get("annotations") or {}
    watched = tuple(annotations.get(name) for name in _WATCHED_ANNOTATIONS)
    return (metadata["uid"], metadata.get("generation"), image, watched, costs)


def prepare(
    fleet: Mapping[str, Any],
    image: str,
    operator_namespace: str,
    optional: frozenset[Kind],
    *,
    admin_peers: tuple[Peer, ...] = (PROMETHEUS,),
    costs: Costs | None = None,
) -> Prepared | Problem:
    """Check, size and build a fleet. `costs` are the measured ones in force, where a spec asks for them."""
    # Not parsed: a status of another release must not make a good spec unreadable.
    document = {key: value for key, value in fleet.items() if key != "status"}
    try:
        parsed = WsFleet.parse(document)
    except InvalidFleetError as error:
        return Problem("InvalidSpec", "; ".join(error.problems))
    try:
        inputs, overrides = inputs_from_spec(parsed.spec, costs)
        plan = make_plan(inputs, overrides)
    except SizingError as error:
        return Problem("SizingFailed", str(error))
    build = BuildContext.of(
        parsed, plan, image, operator_namespace=operator_namespace, admin_peers=admin_peers
    )
    if above := requests_above_limits(build):
        return Problem("InvalidSpec", above)
    shape = shape_hash(build)
    evictable = 1 if parsed.spec.disruption.evictions == "Paced" else 0
    objects = [
        build_configmap(build),
        build_service(build),
        build_pdb(build, evictable),
        build_networkpolicy(build),
    ]
    if PODMONITOR in optional:
        objects.append(build_podmonitor(build))
    if PROMETHEUSRULE in optional:
        objects.append(build_prometheusrule(build))
    return Prepared(
        fleet=parsed,
        inputs=inputs,
        overrides=overrides,
        build=build,
        shape=shape,
        settings_hash=settings_hash(settings_file(build.settings)),
        scaling=policy_from_spec(parsed.spec, plan, **pauses_of(parsed.metadata.annotations)),
        rollout=rollout_policy_from_spec(parsed.spec, plan),
        rebalance=rebalance_policy_from_spec(
            parsed.spec, plan, parsed.metadata.annotations.get(names.REBALANCE_ANNOTATION, "")
        ),
        windows=windows_from_spec(parsed.spec),
        objects=tuple(mark(one) for one in objects),
        template=build_pod_template(build, shape),
        facts=spec_facts(plan, build, shape),
    )


def requests_above_limits(build: BuildContext) -> str:
    """What the API server would refuse each pod for: a request above the plan's limit; empty if none."""
    resources = pod_resources(build)
    for kind, parse in (("cpu", parse_cpu), ("memory", parse_bytes)):
        asked, limit = resources["requests"][kind], resources["limits"][kind]
        if parse(asked) > parse(limit):
            return f"spec.template.resources.requests.{kind}: {asked} is above the pod's limit {limit}"
    return ""


def pauses_of(annotations: Mapping[str, str]) -> dict[str, bool]:
    """What a fleet's annotations pause, on top of its spec."""
    marks = {
        "paused": names.PAUSED_ANNOTATION,
        "paused_scale_in": names.PAUSED_SCALE_IN_ANNOTATION,
        "paused_scale_out": names.PAUSED_SCALE_OUT_ANNOTATION,
    }
    return {
        pause: annotations.get(mark, "").strip().lower() in ("true", "yes", "1")
        for pause, mark in marks.items()
    }


def image_of(fleet: Mapping[str, Any], default: str, restarted_before: str) -> str:
    """The image of a fleet's nodes: the spec's, else the one it is pinned to, else the operator's own.

    The pin keeps an upgrade of the operator from rolling fleets by itself. A new restart request
    (`restarted_before` is the one that was carried out last) replaces the pods anyway and frees it.
    """
    wanted = (fleet.get("spec") or {}).get("image")
    if wanted:
        return str(wanted)
    asked = (fleet["metadata"].get("annotations") or {}).get(names.RESTARTED_AT_ANNOTATION, "")
    pinned = (fleet.get("status") or {}).get("image")
    return str(pinned) if pinned and asked == restarted_before else default
