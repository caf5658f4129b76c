"""What a person asks of a fleet: annotations, which the operator sees and acts on."""

from __future__ import annotations

from collections.abc import Iterable

from wsfleet.kube.errors import NotFoundError
from wsfleet.kube.kinds import POD, WSFLEET, Object, name_of, namespace_of
from wsfleet.plugin.errors import NoSuchError, UsageError
from wsfleet.plugin.read import belongs, fleet_named, pods_of
from wsfleet.plugin.session import Session
from wsfleet.resources import names
from wsfleet.status import rfc3339


async def annotate_fleet(session: Session, fleet: Object, annotations: dict[str, str | None]) -> Object:
    """Write annotations of this very fleet, None takes one away; the fleet as it is then."""
    metadata = fleet["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], "annotations": annotations}}
    return await session.client.merge_patch(WSFLEET, namespace_of(fleet), name_of(fleet), patch)


async def pause(session: Session, name: str, marks: Iterable[str]) -> Object:
    """Set pauses, named by their annotations."""
    fleet = await fleet_named(session, name)
    return await annotate_fleet(session, fleet, dict.fromkeys(marks, "true"))


async def resume(session: Session, name: str, marks: Iterable[str]) -> Object:
    """Take pauses away."""
    fleet = await fleet_named(session, name)
    present = fleet["metadata"].get("annotations") or {}
    set_now: dict[str, str | None] = {mark: None for mark in marks if mark in present}
    return await annotate_fleet(session, fleet, set_now) if set_now else fleet


async def ask_rebalance(session: Session, name: str, now: float) -> Object:
    """Have a fleet spread its connections now."""
    fleet = await fleet_named(session, name)
    return await annotate_fleet(session, fleet, {names.REBALANCE_ANNOTATION: rfc3339(now)})


async def ask_replace(session: Session, name: str, pod_name: str, now: float) -> tuple[Object, Object]:
    """Have one pod of a fleet replaced; fleet and pod as they are then.

    Raises:
        NoSuchError: no such fleet or pod.
        UsageError: the pod is not this fleet's, or is going already.
    """
    fleet = await fleet_named(session, name)
    pod = await _pod_named(session, fleet, pod_name)
    if pod["metadata"].get("deletionTimestamp"):
        raise UsageError(f"pod {pod_name} is on its way out already")
    if names.REPLACE_ANNOTATION in (pod["metadata"].get("annotations") or {}):
        return fleet, pod  # asked before: a new moment would change nothing
    patch = {
        "metadata": {
            "uid": pod["metadata"]["uid"],
            "annotations": {names.REPLACE_ANNOTATION: rfc3339(now)},
        }
    }
    try:
        written = await session.client.merge_patch(POD, namespace_of(fleet), pod_name, patch)
    except NotFoundError as exc:
        raise UsageError(f"pod {pod_name} went meanwhile") from exc
    return fleet, written


async def _pod_named(session: Session, fleet: Object, pod_name: str) -> Object:
    name, namespace = name_of(fleet), namespace_of(fleet)
    try:
        pod = await session.client.get(POD, namespace, pod_name)
    except NotFoundError as exc:
        found = sorted(name_of(one) for one in await pods_of(session, fleet))
        there = f"{name} has {', '.join(found[:8])}" if found else f"{name} has no pods"
        raise NoSuchError(f"no pod {pod_name} in namespace {namespace}; {there}") from exc
    if not belongs(pod, name):
        owner = (pod["metadata"].get("labels") or {}).get(names.FLEET_LABEL)
        whose = f"it belongs to fleet {owner}" if owner and owner != name else "it is no node of a fleet"
        raise UsageError(f"pod {pod_name} is not one of {name}: {whose}; nothing was asked")
    return pod
