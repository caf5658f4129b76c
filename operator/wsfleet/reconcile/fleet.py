"""All fleets: which are there, what is remembered of each, and what comes of a look that fails."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from wsfleet.kube.errors import (
    ConflictError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    NotLeadingError,
    UnavailableError,
    in_going_namespace,
)
from wsfleet.kube.kinds import REPLICASET, Object, name_of, namespace_of
from wsfleet.kube.reflector import Key
from wsfleet.kube.trim import trim_metadata
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.look import Look
from wsfleet.reconcile.pacing import rolling_fleets
from wsfleet.reconcile.telling import show_failure
from wsfleet.reconcile.troubles import BLIPS

logger = logging.getLogger(__name__)

_STALE_SECONDS = 150.0
_SAY_SECONDS = 60.0
_RESTORED_SECONDS = 60.0  # in which a fleet that is there is noticed


class FleetReconciler:
    """Looks at fleets; holds each one's last object and what this process remembers of it."""

    def __init__(self, context: Context, vanished: Callable[[Key], None] = lambda key: None) -> None:
        self._context = context
        self._vanished = vanished
        self._fleets: dict[Key, Object] = {}
        self._states: dict[Key, FleetState] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._said_silent = -math.inf

    def restore(self) -> None:
        """Before the first fleet is taken over: who is being rolled now, as the operator before this counted.

        Those that turn out not to be there lose their turn after a while.
        """
        restored = rolling_fleets(self._context.cache.every(REPLICASET))
        self._context.rolling.update(restored)
        if restored:
            logger.info("%d fleets are being rolled", len(restored))
            asyncio.get_running_loop().call_later(_RESTORED_SECONDS, self._drop_unknown, restored)

    def _drop_unknown(self, restored: set[Key]) -> None:
        self._context.rolling.difference_update(restored - self._fleets.keys())

    def take(self, fleet: Object) -> bool:
        """Take over a fleet as it was seen last; whether it is new or changed in what its user says."""
        key = (namespace_of(fleet), name_of(fleet))
        old = self._fleets.get(key)
        if old is not None and _is_older(fleet, old):
            return False  # the last news of a fleet that had this name before
        self._fleets[key] = trim_metadata(fleet)
        if old is None:
            return True
        watched = ("uid", "generation", "annotations", "deletionTimestamp")
        return any(old["metadata"].get(name) != fleet["metadata"].get(name) for name in watched)

    def holds(self, fleet: Object) -> bool:
        """Whether it is this very fleet that is looked after, and not another of its name."""
        held = self._fleets.get((namespace_of(fleet), name_of(fleet)))
        return held is not None and held["metadata"]["uid"] == fleet["metadata"]["uid"]

    def gone(self, key: Key) -> None:
        """A fleet is deleted: forget it. Its objects go by their owner references."""
        fleet = self._fleets.pop(key, None)
        self._states.pop(key, None)
        self._context.rolling.discard(key)
        self._context.applier.forget(*key)
        if fleet is not None:
            self._context.events.forget(fleet["metadata"]["uid"])
        self._context.metrics.forget(*key)
        logger.info("%s/%s: deleted", *key)

    def failed(self, key: Key, exc: Exception) -> None:
        """A look raised: say so in the log, in the metrics and in the fleet's conditions."""
        self._context.metrics.errors.labels(type(exc).__name__).inc()
        state = self._states.get(key)
        failures = 0 if state is None else state.failures + 1
        if state is not None:
            state.failures = failures
        passing = isinstance(exc, ConflictError | NotFoundError | NotLeadingError | UnavailableError)
        if isinstance(exc, ConflictError | NotFoundError) and failures < BLIPS:
            logger.info("%s/%s: %s", *key, exc)
        elif isinstance(exc, KubeError):
            logger.warning("%s/%s: %s", *key, exc)
        else:
            logger.error("%s/%s: the look failed", *key, exc_info=exc)
        if passing and failures < BLIPS:
            return  # an API server that restarts, or a race, says nothing about the fleet
        fleet = self._fleets.get(key)
        if fleet is None or state is None:
            return
        task = asyncio.create_task(show_failure(self._context, fleet, state, exc))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def look(self, key: Key) -> float | None:
        """One look; the seconds after which another is wanted, None for the next tick."""
        fleet = self._fleets.get(key)
        if fleet is None or fleet["metadata"].get("deletionTimestamp"):
            return None
        silent = self._context.cache.silent_seconds(key[0])
        if silent > _STALE_SECONDS:
            self._say_silent(key, silent)
            return None
        state = self._states.get(key)
        if state is None or state.uid != fleet["metadata"]["uid"]:
            state = self._states[key] = FleetState.of(fleet)
        with self._context.metrics.reconciles.time():
            try:
                wait = await Look(self._context, key, fleet, state, self._vanished).run()
                state.failures = 0
                return wait
            except ForbiddenError as exc:
                if not in_going_namespace(exc):
                    raise
                return None  # the namespace is going, and the fleet with it

    def _say_silent(self, key: Key, seconds: float) -> None:
        now = time.monotonic()
        if now - self._said_silent <= _SAY_SECONDS:
            return
        self._said_silent = now
        if math.isinf(seconds):
            logger.warning("%s/%s: its objects were never listed (no right to?): not acting blindly", *key)
        else:
            logger.warning("the API server has said nothing for %.0f s: not acting on old news", seconds)


def _is_older(fleet: Object, held: Object) -> bool:
    """Whether this is news of a fleet that was there before the one that is held."""
    if fleet["metadata"]["uid"] == held["metadata"]["uid"]:
        return False
    one, other = (str(each["metadata"].get("resourceVersion", "")) for each in (fleet, held))
    return one.isdigit() and other.isdigit() and int(one) < int(other)
