"""Events on a WsFleet, at a bounded rate: what `kubectl describe` shows beneath the status."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
import uuid
from dataclasses import dataclass
from typing import Literal

from wsfleet.kube.client import KubeClient
from wsfleet.kube.errors import KubeError, in_going_namespace
from wsfleet.kube.kinds import Object

logger = logging.getLogger(__name__)

_BURST = 10  # events of one fleet at once
_REFILL_SECONDS = 30.0  # and then one more each
_REPEAT_SECONDS = 300.0  # the same event is not said again before
_NOTE_LENGTH = 1024  # bound of events.k8s.io/v1


@dataclass(slots=True)
class _Budget:
    tokens: float
    refilled: float


class EventRecorder:
    """Posts events in the background; one that cannot be posted is logged and forgotten.

    At most 10 at once and one each 30 s for a fleet, and the same text at most each 5 minutes.
    """

    def __init__(self, client: KubeClient, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._budgets: dict[str, _Budget] = {}
        self._said: dict[tuple[str, str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def normal(self, fleet: Object, reason: str, action: str, note: str) -> None:
        self._post(fleet, "Normal", reason, action, note)

    def warning(self, fleet: Object, reason: str, action: str, note: str) -> None:
        self._post(fleet, "Warning", reason, action, note)

    def forget(self, uid: str) -> None:
        """A fleet is gone."""
        self._budgets.pop(uid, None)
        for key in [key for key in self._said if key[0] == uid]:
            del self._said[key]

    def _post(
        self, fleet: Object, kind: Literal["Normal", "Warning"], reason: str, action: str, note: str
    ) -> None:
        uid = fleet["metadata"]["uid"]
        if not self._allowed(uid, reason, note, time.monotonic()):
            return
        event = build_event(fleet, kind, reason, action, note, self._instance, dt.datetime.now(dt.UTC))
        task = asyncio.create_task(self._send(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _allowed(self, uid: str, reason: str, note: str, now: float) -> bool:
        said = self._said.get((uid, reason, note))
        if said is not None and now - said < _REPEAT_SECONDS:
            return False
        budget = self._budgets.setdefault(uid, _Budget(_BURST, now))
        budget.tokens = min(_BURST, budget.tokens + (now - budget.refilled) / _REFILL_SECONDS)
        budget.refilled = now
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        if len(self._said) > 10_000:
            self._said.clear()  # bounded memory; the worst is a repeated event
        self._said[uid, reason, note] = now
        return True

    async def _send(self, event: Object) -> None:
        try:
            await self._client.create(event)
        except KubeError as exc:
            going = in_going_namespace(exc)
            logger.log(
                logging.DEBUG if going else logging.WARNING,
                "event %s could not be posted: %s",
                event["reason"],
                exc,
            )


def build_event(
    fleet: Object, kind: str, reason: str, action: str, note: str, instance: str, now: dt.datetime
) -> Object:
    """An events.k8s.io/v1 event about a fleet.

    No owner reference: events go by themselves after an hour, and are in the fleet's namespace.
    """
    metadata = fleet["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
            "namespace": metadata["namespace"],
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": "wsfleet.io/operator",
        "reportingInstance": instance[:128],
        "action": action,
        "reason": reason,
        "type": kind,
        "note": note[:_NOTE_LENGTH],
        "regarding": {
            "apiVersion": fleet["apiVersion"],
            "kind": fleet["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    }
