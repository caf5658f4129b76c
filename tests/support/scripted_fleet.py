"""Controllers and nodes for the scripted API server: ReplicaSets get pods, pods answer on 127.88.x.y:9102.

The nodes' gate (who may drain) is the real one; what they say of themselves is made up.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.scripted_api import Object, ScriptedApi
from wsfleet.resources import names
from wsfleet.scrape.transport import ADMIN_PORT
from wsnode.admin_token import Gate, RefusedError

_numbers = itertools.count(1)


@dataclass(slots=True)
class Command:
    """Something a node was told."""

    at: float
    node: str
    term: int
    status: int
    verb: str = "PUT /drain"


class ScriptedNode:
    """A pod's admin port."""

    def __init__(self, name: str, token_file: Path, heard: list[Command]) -> None:
        number = next(_numbers)
        self.name, self.address = name, f"127.88.{number // 250}.{number % 250 + 1}"
        self.draining = False
        self._gate = Gate(str(token_file))
        self._heard = heard
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/status", self._status)
        app.router.add_route("*", "/drain", self._heed)
        app.router.add_route("*", "/shed", self._heed)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, ADMIN_PORT).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def ready(self) -> bool:
        """What its readiness probe says."""
        return not self.draining

    def figures(self) -> Object:
        """What it says of itself."""
        return {
            "connections": {"current": 0 if self.draining else 100, "max": 9000},
            "drain": {"state": "drained" if self.draining else "none", "remaining": 0},
        }

    def drain(self, rate: float | None) -> None:
        """`PUT /drain`."""
        self.draining = True

    def cancel_drain(self) -> None:
        """`DELETE /drain`."""
        self.draining = False

    def shed(self, body: Object) -> None:
        """`PUT /shed`: these nodes close nobody."""

    async def _status(self, request: web.Request) -> web.Response:
        common = {
            "ready": self.ready,
            "cpu": {"percent": 10.0},
            "feed": {"connected": True, "paused": False, "seeded": True},
        }
        return web.json_response(common | self.figures())

    async def _heed(self, request: web.Request) -> web.Response:
        term = request.headers.get("X-Wsfleet-Term", "0")
        body = await request.json() if request.can_read_body else {}
        try:
            self._gate.check(request.headers.get("X-Wsfleet-Token"), term)
            status, answer = 200, "heeded"
            if request.path == "/shed":
                self.shed(body)
            elif request.method == "PUT":
                self.drain(body.get("rate"))
            else:
                self.cancel_drain()
        except RefusedError as error:
            status, answer = error.status, error.message
        verb = f"{request.method} {request.path}"
        self._heard.append(Command(time.monotonic(), self.name, int(term), status, verb))
        return web.json_response({"answer": answer}, status=status)


class ScriptedFleet:
    """Plays the ReplicaSet controller and the kubelets for one namespace, until cancelled."""

    def __init__(self, folder: Path) -> None:
        self.api = ScriptedApi(self._changed)
        self.commands: list[Command] = []
        self.nodes: dict[str, Any] = {}
        self.lease_writes: list[tuple[float, str, int]] = []
        """When, holder and transitions after each change of a lease; all empty once it is deleted."""
        self.token_file = folder / "tokens"

    def make_node(self, name: str) -> ScriptedNode:
        """A node that a kubelet starts."""
        return ScriptedNode(name, self.token_file, self.commands)

    def turn(self) -> None:
        """Called about twenty times a second."""

    def removed(self, node: Any) -> None:
        """A pod is gone."""

    def _changed(self, plural: str, event: str, obj: Object) -> None:
        if plural == "secrets" and event != "DELETED":
            self.token_file.write_bytes(base64.b64decode(obj["data"]["tokens"]))
        if plural == "leases":
            spec = {} if event == "DELETED" else obj.get("spec") or {}
            said = spec.get("holderIdentity") or "", int(spec.get("leaseTransitions") or 0)
            self.lease_writes.append((time.monotonic(), *said))

    async def run(self) -> None:
        try:
            while True:
                for replicaset in self.api.all("replicasets"):
                    await self._fill(replicaset)
                for pod in self.api.all("pods"):
                    self._heed_probe(pod)
                for name in self.nodes.keys() - {pod["metadata"]["name"] for pod in self.api.all("pods")}:
                    # Known until it is closed: cancelled in between, nobody else would close it.
                    await self.nodes[name].stop()
                    self.removed(self.nodes.pop(name))
                self.turn()
                await asyncio.sleep(0.05)
        finally:
            for node in self.nodes.values():
                await node.stop()

    async def _fill(self, replicaset: Object) -> None:
        metadata = replicaset["metadata"]
        namespace, wanted = metadata["namespace"], replicaset["spec"].get("replicas", 1)
        own = [one for one in self.api.all("pods") if _owner(one) == metadata["uid"]]
        for pod in sorted(own, key=_rank)[: max(0, len(own) - wanted)]:
            self.api.remove("pods", namespace, pod["metadata"]["name"])
        for _ in range(wanted - len(own)):
            await self._make_pod(replicaset)
        status = {"replicas": wanted, "observedGeneration": metadata["generation"]}
        if (replicaset.get("status") or {}) != status:
            self.api.patch("replicasets", namespace, metadata["name"], {"status": status})

    def _heed_probe(self, pod: Object) -> None:
        """A draining node is not ready."""
        metadata, node = pod["metadata"], self.nodes.get(pod["metadata"]["name"])
        ready = "True" if node is not None and node.ready else "False"
        scheduled, before = pod["status"]["conditions"]
        if before["status"] != ready:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            conditions = [scheduled, {**before, "status": ready, "lastTransitionTime": now}]
            self.api.patch(
                "pods", metadata["namespace"], metadata["name"], {"status": {"conditions": conditions}}
            )

    async def _make_pod(self, replicaset: Object) -> None:
        metadata, template = replicaset["metadata"], replicaset["spec"]["template"]
        name = f"{metadata['name']}-{next(_numbers)}"
        node = self.nodes[name] = self.make_node(name)
        await node.start()
        pod = pod_of(metadata, template["metadata"], name, node.address)
        if not node.ready:
            pod["status"]["conditions"][1]["status"] = "False"
        self.api.put("pods", pod)


def pod_of(owner: Object, template_metadata: Object, name: str, address: str) -> Object:
    """A pod that has been ready for an hour."""
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    reference = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": owner["name"],
        "uid": owner["uid"],
        "controller": True,
    }
    return {
        "metadata": {
            "name": name,
            "namespace": owner["namespace"],
            "labels": dict(template_metadata.get("labels") or {}),
            "annotations": dict(template_metadata.get("annotations") or {}),
            "ownerReferences": [reference],
            "creationTimestamp": began,
        },
        "spec": {"nodeName": "machine-1"},
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": began},
                {"type": "Ready", "status": "True", "lastTransitionTime": began},
            ],
        },
    }


def _owner(pod: Object) -> Any:
    return pod["metadata"]["ownerReferences"][0]["uid"]


def _rank(pod: Object) -> tuple[bool, int]:
    """The controller's order of deletion: not ready first, then by cost."""
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
    cost = (pod["metadata"].get("annotations") or {}).get(names.DELETION_COST_ANNOTATION, 0)
    return ready, int(cost)
