"""The part of a look that leads the nodes that are there: decide, act, tell."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wsfleet.kube.kinds import Object, name_of, namespace_of
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.costs import costs_told, watch_costs
from wsfleet.reconcile.document import status_document
from wsfleet.reconcile.findings import all_findings, phase_of, with_problem, with_trouble
from wsfleet.reconcile.machines import misfit
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.pacing import count_rollout, even_out, pace, shape_now, shape_that_runs
from wsfleet.reconcile.prepare import Prepared, Problem
from wsfleet.reconcile.remarks import warn_of
from wsfleet.reconcile.steps import Actor
from wsfleet.reconcile.stream import stream_finding
from wsfleet.reconcile.telling import tell, warn_once
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


class Turn:
    """One look's decision, steps and words about one fleet.

    `problem` is why its spec can't be carried out; what is `prepared` is then an earlier one, or with
    `keep_shape` the present one, whose pods could not start: no pod of another shape than runs is made.
    """

    def __init__(
        self,
        context: Context,
        key: Key,
        fleet: Object,
        state: FleetState,
        prepared: Prepared,
        seen: Observed,
        problem: Problem | None = None,
        keep_shape: bool = False,
    ) -> None:
        self._context = context
        self._key = key
        self._fleet = fleet
        self._state = state
        self._prepared = prepared
        self._seen = seen
        self._problem = problem
        self._keep_shape = keep_shape

    async def run(self) -> float | None:
        """Decide, act and tell; seconds until another look is wanted, None for the next tick."""
        prepared, seen, state = self._prepared, self._seen, self._state
        watch_costs(state, prepared, seen)
        decision, world, held = self._decide()
        step = next_fleet_step(world, pace(prepared, seen, decision.desired))
        if held and isinstance(step, Idle):
            step = Wait(reason=held)
        count_rollout(self._context, self._key, prepared, world, step)
        acted, refused = await self._act(world, step, decision)
        if refused:
            self._seen = seen = replace(seen, refusals=(refused, *seen.refusals))
        findings = self._findings(decision, step)
        phase = phase_of(findings, seen, decision, is_rolling(world, prepared.rollout))
        new = status_document(
            prepared,
            seen,
            decision,
            state.history,
            findings,
            phase,
            state.status,
            state.said,
            costs_told(state, prepared),
            state.balance,
            generation=int(self._fleet["metadata"].get("generation") or 0),
            applied=state.applied,
        )
        self._measure(new)
        wait = await tell(self._context, self._fleet, state, new)
        return min(_AGAIN_SECONDS, wait or math.inf) if acted else wait

    def _decide(self) -> tuple[Decision, World, str]:
        """The size, the world as rollout and scale-in should see it, and why a rollout waits to begin."""
        prepared, seen, state = self._prepared, self._seen, self._state
        if self._keep_shape and self._problem is not None:
            shape = shape_that_runs(seen.sets) or prepared.shape
            held = f"a new shape of the nodes waits: {self._problem.message}"
        else:
            shape, held = shape_now(self._context, self._key, prepared, seen)
        world = World.of(seen.sets, seen.pods, shape, state.history.desired or 0)
        snapshot = Snapshot.of(
            seen.now, seen.pods, replicas=world.total, rolling=is_rolling(world, prepared.rollout)
        )
        fixed = state.costs.fixed_percent(prepared.build.settings.cpu_limit)
        decision, state.history = decide(prepared.scaling, snapshot, state.history, seen.now, fixed)
        if decision.changes:
            text = f"{decision.current} to {number_of_nodes(decision.desired)}: {'; '.join(decision.reasons)}"
            logger.info("%s/%s: %s", namespace_of(self._fleet), name_of(self._fleet), text)
            self._context.events.normal(self._fleet, f"Decided{decision.trigger}", "Scale", text)
            self._context.metrics.decisions.labels(str(decision.trigger)).inc()
        return decision, replace(world, desired=decision.desired), held

    async def _act(self, world: World, step: Step, decision: Decision) -> tuple[bool, str]:
        """Carry out the step and the steering; whether something was done, and what was refused."""
        prepared, seen, state = self._prepared, self._seen, self._state
        actor = Actor(self._context, self._fleet, state, prepared, seen)
        if isinstance(step, Stalled) and not isinstance(state.step, Stalled):
            self._context.events.warning(self._fleet, "Stalled", "Rollout", step.reason)
        first = state.step is None
        acted, refused = await actor.carry_out_safely(step)
        await actor.pace_drains()
        balance, state.balance = even_out(prepared, seen, state.balance, world, step, decision)
        if balance.event:
            logger.info("%s/%s: %s", *self._key, balance.event)
            self._context.events.normal(self._fleet, "Rebalance", "Rebalance", balance.event)
        await actor.shed(balance.sheds)
        most, tolerance = prepared.build.settings.max_connections, prepared.rebalance.tolerance
        decided = {
            getattr(one, "uid", None) for one in (step.steps if isinstance(step, Together) else (step,))
        }
        for change in steer(seen.pods, most, tolerance, takeover=first, receivers=balance.receivers):
            if change.uid not in decided:  # the step has just decided on that one's label
                acted = await actor.steer(change) or acted
        state.step = step  # only now: a look that fails before this is the first one still
        return acted, refused

    def _findings(self, decision: Decision, step: Step) -> Sequence[Finding]:
        """The fleet's conditions, with what the nodes say of the stream and the machines of their size."""
        prepared, seen, state = self._prepared, self._seen, self._state
        spoke = {pod.uid: pod.shape for pod in seen.active if pod.uid in seen.recent}
        new = [pod.name for pod in seen.active if spoke.get(pod.uid) == prepared.shape]
        stream = stream_finding(
            prepared.build.settings,
            [seen.recent[uid] for uid, shape in spoke.items() if shape == prepared.shape],
            [seen.recent[uid] for uid, shape in spoke.items() if shape != prepared.shape],
            state.status,
            f"-n {self._fleet['metadata']['namespace']} {min(new)}" if new else "",
        )
        no_room = ""
        if len(seen.ready) < decision.desired:
            no_room = misfit(prepared.template, self._context.cache.machines())
        findings = all_findings(seen, decision, step, state.status, stream, no_room)
        if state.troubles.text:
            findings = with_trouble(findings, state.troubles.text)
        if self._problem is not None:
            findings = with_problem(findings, self._problem.reason, self._problem.message)
            warn_once(self._context, self._fleet, state, self._problem.reason, self._problem.message)
        warn_of(self._context, self._fleet, state, findings)
        return findings

    def _measure(self, status: dict[str, Any]) -> None:
        metrics = self._context.metrics
        metrics.desired.labels(*self._key).set(status.get("desiredReplicas") or 0)
        metrics.ready.labels(*self._key).set(status.get("readyReplicas") or 0)
        metrics.connections.labels(*self._key).set(status.get("connections") or 0)
