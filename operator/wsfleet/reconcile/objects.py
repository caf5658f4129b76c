"""Owned objects: there, as wished for, and put back when somebody changed them."""

from __future__ import annotations

import logging
import time

from wsfleet.kube.apply import APPLIED_HASH, difference, mark
from wsfleet.kube.errors import (
    ForbiddenError,
    KubeError,
    NotFoundError,
    in_going_namespace,
)
from wsfleet.kube.kinds import PDB, REPLICASET, Object, kind_of, name_of
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.ownership import Claim, claim_on, controller_of
from wsfleet.reconcile.prepare import Prepared
from wsfleet.reconcile.troubles import note_trouble
from wsfleet.resources import build_pdb, names

logger = logging.getLogger(__name__)


async def ensure_objects(context: Context, state: FleetState, prepared: Prepared) -> None:
    """Apply what differs: ConfigMap, Service, PodDisruptionBudget, NetworkPolicy, monitors.

    One that can't be written is noted in the state's troubles and waits; the others are not kept from
    being written by it.
    """
    for each in prepared.objects:
        wanted = budget_now(context, prepared) if kind_of(each) == PDB else each
        name, mark_ = title(wanted), wanted["metadata"]["annotations"][APPLIED_HASH]
        if not state.troubles.may_try(name, mark_, time.monotonic()):
            continue
        try:
            await _ensure(context, prepared, wanted)
        except KubeError as exc:
            note_trouble(context, state, name, mark_, exc)
        else:
            state.troubles.over(name)


async def _ensure(context: Context, prepared: Prepared, wanted: Object) -> None:
    kind, namespace = kind_of(wanted), prepared.build.namespace
    optional = kind in context.optional_kinds
    if optional and not context.cache.knows(kind, namespace):
        return  # its CRD has gone again: no reason to leave the fleet alone
    seen = context.cache.get(kind, namespace, name_of(wanted))
    try:
        written = await context.applier.ensure(wanted, seen)
    except (ForbiddenError, NotFoundError) as exc:
        if not optional or in_going_namespace(exc):
            raise
        logger.info("%s/%s: %s", namespace, prepared.build.name, exc)
        return
    if written is not None:
        context.cache.put(kind, written)


def title(obj: Object) -> str:
    """An object as people name it: Service/odin."""
    return f"{obj['kind']}/{name_of(obj)}"


def budget_now(context: Context, prepared: Prepared) -> Object:
    """The PodDisruptionBudget of this moment: where evictions are paced, the next waits until a pod is gone.

    The budget itself does not count pods that are terminating, and those still have clients to let go.
    """
    build = prepared.build
    pods = context.cache.pods((build.namespace, build.name))
    leaving = any(pod["metadata"].get("deletionTimestamp") for pod in pods)
    paced = prepared.fleet.spec.disruption.evictions == "Paced"
    return mark(build_pdb(build, 1 if paced and not leaving else 0))


def is_new(context: Context, state: FleetState, prepared: Prepared) -> bool:
    """Whether an object of the fleet is yet to be made or to be taken over, in this look.

    Before that, the fleet itself is asked for, and the names are looked at.
    """
    namespace, name, uid = prepared.build.namespace, prepared.build.name, prepared.build.uid
    now = time.monotonic()
    wanted = [
        (kind_of(one), name_of(one))
        for one in prepared.objects
        # Paced evictions change the budget's hash: a pause of that one ends a look too early at worst.
        if state.troubles.may_try(title(one), one["metadata"]["annotations"][APPLIED_HASH], now)
    ]
    present = [
        context.cache.get(kind, namespace, called)
        for kind, called in wanted
        if kind not in context.optional_kinds
    ]
    sets = context.cache.replicasets((namespace, name))
    present += [one for one in sets if claim_on(one, name, uid) is not Claim.TAKEN]
    return any(one is None or (controller_of(one) or {}).get("uid") != uid for one in present)


async def ensure_template(context: Context, state: FleetState, prepared: Prepared) -> None:
    """Put the pod template of the present ReplicaSet right, for pods that are made from now on.

    A ReplicaSet is never applied (its `replicas` would be fought over); a merge patch leaves that
    number alone. Pods that run are not touched by it.
    """
    name = names.replicaset_name(prepared.build.name, prepared.shape)
    seen = context.cache.get(REPLICASET, prepared.build.namespace, name)
    if seen is None:
        return
    version = (prepared.template, seen["metadata"]["resourceVersion"])
    if state.template_compared == version:
        return
    called = f"{REPLICASET.kind}/{name}"
    if not state.troubles.may_try(called, prepared.template, time.monotonic()):
        return
    place = difference(prepared.template, seen["spec"]["template"])
    if place is not None:
        logger.info("%s/%s: putting the pod template right: %s", prepared.build.namespace, name, place)
        patch = {"spec": {"template": prepared.template}}
        try:
            written = await context.client.merge_patch(REPLICASET, prepared.build.namespace, name, patch)
        except KubeError as exc:
            note_trouble(context, state, called, prepared.template, exc)
            return
        context.cache.put(REPLICASET, written)
    state.template_compared = version
    state.troubles.over(called)
