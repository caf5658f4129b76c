"""An API server by script: list, watch, write and preconditions, for operators in processes of their own.

Not the real one (that is the local cluster's): it remembers who wrote what and when, can stop
answering, and holds ten thousand pods. Objects are kept as they are sent; nothing is validated.
A caller is named by the bearer token it sends.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web

from wsfleet.api.crd import build_crd

Object = dict[str, Any]

RESOURCES = {
    "/api/v1": ("pods", "services", "configmaps", "secrets", "nodes", "namespaces", "events"),
    "/apis/apps/v1": ("replicasets",),
    "/apis/policy/v1": ("poddisruptionbudgets",),
    "/apis/networking.k8s.io/v1": ("networkpolicies",),
    "/apis/events.k8s.io/v1": ("events",),
    "/apis/coordination.k8s.io/v1": ("leases",),
    "/apis/wsfleet.io/v1alpha1": ("wsfleets",),
}
_KINDS = {
    "wsfleets": "WsFleet",
    "replicasets": "ReplicaSet",
    "leases": "Lease",
    "namespaces": "Namespace",  # kopf waits for this one and the next
    "events": "Event",
}
_BOOKMARK_SECONDS = 30.0


@dataclass(slots=True)
class Write:
    """A request that changed something, or tried to."""

    at: float
    caller: str
    method: str
    path: str
    status: int


@dataclass(slots=True)
class _Kind:
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    watchers: set[asyncio.Queue[tuple[str, Object] | None]] = field(default_factory=set)


class ScriptedApi:
    """`async with ScriptedApi() as api`; `changed(plural, event, object)` is called after each change."""

    def __init__(self, changed: Callable[[str, str, Object], None] = lambda *_: None) -> None:
        self.writes: list[Write] = []
        self.away = False
        """While set nothing is answered, and watches are cut."""
        self.port = 0
        self.requests: dict[str, int] = {}
        self.refused: dict[tuple[str, str, str], int] = {}
        """By method, kind and name: the HTTP status that such a write gets, as from a webhook."""
        self._kinds: dict[str, _Kind] = {}
        self._version = 1000
        self._changed = changed
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        self.cut()
        await self._runner.cleanup()

    def kubeconfig(self, folder: Path, caller: str) -> Path:
        """A kubeconfig whose user is `caller`."""
        file = folder / f"{caller}.kubeconfig"
        file.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "x",
                    "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                    "users": [{"name": "x", "user": {"token": caller}}],
                }
            )
        )
        return file

    def cut(self) -> None:
        """End all watches."""
        for kind in self._kinds.values():
            for queue in kind.watchers:
                queue.put_nowait(None)

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        return self._of(plural).objects.get((namespace, name))

    def all(self, plural: str) -> list[Object]:
        return list(self._of(plural).objects.values())

    def put(self, plural: str, obj: Object) -> Object:
        """Create or replace, as if somebody had."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace") or "", metadata["name"])
        old = self._of(plural).objects.get(key)
        if old is not None and _content(old) == _content(obj):
            return old
        self._version += 1
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        generation = metadata.get("generation", 1)
        if old is not None and old.get("spec") != obj.get("spec"):
            generation += 1
        metadata["generation"] = generation
        metadata["resourceVersion"] = str(self._version)
        self._of(plural).objects[key] = obj
        self._tell(plural, "ADDED" if old is None else "MODIFIED", obj)
        return obj

    def patch(self, plural: str, namespace: str, name: str, patch: Object) -> Object:
        """A merge patch, as if somebody had sent it."""
        return self.put(plural, merged(self._of(plural).objects[namespace, name], patch))

    def remove(self, plural: str, namespace: str, name: str) -> None:
        obj = self._of(plural).objects.pop((namespace, name), None)
        if obj is not None:
            self._version += 1
            obj = merged(obj, {"metadata": {"resourceVersion": str(self._version)}})
            self._tell(plural, "DELETED", obj)

    def _tell(self, plural: str, event: str, obj: Object) -> None:
        for queue in self._of(plural).watchers:
            queue.put_nowait((event, obj))
        self._changed(plural, event, obj)

    def _of(self, plural: str) -> _Kind:
        return self._kinds.setdefault(plural, _Kind())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.away:
            await asyncio.sleep(3600)
        path = request.path
        if path in ("/api", "/apis", "/version") or path in RESOURCES or path.startswith("/openapi"):
            return web.json_response(_discovery(path))
        group = next((one for one in RESOURCES if path.startswith(one + "/")), None)
        if group is None:
            return _failure(404, "NotFound", f"no such path: {path}")
        parts = path[len(group) + 1 :].split("/")
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        plural, name, subresource = (*parts, "", "")[:3]
        if plural not in RESOURCES[group]:
            return _failure(404, "NotFound", f"no such kind: {plural}")
        if request.method == "GET":
            if name:
                found = self.get(plural, namespace, name)
                return web.json_response(found) if found else _failure(404, "NotFound", f"no {plural} {name}")
            if request.query.get("watch") == "true":
                return await self._watch(request, plural, namespace)
            return self._list(request, group, plural, namespace)
        body = await request.json() if request.can_read_body else {}
        caller = request.headers.get("Authorization", "").removeprefix("Bearer ")
        answer = self._write(request.method, request, plural, (namespace, name, subresource), body)
        self.writes.append(Write(time.monotonic(), caller, request.method, path, answer.status))
        return answer

    def _list(self, request: web.Request, group: str, plural: str, namespace: str) -> web.Response:
        found = sorted(self._matching(plural, namespace, request.query.get("labelSelector", "")).items())
        limit, start = int(request.query.get("limit", 0)), int(request.query.get("continue", 0) or 0)
        page = found[start : start + limit] if limit else found
        metadata = {"resourceVersion": str(self._version)}
        if start + len(page) < len(found):
            metadata["continue"] = str(start + len(page))
        version = group.removeprefix("/apis/").removeprefix("/api/")
        return web.json_response(
            {
                "kind": f"{_KINDS.get(plural, plural)}List",
                "apiVersion": version,
                "metadata": metadata,
                "items": [obj for _, obj in page],
            }
        )

    def _matching(self, plural: str, namespace: str, selector: str) -> dict[tuple[str, str], Object]:
        pairs = [part.partition("=")[::2] for part in selector.split(",") if part]
        return {
            key: obj
            for key, obj in self._of(plural).objects.items()
            if (not namespace or key[0] == namespace) and _has(obj, pairs)
        }

    async def _watch(self, request: web.Request, plural: str, namespace: str) -> web.StreamResponse:
        """Events from now on; what happened since the list is told as it is now."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        queue: asyncio.Queue[tuple[str, Object] | None] = asyncio.Queue()
        self._of(plural).watchers.add(queue)
        selector = request.query.get("labelSelector", "")
        pairs = [part.partition("=")[::2] for part in selector.split(",") if part]
        since = int(request.query.get("resourceVersion") or 0)
        missed = [
            ("MODIFIED", obj)
            for obj in self._matching(plural, namespace, selector).values()
            if int(obj["metadata"]["resourceVersion"]) > since
        ]
        try:
            await response.prepare(request)
            for event, obj in missed:
                await response.write(_line(event, obj))
            end = time.monotonic() + float(request.query.get("timeoutSeconds") or 300)
            while time.monotonic() < end:
                try:
                    told = await asyncio.wait_for(queue.get(), _BOOKMARK_SECONDS)
                except TimeoutError:
                    mark = {"metadata": {"resourceVersion": str(self._version)}}
                    told = ("BOOKMARK", {"kind": _KINDS.get(plural, plural), "apiVersion": "v1", **mark})
                if told is None:
                    break
                event, obj = told
                if event == "BOOKMARK" or (_has(obj, pairs) and _within(obj, namespace)):
                    await response.write(_line(event, obj))
        except ConnectionError:
            pass
        finally:
            self._of(plural).watchers.discard(queue)
        return response

    def _write(
        self, method: str, request: web.Request, plural: str, place: tuple[str, str, str], body: Object
    ) -> web.Response:
        namespace, name, subresource = place
        name = name or (body.get("metadata") or {}).get("name", "")
        old = self.get(plural, namespace, name)
        if refused := self.refused.get((method, plural, name)):
            return _failure(refused, "Refused", f"a webhook refuses {plural} {name}")
        if method == "POST":
            if old is not None:
                return _failure(409, "AlreadyExists", f"{plural} {name} exists")
            return web.json_response(self.put(plural, _placed(body, namespace)), status=201)
        applied = request.content_type == "application/apply-patch+yaml"
        if old is None:
            if applied and not subresource:
                return web.json_response(self.put(plural, _placed(body, namespace)), status=201)
            return _failure(404, "NotFound", f"no {plural} {name}")
        wanted = body.get("preconditions") or body.get("metadata") or {}
        for part in ("resourceVersion", "uid"):
            if wanted.get(part) and wanted[part] != old["metadata"][part]:
                return _failure(409, "Conflict", f"{part} of {plural} {name} is another")
        if method == "DELETE":
            self.remove(plural, namespace, name)
            return web.json_response({"kind": "Status", "status": "Success"})
        if subresource == "scale":
            self.put(plural, merged(old, {"spec": {"replicas": body["spec"]["replicas"]}}))
            return web.json_response(body)
        if subresource == "status":
            body = {"status": body.get("status")}
        new = _placed(body, namespace) if method == "PUT" else merged(old, body)
        if method == "PUT":
            new["metadata"] = {**old["metadata"], **new["metadata"]}
        return web.json_response(self.put(plural, new))


def merged(old: Any, patch: Any) -> Any:
    """RFC 7396, on copies."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def _content(obj: Object) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "generation")}
    return {**obj, "metadata": metadata}


