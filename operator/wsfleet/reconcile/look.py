"""The order of one look at a fleet. Idempotent and level-triggered; see the package."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from wsfleet.kube.errors import NotFoundError
from wsfleet.kube.kinds import WSFLEET, Object
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.applied import AppliedSpec
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.costs import costs_in_force
from wsfleet.reconcile.mounted import ensure_token, missing_secret, recheck_token
from wsfleet.reconcile.objects import ensure_objects, ensure_template, is_new
from wsfleet.reconcile.observe import observe
from wsfleet.reconcile.ownership import (
    LeftoverError,
    NameTakenError,
    adopt,
    check_names,
    has_leftovers,
)
from wsfleet.reconcile.pacing import restarted_before
from wsfleet.reconcile.prepare import Prepared, Problem, fingerprint, image_of, prepare
from wsfleet.reconcile.remarks import remark
from wsfleet.reconcile.settings import hurry_kubelets
from wsfleet.reconcile.telling import tell_problem
from wsfleet.reconcile.turn import Turn

logger = logging.getLogger(__name__)

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

        Objects of somebody else are told and looked at again after a pause; the nodes that run are led on.
        """
        state, now = self._state, time.monotonic()
        state.troubles.unanswered = False
        generation = self._fleet["metadata"].get("generation")
        if state.obstacle is not None and state.obstacle_until > now and state.obstacle_for == generation:
            return await self._look_past(state.obstacle)
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
        return await self._look_past(state.obstacle)

    async def _look_past(self, obstacle: Problem) -> float | None:
        """A look that leaves the fleet's objects alone; what it meets of others' the next full one tells."""
        try:
            return await self._look(obstacle)
        except (NameTakenError, LeftoverError) as exc:
            logger.info("%s/%s: %s", *self._key, exc)
            return None

    async def _look(self, obstacle: Problem | None = None) -> float | None:
        """`obstacle` is why the fleet's objects are left alone for now."""
        prepared, problem, applied = await self._standing()
        problem = obstacle or problem
        if prepared is not None and obstacle is None:
            if is_new(self._context, self._state, prepared):
                if not await self._is_there():
                    logger.info("%s/%s: gone, and nobody told", *self._key)
                    self._vanished(self._key)
                    return None
                await check_names(self._context, prepared)
                await adopt(self._context, prepared)
            await ensure_token(self._context, self._state, prepared)
            await ensure_objects(self._context, self._state, prepared)
        seen = await observe(self._context, self._key, self._state)
        # Of a spec that can't be carried out nothing is begun: without pods there is nothing to lead.
        runs = bool(seen.sets if applied else seen.active)
        if obstacle is not None and has_leftovers(self._context, self._key, self._state.uid):
            runs = False  # those are an earlier fleet's, and on their way out
        if problem is not None and (prepared is None or not runs):
            self._context.rolling.discard(self._key)  # others may roll: nothing moves here
            if runs and obstacle is None:
                problem = _with(problem, "what the nodes went by before is not known, so nothing is changed")
            return await tell_problem(self._context, self._fleet, self._state, seen, problem)
        assert prepared is not None  # or there was a problem
        if problem is not None:
            problem = _with(problem, self._what_is_in_force(prepared, applied))
        if obstacle is None:
            recheck_token(self._state, seen)
            await ensure_template(self._context, self._state, prepared)
            await hurry_kubelets(self._context, self._key, self._state, seen, prepared.settings_hash)
        keep_shape = problem is not None and not applied
        return await Turn(
            self._context, self._key, self._fleet, self._state, prepared, seen, problem, keep_shape
        ).run()

    async def _standing(self) -> tuple[Prepared | None, Problem | None, bool]:
        """What to go by, why that is not the present spec, and whether it was carried out before.

        Where no more than a Secret is missing it is the present one, if it changes no pod's shape, or nobody
        knows of another.
        """
        state, wanted = self._state, self._prepare()
        problem = wanted if isinstance(wanted, Problem) else None
        if isinstance(wanted, Prepared):
            problem = await missing_secret(self._context, state, wanted)
            if problem is None:
                state.applied, state.kept = AppliedSpec.of(self._fleet), None
                return wanted, None, True
        kept = self._kept()
        if kept is not None and isinstance(wanted, Prepared) and kept.shape == wanted.shape:
            state.applied = AppliedSpec.of(self._fleet)  # the pods are the same: those that run can follow
            return wanted, problem, True
        if kept is not None:
            return kept, problem, True
        return (wanted if isinstance(wanted, Prepared) else None), problem, False

    def _what_is_in_force(self, prepared: Prepared, applied: bool) -> str:
        generation = int(self._fleet["metadata"].get("generation") or 0)
        if not applied:
            return "the nodes that run are led on, and none of a new shape is made"
        if prepared.generation == generation:
            return "the nodes that run are led on"
        return (
            f"generation {generation} of the spec is not applied: the nodes go by generation "
            f"{prepared.generation}"
        )

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
        state = self._state
        made, mark = self._made_of(self._fleet, state.prepared, state.prepared_for)
        if made is not state.prepared:
            state.prepared, state.prepared_for = made, mark
            remark(self._context, self._fleet, state)
        return made

    def _kept(self) -> Prepared | None:
        """What should be there by the last spec that was carried out; None where that is not known."""
        state = self._state
        if state.applied is None:
            return None
        state.kept, state.kept_for = self._made_of(
            state.applied.fleet(self._fleet), state.kept, state.kept_for
        )
        return state.kept if isinstance(state.kept, Prepared) else None

    def _made_of(
        self, fleet: Object, before: Prepared | Problem | None, before_for: object
    ) -> tuple[Prepared | Problem, object]:
        """What a fleet's document gives, and its mark; `before` is kept while that is the same."""
        options = self._context.options
        restarted = restarted_before(self._context, self._key, self._state)
        image = image_of({**fleet, "status": self._state.status}, options.node_image, restarted)
        costs = costs_in_force(fleet, self._state.costs_applied)
        mark = fingerprint(fleet, image, costs)
        if before is not None and before_for == mark:
            return before, mark
        made = prepare(
            fleet,
            image,
            options.operator_namespace,
            self._context.optional_kinds,
            admin_peers=options.admin_peers,
            costs=costs,
        )
        return made, mark


def _with(problem: Problem, more: str) -> Problem:
    return Problem(problem.reason, f"{problem.message}; {more}")
