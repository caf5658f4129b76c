"""Owned objects: there, as wished for, and put back when somebody changed them."""

from __future__ import annotations

import base64
import binascii
import logging
import math
import secrets
import time

from wsfleet.kube.apply import difference, mark
from wsfleet.kube.errors import AlreadyExistsError, ForbiddenError, NotFoundError, in_going_namespace
from wsfleet.kube.kinds import PDB, REPLICASET, SECRET, Object, kind_of, name_of
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.ownership import Claim, claim_on, controller_of, own_secret
from wsfleet.reconcile.prepare import Prepared, Problem
from wsfleet.resources import build_pdb, build_secret, names

logger = logging.getLogger(__name__)

_SECRET_SECONDS = 600.0
_MISSING_SECRET_SECONDS = 15.0
_STARTING_SECRET_SECONDS = 15.0
_TOKEN_BYTES = 32


async def ensure_objects(context: Context, prepared: Prepared) -> None:
    """Apply what differs: ConfigMap, Service, PodDisruptionBudget, NetworkPolicy, monitors."""
    for each in prepared.objects:
        wanted = budget_now(context, prepared) if kind_of(each) == PDB else each
        kind = kind_of(wanted)
        namespace, optional = prepared.build.namespace, kind in context.optional_kinds
        if optional and not context.cache.knows(kind, namespace):
            continue  # its CRD has gone again: no reason to leave the fleet alone
        seen = context.cache.get(kind, namespace, name_of(wanted))
        try:
            written = await context.applier.ensure(wanted, seen)
        except (ForbiddenError, NotFoundError) as exc:
            if not optional or in_going_namespace(exc):
                raise
            logger.info("%s/%s: %s", namespace, prepared.build.name, exc)
            continue
        if written is not None:
            context.cache.put(kind, written)


def budget_now(context: Context, prepared: Prepared) -> Object:
    """The PodDisruptionBudget of this moment: where evictions are paced, the next waits until a pod is gone.

    The budget itself does not count pods that are terminating, and those still have clients to let go.
    """
    build = prepared.build
    pods = context.cache.pods((build.namespace, build.name))
    leaving = any(pod["metadata"].get("deletionTimestamp") for pod in pods)
    paced = prepared.fleet.spec.disruption.evictions == "Paced"
    return mark(build_pdb(build, 1 if paced and not leaving else 0))


def is_new(context: Context, prepared: Prepared) -> bool:
    """Whether an object of the fleet is yet to be made or to be taken over.

    Before that, the fleet itself is asked for, and the names are looked at.
    """
    namespace, name, uid = prepared.build.namespace, prepared.build.name, prepared.build.uid
    wanted = [(kind_of(one), name_of(one)) for one in prepared.objects]
    present = [
        context.cache.get(kind, namespace, called)
        for kind, called in wanted
        if kind not in context.optional_kinds
    ]
    sets = context.cache.replicasets((namespace, name))
    present += [one for one in sets if claim_on(one, name, uid) is not Claim.TAKEN]
    return any(one is None or (controller_of(one) or {}).get("uid") != uid for one in present)


async def ensure_token(context: Context, state: FleetState, prepared: Prepared) -> None:
    """Read the Secret with the admin tokens, and create it where it is missing.

    The first line is used; nodes take every line, so that a new one can be put before the old.
    Secrets are neither listed nor watched: it is read again each ten minutes, when a node refuses
    the token, and while pods wait to start, which they don't without it.

    Raises:
        NameTakenError: a Secret of that name is somebody else's.
        LeftoverError: it is an earlier fleet's.
    """
    if state.token and time.monotonic() - state.secret_seen_at < _SECRET_SECONDS:
        return
    namespace, name = prepared.build.namespace, names.secret_name(prepared.build.name)
    try:
        secret = await context.client.get(SECRET, namespace, name)
    except NotFoundError:
        logger.info("%s/%s: creating the Secret with the admin token", namespace, name)
        wanted = build_secret(prepared.build, [secrets.token_urlsafe(_TOKEN_BYTES)])
        try:
            secret = await context.client.create(wanted)
        except AlreadyExistsError:
            secret = await context.client.get(SECRET, namespace, name)
    await own_secret(context, prepared, secret)
    token = first_token(secret.get("data") or {})
    if not token:
        # Somebody emptied it: a token that nobody knows protects nothing that can't be had by a new one.
        logger.warning("%s/%s: the Secret has no token: writing a new one", namespace, name)
        wanted = build_secret(prepared.build, [secrets.token_urlsafe(_TOKEN_BYTES)])
        secret = await context.client.merge_patch(SECRET, namespace, name, {"data": wanted["data"]})
        token = first_token(secret["data"])
    state.token, state.secret_seen_at = token, time.monotonic()


