"""One fleet and the operator's own looks at it, in the test's process: scripted API server, scripted nodes.

No worker and no clock: a look is asked for, and what it did is there to be seen when it is over.
"""

from __future__ import annotations

import asyncio
import copy
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.fleets import fleet_document
from tests.support.scripted_api import Object, ScriptedApi
from tests.support.scripted_fleet import pod_of
from wsfleet.kube.apply import Applier
from wsfleet.kube.cache import Cache
from wsfleet.kube.client import KubeClient
from wsfleet.kube.events import EventRecorder
from wsfleet.kube.kinds import POD, REPLICASET, Kind
from wsfleet.kube.login import Login
from wsfleet.metrics import Metrics
from wsfleet.options import OperatorOptions
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.fleet import FleetReconciler
from wsfleet.scrape import NodeAdmin, ScrapeError, Target

NAMESPACE, NAME = KEY = ("games", "odin")
_WAIT_SECONDS = 20.0
LATER_SECONDS = 5.0
"""Between two looks, as far as the operator knows."""


class Nodes:
    """The nodes' admin ports, as a transport: what they say, and what they were told."""

    def __init__(self) -> None:
        self.says: dict[str, dict[str, Any]] = {}
        """What nodes say of themselves, by pod, over `usual`."""
        self.usual: dict[str, Any] = {
            "ready": True,
            "uptime_seconds": 3600.0,
            "connections": {"current": 1000, "max": 10_000},
            "cpu": {"percent": 10.0},
            "feed": {"connected": True, "paused": False, "seeded": True},
            "drain": {"state": "none", "remaining": 0, "rate_per_second": 0.0},
        }
        self.silent: set[str] = set()
        self.heard: list[tuple[str, str, Any]] = []
        """Method and path, pod, body."""

    async def request(
        self,
        method: str,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
        timeout: float,
    ) -> Any:
        if target.pod in self.silent:
            raise ScrapeError("no answer")
        if method != "GET":
            self.heard.append((f"{method} {path}", target.pod, body))
            return {}
        return self.usual | self.says.get(target.pod, {})

    async def close(self) -> None:
        pass

    def told(self, what: str) -> dict[str, Any]:
        """The last body of each node that was told something, such as `PUT /drain`."""
        return {pod: body for verb, pod, body in self.heard if verb == what}


