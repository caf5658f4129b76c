"""The fleet's Secrets: the one with the admin tokens, which is ours, and its user's that the nodes mount."""

from __future__ import annotations

import base64
import binascii
import logging
import math
import secrets
import time
from collections.abc import Sequence

from wsfleet.kube.errors import AlreadyExistsError, KubeError, NotFoundError
from wsfleet.kube.kinds import SECRET
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.ownership import own_secret
from wsfleet.reconcile.prepare import Prepared, Problem
from wsfleet.reconcile.troubles import note_trouble
from wsfleet.resources import build_secret, names

logger = logging.getLogger(__name__)

_SECRET_SECONDS = 600.0
_MISSING_SECRET_SECONDS = 15.0
_STARTING_SECRET_SECONDS = 15.0
_TOKEN_BYTES = 32
_MOUNTED = "Secrets that the nodes mount"


async def ensure_token(context: Context, state: FleetState, prepared: Prepared) -> None:
    """As `read_token`; where that fails, the look goes on with the token that was known, if any."""
    name = f"{SECRET.kind}/{names.secret_name(prepared.build.name)}"
    if not state.troubles.may_try(name, None, time.monotonic()):
        return
    try:
        await read_token(context, state, prepared)
    except KubeError as exc:
        note_trouble(context, state, name, None, exc)
    else:
        state.troubles.over(name)


async def read_token(context: Context, state: FleetState, prepared: Prepared) -> None:
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
    """A Secret that the spec names and that is not there, or lacks a key.

    Where it can't be read, what was last known of it holds.
    """
    wanted = _wanted_secrets(prepared)
    if not wanted:
        return None
    if state.credentials_for != wanted:
        state.credentials_for, state.credentials_problem = wanted, None
        state.credentials_seen_at = -math.inf
    now = time.monotonic()
    pause = _MISSING_SECRET_SECONDS if state.credentials_problem else _SECRET_SECONDS
    if now - state.credentials_seen_at < pause or not state.troubles.may_try(_MOUNTED, wanted, now):
        return state.credentials_problem
    problem = None
    try:
        for path, name, keys in wanted:
            problem = problem or await _secret_problem(context, prepared.build.namespace, path, name, keys)
    except KubeError as exc:
        note_trouble(context, state, _MOUNTED, wanted, exc)
        return state.credentials_problem
    state.troubles.over(_MOUNTED)
    state.credentials_problem, state.credentials_seen_at = problem, time.monotonic()
    return problem


async def _secret_problem(
    context: Context, namespace: str, path: str, name: str, keys: Sequence[str]
) -> Problem | None:
    try:
        there = (await context.client.get(SECRET, namespace, name)).get("data") or {}
    except NotFoundError:
        return Problem("SecretMissing", f"{path}: there is no Secret {name} here")
    missing = [key for key in keys if key not in there]
    if missing:
        return Problem("SecretKeyMissing", f"{path}: Secret {name} has no key {missing[0]}")
    return None


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
