"""The order of one look at a fleet. Idempotent and level-triggered; see the package."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from wsfleet.kube.errors import ConflictError, ForbiddenError, KubeError, NotFoundError, UnavailableError
from wsfleet.kube.kinds import REPLICASET, WSFLEET, Object, name_of, namespace_of
from wsfleet.kube.reflector import Key
from wsfleet.kube.trim import trim_metadata
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.document import status_document
from wsfleet.reconcile.findings import all_findings, phase_of
from wsfleet.reconcile.objects import (
    ensure_objects,
    ensure_template,
    ensure_token,
    is_new,
    missing_secret,
)
from wsfleet.reconcile.observe import Observed, observe
from wsfleet.reconcile.prepare import Prepared, Problem, fingerprint, image_of, prepare
from wsfleet.reconcile.settings import hurry_kubelets
from wsfleet.reconcile.steps import Actor
from wsfleet.reconcile.telling import show_failure, tell, tell_problem
from wsfleet.resources import names
from wsfleet.scaling import (
    Decision,
    Snapshot,
    Stalled,
    Step,
    World,
    decide,
    is_rolling,
    next_fleet_step,
    steer,
)

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.5  # after something was done, to see what came of it
_STALE_SECONDS = 150.0
_SAY_SECONDS = 60.0
_BLIPS = 3


class FleetReconciler:
    """Looks at fleets; holds each one's last object and what this process remembers of it."""

    def __init__(self, context: Context, vanished: Callable[[Key], None] = lambda key: None) -> None:
        self._context = context
        self._vanished = vanished
        self._fleets: dict[Key, Object] = {}
        self._states: dict[Key, FleetState] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._said_silent = -math.inf

    def take(self, fleet: Object) -> bool:
        """Take over a fleet as it was seen last; whether it is new or changed in what its user says."""
        key = (namespace_of(fleet), name_of(fleet))
        old, self._fleets[key] = self._fleets.get(key), trim_metadata(fleet)
        if old is None:
            return True
        watched = ("uid", "generation", "annotations", "deletionTimestamp")
        return any(old["metadata"].get(name) != fleet["metadata"].get(name) for name in watched)

    def gone(self, key: Key) -> None:
        """A fleet is deleted: forget it. Its objects go by their owner references."""
        fleet = self._fleets.pop(key, None)
        self._states.pop(key, None)
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
        if isinstance(exc, ConflictError | NotFoundError):
            logger.info("%s/%s: %s", *key, exc)
            return
        if isinstance(exc, KubeError):
            logger.warning("%s/%s: %s", *key, exc)
        else:
            logger.error("%s/%s: the look failed", *key, exc_info=exc)
        if isinstance(exc, UnavailableError) and failures < _BLIPS:
            return  # an API server that restarts says nothing about the fleet
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
            self._say_silent(silent)
            return None
        state = self._states.get(key)
        if state is None or state.uid != fleet["metadata"]["uid"]:
            state = self._states[key] = FleetState.of(fleet)
        with self._context.metrics.reconciles.time():
            try:
                wait = await self._look(key, fleet, state)
                state.failures = 0
                return wait
            except ForbiddenError as exc:
                if "because it is being terminated" not in exc.message:
                    raise
                return None  # the namespace is going, and the fleet with it

    def _say_silent(self, seconds: float) -> None:
        now = time.monotonic()
        if now - self._said_silent > _SAY_SECONDS:
            self._said_silent = now
            logger.warning("the API server has said nothing for %.0f s: not acting on old news", seconds)

    async def _look(self, key: Key, fleet: Object, state: FleetState) -> float | None:
        prepared = self._prepare(key, fleet, state)
        if isinstance(prepared, Problem):
            seen = await observe(self._context, key, state)
            return await tell_problem(self._context, fleet, state, seen, prepared)
        if is_new(self._context, prepared) and not await self._is_there(fleet):
            logger.info("%s/%s: gone, and nobody told", *key)
            self._vanished(key)
            return None
        await ensure_token(self._context, state, prepared)
        await ensure_objects(self._context, prepared)
        problem = await missing_secret(self._context, state, prepared)
        seen = await observe(self._context, key, state)
        if problem is not None:
            return await tell_problem(self._context, fleet, state, seen, problem)
        await ensure_template(self._context, state, prepared)
        await hurry_kubelets(self._context, key, seen, prepared.settings_hash)
        decision, world = self._decide(fleet, state, prepared, seen)
        step = next_fleet_step(world, prepared.rollout)
        acted = await self._act(fleet, state, prepared, seen, step)
        findings = all_findings(seen, decision, step, state.status, ())
        phase = phase_of(findings, seen, decision, is_rolling(world, prepared.rollout))
        new = status_document(prepared, seen, decision, state.history, findings, phase, state.status)
        self._measure(key, new)
        wait = await tell(self._context, fleet, state, new)
        return min(_AGAIN_SECONDS, wait or math.inf) if acted else wait

    async def _is_there(self, fleet: Object) -> bool:
        """Whether the fleet is still in the API server: a watch that was cut may miss a deletion.

        What would be made for a fleet that is gone, the garbage collector would take away, for ever.
        """
        metadata = fleet["metadata"]
        try:
            found = await self._context.client.get(WSFLEET, metadata["namespace"], metadata["name"])
        except NotFoundError:
            return False
        return bool(
            found["metadata"]["uid"] == metadata["uid"] and not found["metadata"].get("deletionTimestamp")
        )

    def _prepare(self, key: Key, fleet: Object, state: FleetState) -> Prepared | Problem:
        """What should be there; made anew only when the wish changed."""
        restarted = _restarted_before(self._context, key, state)
        image = image_of({**fleet, "status": state.status}, self._context.options.node_image, restarted)
        mark = fingerprint(fleet, image)
        if state.prepared is None or state.prepared_for != mark:
            options = self._context.options
            state.prepared = prepare(fleet, image, options.operator_namespace, self._context.optional_kinds)
            state.prepared_for = mark
            self._remark(fleet)
        return state.prepared

    def _remark(self, fleet: Object) -> None:
        """Say once what a user may wonder about."""
        spec = fleet.get("spec") or {}
        if spec.get("autoscaling") and spec.get("replicas") is not None:
            note = "spec.replicas is ignored while spec.autoscaling is set"
            self._context.events.normal(fleet, "ReplicasIgnored", "Scale", note)

    def _decide(
        self, fleet: Object, state: FleetState, prepared: Prepared, seen: Observed
    ) -> tuple[Decision, World]:
        world = World.of(seen.sets, seen.pods, prepared.shape, state.history.desired or 0)
        snapshot = Snapshot.of(
            seen.now, seen.pods, replicas=world.total, rolling=is_rolling(world, prepared.rollout)
        )
        decision, state.history = decide(prepared.scaling, snapshot, state.history, seen.now)
        if decision.changes:
            text = f"{decision.current} to {decision.desired} nodes: {'; '.join(decision.reasons)}"
            logger.info("%s/%s: %s", namespace_of(fleet), name_of(fleet), text)
            self._context.events.normal(fleet, f"Decided{decision.trigger}", "Scale", text)
            self._context.metrics.decisions.labels(str(decision.trigger)).inc()
        return decision, replace(world, desired=decision.desired)

    async def _act(
        self, fleet: Object, state: FleetState, prepared: Prepared, seen: Observed, step: Step
    ) -> bool:
        """Carry out the step and the steering; whether something was done."""
        actor = Actor(self._context, fleet, state, prepared, seen)
        if isinstance(step, Stalled) and not isinstance(state.step, Stalled):
            self._context.events.warning(fleet, "Stalled", "Rollout", step.reason)
        first, state.step = state.step is None, step
        acted = await actor.carry_out(step)
        most = prepared.build.settings.max_connections
        for change in steer(seen.pods, most, takeover=first):
            acted = await actor.steer(change) or acted
        return acted

    def _measure(self, key: Key, status: dict[str, Any]) -> None:
        metrics = self._context.metrics
        metrics.desired.labels(*key).set(status.get("desiredReplicas") or 0)
        metrics.ready.labels(*key).set(status.get("readyReplicas") or 0)
        metrics.connections.labels(*key).set(status.get("connections") or 0)


def _restarted_before(context: Context, key: Key, state: FleetState) -> str:
    """The restart request that the fleet's present pods were made by."""
    name = names.replicaset_name(key[1], str(state.status.get("shape")))
    present = context.cache.get(REPLICASET, key[0], name)
    if present is None:
        return ""
    annotations = present["spec"]["template"]["metadata"].get("annotations") or {}
    return str(annotations.get(names.RESTARTED_AT_ANNOTATION, ""))
