"""Whose is an object that has one of the fleet's names: nothing of somebody else's is taken over.

Only objects with the operator's label are watched, so what is not among them is asked for by name
before it is made: applied over a Service of the user's own, ours would take that and, with the
fleet, delete it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from wsfleet.api import API_VERSION, KIND
from wsfleet.kube.errors import ForbiddenError, NotFoundError
from wsfleet.kube.kinds import REPLICASET, SECRET, Object, kind_of, name_of
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.context import Context
from wsfleet.reconcile.prepare import Prepared
from wsfleet.resources import names


class Claim(StrEnum):
    """How an object stands to a fleet."""

    OURS = "ours"
    """Of this fleet; or it has no owner and the fleet's labels, as `--cascade=orphan` leaves it."""
    LEFTOVER = "leftover"
    """Of an earlier fleet of this name: the garbage collector takes it."""
    TAKEN = "taken"


class NameTakenError(Exception):
    """Somebody else has an object by a name that the fleet needs."""

    def __init__(self, obj: Object) -> None:
        owner = controller_of(obj)
        whose = f"belongs to {owner['kind']}/{owner['name']}" if owner else "is not the operator's"
        name = f"{obj['kind']}/{name_of(obj)}"
        super().__init__(
            f"{name} {whose} and is left alone: rename or delete it, or give the fleet another name"
        )


class LeftoverError(Exception):
    """An object of an earlier fleet of this name is still there, on its way out."""

    def __init__(self, obj: Object) -> None:
        super().__init__(f"{obj['kind']}/{name_of(obj)} of an earlier fleet of this name is still there")


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner that controls an object."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((one for one in references if one.get("controller")), None)


def claim_on(obj: Mapping[str, Any], fleet: str, uid: str) -> Claim:
    """How an object stands to the fleet of this name and UID."""
    owner = controller_of(obj)
    if owner is None:
        labels = obj["metadata"].get("labels") or {}
        ours = {names.MANAGED_BY_LABEL: names.MANAGER, names.FLEET_LABEL: fleet}
        return Claim.OURS if ours.items() <= labels.items() else Claim.TAKEN
    if owner.get("uid") == uid:
        return Claim.OURS
    group = str(owner.get("apiVersion", "")).partition("/")[0]
    predecessor = (group, owner.get("kind"), owner.get("name")) == (
        API_VERSION.partition("/")[0],
        KIND,
        fleet,
    )
    return Claim.LEFTOVER if predecessor else Claim.TAKEN


def check_claim(obj: Object, prepared: Prepared) -> None:
    """Go on only with an object of this fleet.

    Raises:
        NameTakenError: it is somebody else's.
        LeftoverError: it is an earlier fleet's.
    """
    claim = claim_on(obj, prepared.build.name, prepared.build.uid)
    if claim is Claim.TAKEN:
        raise NameTakenError(obj)
    if claim is Claim.LEFTOVER:
        raise LeftoverError(obj)


async def check_names(context: Context, prepared: Prepared) -> None:
    """Look at every object that has one of the fleet's names, but for the Secret (see `ensure_token`).

    Raises:
        NameTakenError: one is somebody else's.
        LeftoverError: one is an earlier fleet's.
    """
    namespace, name = prepared.build.namespace, prepared.build.name
    for wanted in prepared.objects:
        kind = kind_of(wanted)
        found = context.cache.get(kind, namespace, name_of(wanted))
        if found is None:
            try:
                found = await context.client.get(kind, namespace, name_of(wanted))
            except NotFoundError:
                continue
            except ForbiddenError:
                if kind not in context.optional_kinds:
                    raise
                continue
        check_claim({**found, "kind": kind.kind}, prepared)
    for one in context.cache.replicasets((namespace, name)):
        if claim_on(one, name, prepared.build.uid) is Claim.LEFTOVER:
            raise LeftoverError({**one, "kind": REPLICASET.kind})


async def adopt(context: Context, prepared: Prepared) -> None:
    """Become the owner of the fleet's ReplicaSets that lost theirs: else they would outlive it."""
    build = prepared.build
    for one in context.cache.replicasets((build.namespace, build.name)):
        if controller_of(one) is None:
            await _own(context, prepared, one, REPLICASET)


async def own_secret(context: Context, prepared: Prepared, secret: Object) -> None:
    """The same for the Secret, which is never applied.

    Raises:
        NameTakenError: it is somebody else's.
        LeftoverError: it is an earlier fleet's.
    """
    check_claim({**secret, "kind": SECRET.kind}, prepared)
    if controller_of(secret) is None:
        await _own(context, prepared, secret, SECRET)


async def _own(context: Context, prepared: Prepared, obj: Object, kind: Any) -> None:
    others = obj["metadata"].get("ownerReferences") or []
    metadata = {"uid": obj["metadata"]["uid"], "ownerReferences": [*others, prepared.build.owner()]}
    written = await context.client.merge_patch(
        kind, prepared.build.namespace, name_of(obj), {"metadata": metadata}
    )
    context.cache.put(kind, written)


def foreign_sets(context: Context, fleet: Key, uid: str) -> frozenset[str]:
    """UIDs of ReplicaSets that bear the fleet's labels and are somebody else's."""
    found = context.cache.replicasets(fleet)
    return frozenset(one["metadata"]["uid"] for one in found if claim_on(one, fleet[1], uid) is Claim.TAKEN)


def has_leftovers(context: Context, fleet: Key, uid: str) -> bool:
    """Whether ReplicaSets of an earlier fleet of this name are still there."""
    found = context.cache.replicasets(fleet)
    return any(claim_on(one, fleet[1], uid) is Claim.LEFTOVER for one in found)