def _placed(body: Object, namespace: str) -> Object:
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


def _has(obj: Object, pairs: Iterable[tuple[str, str] | Any]) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in pairs)


def _within(obj: Object, namespace: str) -> bool:
    return not namespace or obj["metadata"].get("namespace") == namespace


def _line(event: str, obj: Object) -> bytes:
    return json.dumps({"type": event, "object": obj}, separators=(",", ":")).encode() + b"\n"


def _failure(status: int, reason: str, message: str) -> web.Response:
    return web.json_response(
        {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status},
        status=status,
    )


def _discovery(path: str) -> Object:
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/version":
        return {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
    if path == "/apis":
        groups = [one.split("/")[2:] for one in RESOURCES if one != "/api/v1"]
        return {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                    "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
                }
                for group, version in groups
            ],
        }
    if path.startswith("/openapi"):
        schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        named = {**schema, "x-kubernetes-group-version-kind": [{"kind": "WsFleet"}]}
        return {"components": {"schemas": {"WsFleet": named}}}
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "groupVersion": path.removeprefix("/apis/").removeprefix("/api/"),
        "resources": [
            {
                "name": plural,
                "singularName": plural.rstrip("s"),
                "kind": _KINDS.get(plural, plural),
                "namespaced": plural not in ("nodes", "namespaces"),
                "verbs": verbs,
            }
            for plural in RESOURCES[path]
        ],
    }
