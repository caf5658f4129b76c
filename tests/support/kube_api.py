"""A small API server on 127.0.0.1 with scripted fleets, pods and nodes, for programs that ask one."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

FLEETS = "/apis/wsfleet.io/v1alpha1"
_GROUPS = {"wsfleets": "wsfleet.io"}
_VERBS = {"GET": "get", "PATCH": "patch"}
_ADDRESS = re.compile(
    r"(?:/apis/wsfleet\.io/v1alpha1|/api/v1)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>wsfleets|pods)(?:/(?P<name>[^/:]+)(?::(?P<port>\d+)/(?P<part>proxy)/status)?)?"
)


@dataclass
class KubeApi:
    """What the server has and how it answers; tests change it at will."""

    fleets: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    nodes: dict[str, Any] = field(default_factory=dict)
    """By pod the answer to GET /status: a document, a text as it stands, or a number as HTTP status."""
    silent: set[str] = field(default_factory=set)
    """Pods whose nodes never answer."""
    served: bool = True
    """Whether it knows WsFleets."""
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    """Verb and resource that the user may not: ("get", "pods/proxy"), ("list", "wsfleets")."""
    failures: list[int] = field(default_factory=list)
    """HTTP status of the next answers, one each."""
    heard: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of what was asked."""
    script: list[Callable[[], None]] = field(default_factory=list)
    """What happens at each look at a fleet, before it is answered: one of them a look."""
    port: int = 0

    def fleet(self, name: str) -> dict[str, Any]:
        """One of its fleets."""
        return next(one for one in self.fleets if one["metadata"]["name"] == name)

    def pod(self, name: str) -> dict[str, Any]:
        """One of its pods."""
        return next(one for one in self.pods if one["metadata"]["name"] == name)

    def kubeconfig(self, folder: Path, namespace: str = "games") -> Path:
        """A kubeconfig that leads to it."""
        context = {"cluster": "scripted", "user": "gero", "namespace": namespace}
        path = folder / "kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "scripted",
            "clusters": [{"name": "scripted", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "contexts": [
                {"name": "scripted", "context": context},
                {"name": "elsewhere", "context": {**context, "namespace": "arena"}},
            ],
            "users": [{"name": "gero", "user": {"token": "not-a-secret"}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.heard.append((request.method, request.path, body))
        if self.failures:
            return _status(self.failures.pop(0), "ServiceUnavailable", "etcdserver: no leader")
        match = _ADDRESS.fullmatch(request.path)
        if match is None or (match["plural"] == "wsfleets" and not self.served):
            return web.Response(status=404, text="404 page not found\n")
        if (refused := self._refused(request.method, match)) is not None:
            return refused
        if match["part"]:
            return await self._node(match["name"])
        if self.script and request.method == "GET" and match["plural"] == "wsfleets" and match["name"]:
            self.script.pop(0)()
        return self._objects(request, match, body)

    def _refused(self, method: str, match: re.Match[str]) -> web.Response | None:
        plural, namespace = match["plural"], match["namespace"]
        verb = _VERBS[method] if match["name"] else "list"
        resource = f"{plural}/{match['part']}" if match["part"] else plural
        if (verb, resource) not in self.forbidden:
            return None
        group = _GROUPS.get(plural, "")
        place = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        what = f"{plural}.{group}" if group else plural
        text = (
            f'{what} is forbidden: User "gero" cannot {verb} resource "{resource}" '
            f'in API group "{group}" {place}'
        )
        return _status(403, "Forbidden", text)

    async def _node(self, pod: str) -> web.Response:
        if pod in self.silent:
            await asyncio.sleep(60)
        answer = self.nodes.get(pod, 503)
        if isinstance(answer, int):
            return _status(answer, "ServiceUnavailable", "error trying to reach service: connection refused")
        return web.Response(text=answer if isinstance(answer, str) else json.dumps(answer))

    def _objects(self, request: web.Request, match: re.Match[str], body: Any) -> web.Response:
        plural, namespace, name = match["plural"], match["namespace"], match["name"]
        kept = self.fleets if plural == "wsfleets" else self.pods
        here = [one for one in kept if namespace in (None, one["metadata"].get("namespace"))]
        if name is None:
            key, _, value = request.query.get("labelSelector", "").partition("=")
            labelled = [one for one in here if not key or one["metadata"].get("labels", {}).get(key) == value]
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": labelled})
        found = next((one for one in here if one["metadata"]["name"] == name), None)
        if found is None:
            what = f"{plural}.{_GROUPS[plural]}" if plural in _GROUPS else plural
            return _status(404, "NotFound", f'{what} "{name}" not found')
        if request.method == "PATCH":
            assert body["metadata"]["uid"] == found["metadata"]["uid"], "patched as the object that was read"
            _merge(found, body)
        return web.json_response(found)


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7396."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value


def _status(code: int, reason: str, message: str) -> web.Response:
    document = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.json_response(document, status=code)


@contextmanager
def kube_api() -> Iterator[KubeApi]:
    """A server that runs, in a thread of its own, until the end of the block."""
    api = KubeApi()
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", api.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.port = runner.addresses[0][1]
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