def recheck_token(state: FleetState, seen: Observed) -> None:
    """Read the Secret soon again where pods wait to start: somebody may have deleted it."""
    waiting = any(pod.pending and not pod.unschedulable for pod in seen.active)
    if waiting and time.monotonic() - state.secret_seen_at > _STARTING_SECRET_SECONDS:
        state.secret_seen_at = -math.inf


def first_token(data: dict[str, str]) -> str:
    """The token of a Secret's data that the operator uses, empty where there is none."""
    try:
        text = base64.b64decode(data.get(names.TOKENS_KEY, "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return next(iter(text.split()), "")


async def missing_secret(context: Context, state: FleetState, prepared: Prepared) -> Problem | None:
    """A Secret that the spec names and that is not there, or lacks a key."""
    wanted = _wanted_secrets(prepared)
    if not wanted:
        return None
    pause = _MISSING_SECRET_SECONDS if state.credentials_problem else _SECRET_SECONDS
    if time.monotonic() - state.credentials_seen_at < pause:
        return state.credentials_problem
    problem = None
    for path, name, keys in wanted:
        try:
            there = (await context.client.get(SECRET, prepared.build.namespace, name)).get("data") or {}
            missing = [key for key in keys if key not in there]
            if missing:
                problem = Problem("SecretKeyMissing", f"{path}: Secret {name} has no key {missing[0]}")
        except NotFoundError:
            problem = Problem("SecretMissing", f"{path}: there is no Secret {name} here")
        if problem is not None:
            break
    state.credentials_problem, state.credentials_seen_at = problem, time.monotonic()
    return problem


def _wanted_secrets(prepared: Prepared) -> list[tuple[str, str, tuple[str, ...]]]:
    """Field, name and keys of each Secret that the nodes mount and the user makes."""
    spec = prepared.fleet.spec
    wanted: list[tuple[str, str, tuple[str, ...]]] = []
    credentials = spec.nats.credentials_secret
    if credentials is not None:
        wanted.append(("spec.nats.credentialsSecret", credentials.name, (credentials.key,)))
    if spec.tls is not None:
        keys = (names.TLS_CERT_KEY, names.TLS_KEY_KEY)
        wanted.append(("spec.tls.secretName", spec.tls.secret_name, keys))
    return wanted


async def ensure_template(context: Context, state: FleetState, prepared: Prepared) -> None:
    """Put the pod template of the present ReplicaSet right, for pods that are made from now on.

    A ReplicaSet is never applied (its `replicas` would be fought over); a merge patch leaves that
    number alone. Pods that run are not touched by it.
    """
    name = names.replicaset_name(prepared.build.name, prepared.shape)
    seen = context.cache.get(REPLICASET, prepared.build.namespace, name)
    if seen is None:
        return
    version = (prepared.shape, seen["metadata"]["resourceVersion"], state.prepared_for)
    if state.template_compared == version:
        return
    state.template_compared = version
    place = difference(prepared.template, seen["spec"]["template"])
    if place is None:
        return
    logger.info("%s/%s: putting the pod template right: %s", prepared.build.namespace, name, place)
    patch = {"spec": {"template": prepared.template}}
    written = await context.client.merge_patch(REPLICASET, prepared.build.namespace, name, patch)
    context.cache.put(REPLICASET, written)