class Stage:
    """The fleet `odin` of namespace `games`."""

    def __init__(self, api: ScriptedApi, client: KubeClient) -> None:
        self.api = api
        self.client = client
        self.nodes = Nodes()
        self.options = OperatorOptions(node_image="registry.example/wsnode:1")
        self.cache = Cache(client, (NAMESPACE,), lambda key: None)
        self.context: Context
        self.reconciler: FleetReconciler
        self._pods = 0

    async def start(self) -> None:
        await self.cache.start()
        self.restart()

    def restart(self) -> None:
        """Another operator takes over: it knows what the cluster holds, and no more."""
        self.context = Context(
            client=self.client,
            cache=self.cache,
            applier=Applier(self.client),
            admin=NodeAdmin(self.nodes, timeout=1.0),
            events=EventRecorder(self.client, "stage"),
            metrics=Metrics(),
            options=self.options,
        )
        self.reconciler = FleetReconciler(self.context)
        self.reconciler.restore()

    def apply(self, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """The user applies the fleet's spec."""
        document = fleet_document(annotations=annotations, **spec)
        before = self.api.get("wsfleets", *KEY)
        if before is not None:
            document["status"] = before.get("status") or {}
            document["metadata"] = {**copy.deepcopy(before["metadata"]), "annotations": annotations or {}}
        self.api.put("wsfleets", document)

    async def look(self, times: int = 1) -> None:
        """The operator looks at the fleet; before each look it has heard of all that there is."""
        for _ in range(times):
            await self.heard_of_all()
            self.reconciler.take(copy.deepcopy(self.fleet))
            if self.state is not None:
                self.state.written_at = -math.inf  # what there is to tell is told at once
                # Nodes are asked anew: to the operator this look comes seconds after the one before.
                self.state.figures = {
                    uid: replace(figures, taken=figures.taken - LATER_SECONDS)
                    for uid, figures in self.state.figures.items()
                }
            await self.reconciler.look(KEY)

    @property
    def state(self) -> FleetState | None:
        """What the operator remembers of the fleet; None before its first look."""
        return self.reconciler._states.get(KEY)

    async def settle(self) -> None:
        """Looks, with ReplicaSets that get their pods, until a look asks for no more of them."""
        for _ in range(20):
            await self.look()
            if not self.fill():
                await self.look()
                return
        raise AssertionError("the fleet does not come to rest")

    def fill(self) -> bool:
        """The ReplicaSet controller: pods for sets that have too few; whether one was made."""
        made = False
        for replicaset in self.api.all("replicasets"):
            metadata, wanted = replicaset["metadata"], replicaset["spec"]["replicas"]
            own = [pod for pod in self.pods if _owner(pod) == metadata["uid"]]
            there = sum(1 for one in own if not one["metadata"].get("deletionTimestamp"))
            for _ in range(wanted - there):
                made = True
                self._pods += 1
                name = f"{metadata['name']}-{self._pods}"
                template = replicaset["spec"]["template"]["metadata"]
                self.api.put("pods", pod_of(metadata, template, name, f"10.0.0.{self._pods}"))
            status = {"replicas": wanted, "observedGeneration": metadata["generation"]}
            if (replicaset.get("status") or {}) != status:
                self.api.patch("replicasets", NAMESPACE, metadata["name"], {"status": status})
        return made

    async def heard_of_all(self) -> None:
        """Wait until the operator's copies are the API server's."""
        await until(
            lambda: all(self._knows(kind, one) for kind in (POD, REPLICASET) for one in self._there(kind)),
            "the operator to hear of all pods",
        )

    def _there(self, kind: Kind) -> list[Object]:
        return self.api.all(kind.plural)

    def _knows(self, kind: Kind, obj: Object) -> bool:
        held = self.cache.get(kind, NAMESPACE, obj["metadata"]["name"])
        version = obj["metadata"]["resourceVersion"]
        return held is not None and held["metadata"]["resourceVersion"] == version

    @property
    def fleet(self) -> Object:
        found = self.api.get("wsfleets", *KEY)
        assert found is not None
        return found

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.fleet.get("status") or {}
        return found

    def condition(self, type_: str) -> dict[str, Any]:
        return next((one for one in self.status.get("conditions", ()) if one["type"] == type_), {})

    @property
    def pods(self) -> list[Object]:
        return sorted(self.api.all("pods"), key=lambda one: int(one["metadata"]["name"].rpartition("-")[2]))

    @property
    def names(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.pods]

    @property
    def sizes(self) -> dict[str, int]:
        """Replicas by ReplicaSet."""
        return {one["metadata"]["name"]: one["spec"]["replicas"] for one in self.api.all("replicasets")}

    def serves(self, pod: str) -> bool:
        """Whether a pod has the label that the Service selects."""
        found = self.api.get("pods", NAMESPACE, pod)
        assert found is not None
        return "wsfleet.io/serving" in found["metadata"]["labels"]

    def delete(self, pod: str, grace_seconds: int = 330) -> None:
        """Somebody deletes or evicts a pod: it gets SIGTERM, and is there until it has ended."""
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + grace_seconds))
        marks = {"deletionTimestamp": ends, "deletionGracePeriodSeconds": grace_seconds}
        self.api.patch("pods", NAMESPACE, pod, {"metadata": marks})

    def writes(self, plural: str) -> int:
        """Writes of a kind so far, refused ones too."""
        return sum(1 for one in self.api.writes if f"/{plural}" in one.path)


def _owner(pod: Object) -> Any:
    return pod["metadata"]["ownerReferences"][0]["uid"]


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """A stage, with nothing on it yet."""
    async with ScriptedApi() as api:
        client = await Login(kubeconfig=str(api.kubeconfig(folder, "stage"))).connect(watches=10)
        stage = Stage(api, client)
        await stage.start()
        try:
            yield stage
        finally:
            await stage.cache.stop()
            await client.settle(5.0)
            await client.close()


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that comes by itself."""
    async with asyncio.timeout(_WAIT_SECONDS):
        while not holds():
            await asyncio.sleep(0.005)
    assert holds(), what
