"""Carrying out one step that rollout or scale-in asked for.

Each is one call, or two whose order makes a stop between them harmless. A conflict means that the
world has moved on: the next look decides afresh.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from wsfleet.kube.errors import AlreadyExistsError, ConflictError, InvalidError, KubeError, NotFoundError
from wsfleet.kube.kinds import POD, REPLICASET, Object
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.ownership import check_claim
from wsfleet.reconcile.prepare import Prepared
from wsfleet.reconcile.troubles import note_trouble
from wsfleet.resources import build_replicaset, names
from wsfleet.scaling import (
    CreateSet,
    DeleteSet,
    LabelChange,
    Mark,
    Release,
    Resize,
    Shed,
    StartDrain,
    Step,
    Together,
    drain_rate,
    drain_rates,
    rates_to_tell,
)
from wsfleet.scaling.words import counted
from wsfleet.scrape import ScrapeError
from wsfleet.status import rfc3339

logger = logging.getLogger(__name__)

_VICTIM_COST = "-1000"  # any pod without the annotation costs 0: the victim goes first


class Actor:
    """Acts for one fleet in one look."""

    def __init__(
        self, context: Context, fleet: Object, state: FleetState, prepared: Prepared, seen: Observed
    ) -> None:
        self._context = context
        self._fleet = fleet
        self._namespace = fleet["metadata"]["namespace"]
        self._name = fleet["metadata"]["name"]
        self._state = state
        self._prepared = prepared
        self._seen = seen

    async def carry_out(self, step: Step) -> bool:
        """Do what a step asks for; whether something was done (and the world should be looked at again)."""
        ways: dict[type, Callable[[Any], Awaitable[bool]]] = {
            CreateSet: self._create_set,
            Resize: self._resize,
            Mark: self._mark,
            StartDrain: self._start_drain,
            Together: self._together,
            Release: self._release,
            DeleteSet: self._delete_set,
        }
        way = ways.get(type(step))
        if way is None:
            return False
        try:
            return await way(step)
        except (ConflictError, NotFoundError, AlreadyExistsError) as exc:
            # Whatever has moved comes by the watch and brings the next look.
            logger.info("%s/%s: the world has moved on: %s", self._namespace, self._name, exc)
            return False

    async def carry_out_safely(self, step: Step) -> tuple[bool, str]:
        """As `carry_out`; a refusal is given as its text, and keeps nothing else of the look from being done.

        A template that nobody could check before must not keep the serving nodes from being led. What fails
        otherwise is noted, and the same kind of step waits for its pause to be over.
        """
        troubles, name, kind = self._state.troubles, "the fleet's next step", type(step)
        if not troubles.may_try(name, kind, time.monotonic()):
            return False, ""
        try:
            done = await self.carry_out(step)
        except InvalidError as exc:
            return False, str(exc)
        except KubeError as exc:
            note_trouble(self._context, self._state, name, kind, exc)
            return False, ""
        troubles.over(name)
        return done, ""

    async def pace_drains(self) -> None:
        """Tell nodes that are being emptied their part of the budget anew, where it has become another.

        Pods that others delete or evict take part in it as soon as their deletion is seen: the node still
        accepts clients for its drain's delay then.
        """
        pods, told = self._seen.pods, self._state.drain_rates
        for uid in told.keys() - {pod.uid for pod in pods}:
            del told[uid]
        rates = drain_rates(
            pods,
            self._prepared.fleet.spec.reconnects.per_second,
            self._prepared.build.settings.drain_rate,
        )
        changed = rates_to_tell(pods, rates, told, self._prepared.build.settings.drain_rate)

        async def one(uid: str, rate: float) -> None:
            target = self._seen.targets.get(uid)
            if target is None:
                return
            try:
                await self._context.admin.drain(target, self._state.token, rate=rate)
            except ScrapeError as exc:
                self._log(f"{target.pod} could not be told to drain at {rate:.3g}/s: {exc}")
                return
            told[uid] = rate
            self._log(f"PUT /drain to {target.pod} at {rate:.3g}/s: its part of the budget is another")

        await asyncio.gather(*(one(uid, rate) for uid, rate in changed.items()))

    async def steer(self, change: LabelChange) -> bool:
        """Give or take a pod's serving label; whether it was done."""
        name = f"label of Pod/{change.pod}"
        if not self._state.troubles.may_try(name, change.serving, time.monotonic()):
            return False
        verb = "give" if change.serving else "take"
        self._log(f"{verb} the serving label of {change.pod}: {change.reason}")
        label = names.SERVING if change.serving else None
        try:
            await self._patch_pod(change.uid, change.pod, {"labels": {names.SERVING_LABEL: label}})
        except (ConflictError, NotFoundError) as exc:
            self._log(f"{change.pod} has moved on: {exc}")
        except KubeError as exc:
            note_trouble(self._context, self._state, name, change.serving, exc)
            return False
        self._state.troubles.over(name)
        return True

    async def shed(self, sheds: Sequence[Shed]) -> None:
        """Tell nodes to let some clients go. One that can't be told is seen in the next round."""

        async def one(shed: Shed) -> None:
            target = self._seen.targets.get(shed.uid)
            if target is None:
                return
            try:
                await self._context.admin.shed(
                    target, self._state.token, shed_id=shed.id, down_to=shed.target, rate=shed.rate
                )
            except ScrapeError as exc:
                self._trouble(f"{shed.pod} could not be told to let clients go: {exc}")

        if sheds:
            some = "; ".join(f"{one.pod} to {one.target:,} at {one.rate:.3g}/s" for one in sheds[:5])
            self._log(f"PUT /shed to {counted(len(sheds), 'node')}: {some}")
            await asyncio.gather(*(one(shed) for shed in sheds))

    async def _create_set(self, step: CreateSet) -> bool:
        if step.shape != self._prepared.shape:
            return False
        self._log(f"create ReplicaSet of shape {step.shape}: {step.reason}")
        wanted = build_replicaset(self._prepared.build, step.replicas)
        try:
            made = await self._context.client.create(wanted)
        except AlreadyExistsError:
            there = await self._context.client.get(REPLICASET, self._namespace, wanted["metadata"]["name"])
            check_claim(there, self._prepared)
            raise
        self._context.cache.put(REPLICASET, made)
        self._event("Rollout" if self._seen.sets else "Create", "CreatedSet", step.reason)
        return True

    async def _resize(self, step: Resize) -> bool:
        text = f"{step.set_name} from {step.before} to {step.replicas} replicas: {step.reason}"
        self._log(f"resize {text}")
        await self._context.client.scale(
            self._namespace, step.set_name, step.replicas, resource_version=step.resource_version
        )
        self._event("ScaleOut" if step.replicas > step.before else "ScaleIn", "Resized", text)
        return True

    async def _mark(self, step: Mark) -> bool:
        self._log(f"mark {step.pod} to be drained and removed: {step.reason}")
        annotations = {
            names.VICTIM_ANNOTATION: rfc3339(self._seen.now),
            names.DELETION_COST_ANNOTATION: _VICTIM_COST,
        }
        patch = {"labels": {names.SERVING_LABEL: None}, "annotations": annotations}
        await self._patch_pod(step.uid, step.pod, patch)
        self._event("Drain", "Draining", f"{step.pod} is drained and then removed: {step.reason}")
        return True

    async def _together(self, step: Together) -> bool:
        done = await asyncio.gather(*(self.carry_out(one) for one in step.steps))
        return any(done)

    async def _start_drain(self, step: StartDrain) -> bool:
        target = self._seen.targets.get(step.uid)
        if target is None:
            return False
        rate = drain_rate(
            step.uid,
            self._seen.pods,
            self._prepared.fleet.spec.reconnects.per_second,
            self._prepared.build.settings.drain_rate,
        )
        self._log(f"PUT /drain to {step.pod} at {rate:g}/s: {step.reason}")
        try:
            await self._context.admin.drain(target, self._state.token, rate=rate)
        except ScrapeError as exc:
            self._trouble(f"{step.pod} could not be told to drain: {exc}")
            return False
        self._state.drain_rates[step.uid] = rate
        return True

    async def _release(self, step: Release) -> bool:
        self._log(f"take {step.pod} back: {step.reason}")
        target = self._seen.targets.get(step.uid)
        if step.cancel_drain and target is not None:
            try:
                await self._context.admin.cancel_drain(target, self._state.token)
            except ScrapeError as exc:
                self._trouble(f"{step.pod} could not be told to serve again: {exc}")
                return False
        annotations = {names.VICTIM_ANNOTATION: None, names.DELETION_COST_ANNOTATION: None}
        patch = {"labels": {names.SERVING_LABEL: names.SERVING}, "annotations": annotations}
        await self._patch_pod(step.uid, step.pod, patch)
        self._event("Drain", "DrainCancelled", f"{step.pod} serves again: {step.reason}")
        return True

    async def _delete_set(self, step: DeleteSet) -> bool:
        self._log(f"delete ReplicaSet {step.set_name}: {step.reason}")
        # As it was looked at: empty. One that has been given replicas since has a later version.
        version = next(one.resource_version for one in self._seen.sets if one.name == step.set_name)
        await self._context.client.delete(
            REPLICASET, self._namespace, step.set_name, resource_version=version
        )
        return True

    async def _patch_pod(self, uid: str, pod: str, metadata: Object) -> None:
        # With the uid the patch meets this pod or none: a name can come back.
        patch = {"metadata": {"uid": uid, **metadata}}
        written = await self._context.client.merge_patch(POD, self._namespace, pod, patch)
        self._context.cache.put(POD, written)

    def _trouble(self, text: str) -> None:
        # A changed token is the likeliest cause that mends itself: read the Secret again.
        self._state.secret_seen_at = float("-inf")
        logger.warning("%s/%s: %s", self._namespace, self._name, text)
        self._context.events.warning(self._fleet, "NodeNotReached", "Drain", text)

    def _log(self, text: str) -> None:
        logger.info("%s/%s: %s", self._namespace, self._name, text)

    def _event(self, action: str, reason: str, note: str) -> None:
        self._context.events.normal(self._fleet, reason, action, note)
