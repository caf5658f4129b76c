"""What the cluster holds of all fleets: reflectors of pods, ReplicaSets and the small owned objects.

Secrets are not among them: the operator may not list or watch Secrets.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from wsfleet.kube.client import KubeClient
from wsfleet.kube.errors import ForbiddenError, KubeError
from wsfleet.kube.kinds import (
    CONFIGMAP,
    NETWORKPOLICY,
    NODE,
    PDB,
    POD,
    REPLICASET,
    SERVICE,
    Kind,
    Object,
    namespace_of,
)
from wsfleet.kube.reflector import Key, Reflector
from wsfleet.kube.trim import trim_metadata, trim_node, trim_pod

logger = logging.getLogger(__name__)

MANAGED = "app.kubernetes.io/managed-by=wsfleet"
FLEET_LABEL = "wsfleet.io/fleet"
STUCK_SECONDS = 180.0

_WATCHED = (POD, REPLICASET, SERVICE, CONFIGMAP, PDB, NETWORKPOLICY)
MOST_WATCHES = len(_WATCHED) + 3
"""Of one namespace: the kinds that every fleet has, two of others, and the machines."""


class Cache:
    """Current copies of what fleets own. `changed` is told the fleet (namespace, name) of each change."""

    def __init__(
        self,
        client: KubeClient,
        namespaces: Sequence[str],
        changed: Callable[[Key], None],
        *,
        extra: Sequence[Kind] = (),
    ) -> None:
        self._client = client
        self._changed = changed
        self._kinds = (*_WATCHED, *extra)
        scopes: Sequence[str | None] = namespaces or (None,)
        self._reflectors = {
            (kind, scope): self._reflector(kind, scope) for kind in self._kinds for scope in scopes
        }
        self._scopes = frozenset(scopes)
        self._machines: Reflector | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to watch, and return when every first list is complete or refused.

        One namespace whose Role is missing must not keep the fleets of the others waiting.
        """
        self._machines = await self._machine_reflector()
        everything = [*self._reflectors.values(), *([self._machines] if self._machines else [])]
        for reflector in everything:
            name = f"reflect {reflector.kind.plural}"
            self._tasks.append(asyncio.create_task(reflector.run(), name=name))
        for reflector in everything:
            await reflector.tried.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def sees_machines(self) -> bool:
        """Whether Kubernetes nodes may be read (not in an install for single namespaces)."""
        return self._machines is not None

    def pods(self, fleet: Key) -> list[Object]:
        return self._of(POD, fleet[0]).indexed(fleet)

    def replicasets(self, fleet: Key) -> list[Object]:
        return self._of(REPLICASET, fleet[0]).indexed(fleet)

    def every(self, kind: Kind) -> list[Object]:
        """The objects of a watched kind, of all fleets."""
        scopes = [reflector for (one, _), reflector in self._reflectors.items() if one == kind]
        return [obj for reflector in scopes for obj in reflector.all()]

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An owned object as last seen; None also for kinds that are not watched."""
        if kind not in self._kinds:
            return None
        return self._of(kind, namespace).get(namespace, name)

    def put(self, kind: Kind, obj: Object) -> None:
        """Take over an object that a write returned."""
        if kind in self._kinds:
            self._of(kind, namespace_of(obj)).put(obj)

    def knows(self, kind: Kind, namespace: str) -> bool:
        """Whether a kind is watched here and, as far as is known, served."""
        if kind not in self._kinds:
            return False
        reflector = self._of(kind, namespace)
        return reflector.synced.is_set() and not reflector.refused

    def machines(self) -> list[Object]:
        """All Kubernetes nodes, as far as they may be read."""
        return list(self._machines.all()) if self._machines else []

    def machine(self, name: str) -> Object | None:
        """A Kubernetes node, None where it is gone or may not be read."""
        return self._machines.get("", name) if self._machines else None

    def stuck(self) -> list[str]:
        """Kinds whose watch makes no turns any more: the process should be restarted."""
        every = {
            f"{kind.plural} in {scope or 'all namespaces'}": one
            for (kind, scope), one in self._reflectors.items()
        }
        if self._machines is not None:
            every["nodes"] = self._machines
        return [text for text, reflector in every.items() if reflector.stuck_seconds > STUCK_SECONDS]

    def silent_seconds(self, namespace: str) -> float:
        """Seconds since the API server last spoke of pods or ReplicaSets here: the age of what we know.

        Infinite while one of the kinds that every fleet has was never listed.
        """
        if not all(self._of(kind, namespace).synced.is_set() for kind in _WATCHED):
            return math.inf
        return max(self._of(kind, namespace).silent_seconds for kind in (POD, REPLICASET))

    def _of(self, kind: Kind, namespace: str) -> Reflector:
        return self._reflectors[kind, None if None in self._scopes else namespace]

    def _reflector(self, kind: Kind, scope: str | None) -> Reflector:
        return Reflector(
            self._client,
            kind,
            scope,
            selector=MANAGED,
            trim=trim_pod if kind is POD else trim_metadata,
            index=fleet_of,
            changed=self._tell,
        )

    def _tell(self, obj: Object) -> None:
        fleet = fleet_of(obj)
        if fleet is not None:
            self._changed(fleet)

    async def _machine_reflector(self) -> Reflector | None:
        """A reflector of Kubernetes nodes, where RBAC allows it."""
        reflector = Reflector(self._client, NODE, trim=trim_node)
        try:
            async for _ in self._client.pages(NODE):
                break
        except ForbiddenError:
            logger.info("Kubernetes nodes may not be read here: cordoned machines will not be seen")
            return None
        except KubeError as exc:
            logger.warning("listing Kubernetes nodes: %s", exc)
        return reflector


def fleet_of(obj: Object) -> Key | None:
    """The fleet that an object's labels name."""
    name = (obj["metadata"].get("labels") or {}).get(FLEET_LABEL)
    return (namespace_of(obj), name) if name else None
