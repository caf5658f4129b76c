"""A world for one operator: scripted API server, ReplicaSets that get pods at once, nodes that answer.

A process of its own (`python -m tests.bench.operator_world FOLDER FLEETS NODES_A_FLEET`), so that its
CPU is not the operator's. Every pod has an address of its own in 127.100.0.0/15; one socket listens
for all of them, which is why the bench runs in a network namespace where it may.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import cast

import orjson
import uvloop
from aiohttp import web

from tests.support.operating import wsfleet
from tests.support.scripted_api import Object, ScriptedApi
from tests.support.scripted_fleet import pod_of
from wsfleet.scrape.transport import ADMIN_PORT

NAMESPACE = "games"
CALLER = "operator"
LEASE = "wsfleet-operator"
_BEGAN = time.monotonic()
_BALLAST = "x" * 3000  # what a real pod has in spec and managedFields, and the operator lets go


class World:
    """Holds the fleets; counts what the operator does."""

    def __init__(self) -> None:
        self.api = ScriptedApi(self._changed)
        self.made: set[str] = set()
        self.last: dict[str, float] = {}
        self.gaps: list[float] = []
        self.scrapes = 0
        self._due: list[Object] = []
        self._numbers = 0
        self._began = time.monotonic()

    def fill(self, fleets: int, nodes: int) -> None:
        self.api.put("nodes", {"metadata": {"name": "machine-1"}, "spec": {}, "status": {}})
        self.api.put("leases", {"metadata": {"name": LEASE, "namespace": NAMESPACE}})
        for number in range(fleets):
            fleet = wsfleet(f"fleet-{number}", replicas=nodes)
            fleet["metadata"]["namespace"] = NAMESPACE
            self.api.put("wsfleets", fleet)

    def _changed(self, plural: str, event: str, obj: Object) -> None:
        if plural == "replicasets" and event != "DELETED":
            self._due.append(obj)

    async def run(self) -> None:
        """The ReplicaSet controller and the kubelets."""
        while True:
            due, self._due = self._due, []
            for one in due:
                self._make_pods(one)
            await asyncio.sleep(0.05)

    def _make_pods(self, replicaset: Object) -> None:
        metadata, wanted = replicaset["metadata"], replicaset["spec"].get("replicas", 1)
        for number in range(wanted):
            name = f"{metadata['name']}-{number:05}"
            if name in self.made:
                continue
            self.made.add(name)
            self._numbers += 1
            high, low = divmod(self._numbers, 250)
            address = f"127.{100 + high // 250}.{high % 250}.{low + 1}"
            template = replicaset["spec"]["template"]
            pod = pod_of(metadata, template["metadata"], name, address)
            pod["spec"] = {**template["spec"], "nodeName": "machine-1"}
            pod["metadata"]["managedFields"] = [{"manager": "kubelet", "fieldsV1": {"f": _BALLAST}}]
            self.api.put("pods", pod)
        status = {"replicas": wanted, "observedGeneration": metadata["generation"]}
        if (replicaset.get("status") or {}) != status:
            self.api.patch("replicasets", NAMESPACE, metadata["name"], {"status": status})

    def scraped(self, address: str) -> None:
        now = time.monotonic()
        self.scrapes += 1
        before = self.last.get(address)
        if before is not None:
            self.gaps.append(now - before)
        self.last[address] = now

    def report(self) -> Object:
        """Since the last report."""
        now, gaps = time.monotonic(), sorted(self.gaps)
        writes = [one for one in self.api.writes if one.caller == CALLER and "/leases/" not in one.path]
        kinds = Counter(f"{one.method} {_kind(one.path)}" for one in writes)
        report = {
            "seconds": now - self._began,
            "nodes": len(self.made),
            "sampled": len(self.last),
            "scrapes": self.scrapes,
            "gap_median": gaps[len(gaps) // 2] if gaps else None,
            "gap_p99": gaps[int(len(gaps) * 0.99)] if gaps else None,
            "gap_max": gaps[-1] if gaps else None,
            "writes": len(writes),
            "kinds": dict(kinds.most_common(6)),
        }
        self.gaps, self.scrapes, self._began = [], 0, now
        self.api.writes.clear()
        return report


def _kind(path: str) -> str:
    """wsfleets/status of /apis/wsfleet.io/v1alpha1/namespaces/games/wsfleets/fleet-1/status."""
    plural, _, *subresource = (*path.partition("/namespaces/games/")[2].split("/"), "")[:3]
    return "/".join([plural, *filter(None, subresource)])


class Admin(asyncio.Protocol):
    """An admin port: GET /status, with figures that move a little."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's class
        self._address = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._count += 1
        self._world.scraped(self._address)
        connections = 4000 + sum(self._address.encode()) + self._count % 7
        body = orjson.dumps(status(connections, 20.0 + self._count % 3, time.monotonic() - _BEGAN))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def status(connections: int, cpu_percent: float, seconds: float) -> Object:
    """As a node says it that has run for so many seconds, and some before."""
    deliveries = 2 * connections * seconds * random.uniform(0.99, 1.01)
    return {
        "node": "fleet-1-abc",
        "version": "0.1.0",
        "uptime_seconds": 5000.5 + seconds,
        "ready": True,
        "not_ready_reason": None,
        "connections": {"current": connections, "max": 9000},
        "cpu": {"percent": cpu_percent, "limit_cores": 1.8},
        "memory": {"bytes": 400_000_000, "limit_bytes": 1_800_000_000},
        "goroutines": {"current": 12, "limit": 30000},
        "rejections": {"connections": 0, "cpu": 0, "memory": 0, "goroutines": 0, "address": 0},
        "feed": {
            "connected": True,
            "paused": False,
            "seeded": True,
            "position": 1_234_567,
            "lag": 0,
            "epoch": "abcdef",
            "problem": None,
            "trouble": None,
            "stream": None,
        },
        "drain": {"state": "none", "remaining": 0, "rate_per_second": 0.0, "seconds_left": 0},
        "settings": {"hash": None, "error": None, "values": {f"WS_SETTING_{n}": str(n) for n in range(40)}},
        "costs": {
            "cpu_seconds_total": 1000.5 + 80e-6 * deliveries + 0.02 * seconds,
            "deliveries_total": 10**9 + deliveries,
            "replayed_total": 0,
            "messages_in_total": 10**6 + 12 * seconds,
            "feed_readers": 1,
            "memory_bytes_per_connection": 9000.5,
            "memory_over_connections": connections,
        },
    }


async def main(folder: Path, fleets: int, nodes: int) -> None:
    world, loop = World(), asyncio.get_running_loop()
    listener = socket.create_server(("0.0.0.0", ADMIN_PORT), backlog=4096)
    await loop.create_server(lambda: Admin(world), sock=listener)
    async with world.api as api:
        world.fill(fleets, nodes)
        app = web.Application()

        async def report(request: web.Request) -> web.Response:
            return web.json_response(world.report())

        app.router.add_get("/report", report)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        kubeconfig = api.kubeconfig(folder, CALLER)
        print(json.dumps({"kubeconfig": str(kubeconfig), "port": runner.addresses[0][1]}), flush=True)
        await world.run()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
