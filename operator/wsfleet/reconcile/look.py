"""The order of one look at a fleet. Idempotent and level-triggered; see the package."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from wsfleet.kube.errors import InvalidError, NotFoundError
from wsfleet.kube.kinds import WSFLEET, Object, name_of, namespace_of
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.costs import costs_in_force, costs_told, watch_costs
from wsfleet.reconcile.document import status_document
from wsfleet.reconcile.findings import all_findings, phase_of
from wsfleet.reconcile.machines import misfit
from wsfleet.reconcile.objects import (
    ensure_objects,
    ensure_template,
    ensure_token,
    is_new,
    missing_secret,
    recheck_token,
)
from wsfleet.reconcile.observe import Observed, observe
from wsfleet.reconcile.ownership import LeftoverError, NameTakenError, adopt, check_names
from wsfleet.reconcile.pacing import count_rollout, even_out, pace, restarted_before, shape_now
from wsfleet.reconcile.prepare import Prepared, Problem, fingerprint, image_of, prepare
from wsfleet.reconcile.remarks import remark, warn_of
from wsfleet.reconcile.settings import hurry_kubelets
from wsfleet.reconcile.steps import Actor
from wsfleet.reconcile.stream import stream_finding
from wsfleet.reconcile.telling import tell, tell_problem
from wsfleet.scaling import (
    Decision,
    Idle,
    Snapshot,
    Stalled,
    Step,
    Together,
    Wait,
    World,
    decide,
    is_rolling,
    next_fleet_step,
    steer,
)
from wsfleet.scaling.words import number_of_nodes
from wsfleet.status import Finding

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.5  # after something was done, to see what came of it
_OBSTACLE_SECONDS = 15.0  # until a name that is somebody else's is looked at again
_LEFTOVER_SECONDS = 60.0  # that an earlier fleet's objects may take to go before it is said
_LEFTOVER_PAUSE_SECONDS = 1.0


class Look:
    """One look at one fleet; `vanished` is told where the fleet turns out to be gone."""

    def __init__(
        self,
        context: Context,
        key: Key,
        fleet: Object,
        state: FleetState,
        vanished: Callable[[Key], None],
    ) -> None:
        self._context = context
        self._key = key
        self._fleet = fleet
        self._state = state
        self._vanished = vanished

    async def run(self) -> float | None:
        """Look and act; seconds until another look is wanted, None for the next tick.

        Objects of somebody else stop it: that is told, and looked at again after a pause.
        """
        state, now = self._state, time.monotonic()
        generation = self._fleet["metadata"].get("generation")
        if state.obstacle is not None and state.obstacle_until > now and state.obstacle_for == generation:
            return await self._tell_problem(state.obstacle)
        try:
            wait = await self._look()
        except NameTakenError as exc:
            state.obstacle = Problem("NameTaken", str(exc))
        except LeftoverError as exc:
            state.leftovers_since = state.leftovers_since or now
            if now - state.leftovers_since < _LEFTOVER_SECONDS:
                return _LEFTOVER_PAUSE_SECONDS  # the garbage collector needs a moment
            state.obstacle = Problem("NameTaken", str(exc))
        else:
            state.obstacle = state.leftovers_since = None
            return wait
        state.obstacle_until, state.obstacle_for = now + _OBSTACLE_SECONDS, generation
        return await self._tell_problem(state.obstacle)

    async def _tell_problem(self, problem: Problem) -> float | None:
        self._context.rolling.discard(self._key)  # others may roll: nothing moves here
        seen = await observe(self._context, self._key, self._state)
        return await tell_problem(self._context, self._fleet, self._state, seen, problem)

    async def _look(self) -> float | None:
        prepared = self._prepare()
        if isinstance(prepared, Problem):
            return await self._tell_problem(prepared)
        if is_new(self._context, prepared):
            if not await self._is_there():
                logger.info("%s/%s: gone, and nobody told", *self._key)
                self._vanished(self._key)
                return None
            await check_names(self._context, prepared)
            await adopt(self._context, prepared)
        await ensure_token(self._context, self._state, prepared)
        await ensure_objects(self._context, prepared)
        problem = await missing_secret(self._context, self._state, prepared)
        seen = await observe(self._context, self._key, self._state)
        if problem is not None:
            return await tell_problem(self._context, self._fleet, self._state, seen, problem)
        recheck_token(self._state, seen)
        await ensure_template(self._context, self._state, prepared)
        await hurry_kubelets(self._context, self._key, seen, prepared.settings_hash)
        watch_costs(self._state, prepared, seen)
        decision, world, held = self._decide(prepared, seen)
        step = next_fleet_step(world, pace(prepared, seen, decision.desired))
        if held and isinstance(step, Idle):
            step = Wait(reason=held)
        count_rollout(self._context, self._key, prepared, world, step)
        acted, refused = await self._act(prepared, seen, world, step)
        if refused:
            seen = replace(seen, refusals=(refused, *seen.refusals))
        findings = self._findings(prepared, seen, decision, step)
        warn_of(self._context, self._fleet, self._state, findings)
        phase = phase_of(findings, seen, decision, is_rolling(world, prepared.rollout))
        state = self._state
        costs = costs_told(state, prepared)
        new = status_document(
            prepared,
            seen,
            decision,
            state.history,
            findings,
            phase,
            state.status,
            state.said,
            costs,
            state.balance,
        )
        self._measure(new)
        wait = await tell(self._context, self._fleet, self._state, new)
        return min(_AGAIN_SECONDS, wait or math.inf) if acted else wait

    def _findings(self, prepared: Prepared, seen: Observed, decision: Decision, step: Step) -> list[Finding]:
        """The fleet's conditions, with what the nodes say of the stream and the machines of their size."""
        spoke = {pod.uid: pod.shape for pod in seen.active if pod.uid in seen.recent}
        new = [pod.name for pod in seen.active if spoke.get(pod.uid) == prepared.shape]
        stream = stream_finding(
            prepared.build.settings,
            [seen.recent[uid] for uid, shape in spoke.items() if shape == prepared.shape],
            [seen.recent[uid] for uid, shape in spoke.items() if shape != prepared.shape],
            self._state.status,
            f"-n {self._fleet['metadata']['namespace']} {min(new)}" if new else "",
        )
        no_room = ""
        if len(seen.ready) < decision.desired:
            no_room = misfit(prepared.template, self._context.cache.machines())
        return all_findings(seen, decision, step, self._state.status, stream, no_room)

    async def _is_there(self) -> bool:
        """Whether the fleet is still in the API server: a watch that was cut may miss a deletion.

        What would be made for a fleet that is gone, the garbage collector would take away, for ever.
        """
        metadata = self._fleet["metadata"]
        try:
            found = await self._context.client.get(WSFLEET, metadata["namespace"], metadata["name"])
        except NotFoundError:
            return False
        return bool(
            found["metadata"]["uid"] == metadata["uid"] and not found["metadata"].get("deletionTimestamp")
        )

    def _prepare(self) -> Prepared | Problem:
        """What should be there; made anew only when the wish changed."""
        restarted = restarted_before(self._context, self._key, self._state)
        fleet = {**self._fleet, "status": self._state.status}
        image = image_of(fleet, self._context.options.node_image, restarted)
        costs = costs_in_force(self._fleet, self._state.costs_applied)
        mark = fingerprint(self._fleet, image, costs)
        if self._state.prepared is None or self._state.prepared_for != mark:
            options = self._context.options
            self._state.prepared = prepare(
                self._fleet,
                image,
                options.operator_namespace,
                self._context.optional_kinds,
                admin_peers=options.admin_peers,
                costs=costs,
            )
            self._state.prepared_for = mark
            remark(self._context, self._fleet, self._state)
        return self._state.prepared

    def _decide(self, prepared: Prepared, seen: Observed) -> tuple[Decision, World, str]:
        """The size, the world as rollout and scale-in should see it, and why a rollout waits to begin."""
        shape, held = shape_now(self._context, self._key, prepared, seen)
        world = World.of(seen.sets, seen.pods, shape, self._state.history.desired or 0)
        snapshot = Snapshot.of(
            seen.now, seen.pods, replicas=world.total, rolling=is_rolling(world, prepared.rollout)
        )
        fixed = self._state.costs.fixed_percent(prepared.build.settings.cpu_limit)
        decision, self._state.history = decide(
            prepared.scaling, snapshot, self._state.history, seen.now, fixed
        )
        if decision.changes:
            text = f"{decision.current} to {number_of_nodes(decision.desired)}: {'; '.join(decision.reasons)}"
            logger.info("%s/%s: %s", namespace_of(self._fleet), name_of(self._fleet), text)
            self._context.events.normal(self._fleet, f"Decided{decision.trigger}", "Scale", text)
            self._context.metrics.decisions.labels(str(decision.trigger)).inc()
        return decision, replace(world, desired=decision.desired), held

    async def _act(self, prepared: Prepared, seen: Observed, world: World, step: Step) -> tuple[bool, str]:
        """Carry out the step and the steering; whether something was done, and what was refused."""
        actor = Actor(self._context, self._fleet, self._state, prepared, seen)
        if isinstance(step, Stalled) and not isinstance(self._state.step, Stalled):
            self._context.events.warning(self._fleet, "Stalled", "Rollout", step.reason)
        first = self._state.step is None
        refused = ""
        try:
            acted = await actor.carry_out(step)
        except InvalidError as exc:
            # A template that nobody could check before must not keep the serving nodes from being led.
            acted, refused = False, str(exc)
        most = prepared.build.settings.max_connections
        balance, self._state.balance = even_out(prepared, seen, self._state.balance, world, step)
        if balance.event:
            logger.info("%s/%s: %s", *self._key, balance.event)
            self._context.events.normal(self._fleet, "Rebalance", "Rebalance", balance.event)
        await actor.shed(balance.sheds)
        tolerance = prepared.rebalance.tolerance
        decided = {
            getattr(one, "uid", None) for one in (step.steps if isinstance(step, Together) else (step,))
        }
        for change in steer(seen.pods, most, tolerance, takeover=first, receivers=balance.receivers):
            if change.uid not in decided:  # the step has just decided on that one's label
                acted = await actor.steer(change) or acted
        self._state.step = step  # only now: a look that fails before this is the first one still
        return acted, refused

    def _measure(self, status: dict[str, Any]) -> None:
        metrics = self._context.metrics
        metrics.desired.labels(*self._key).set(status.get("desiredReplicas") or 0)
        metrics.ready.labels(*self._key).set(status.get("readyReplicas") or 0)
        metrics.connections.labels(*self._key).set(status.get("connections") or 0)
