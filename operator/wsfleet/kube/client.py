"""Calls to the API server: generic, asynchronous, with errors translated at this edge.

Transport, TLS and login come from `kubernetes.aio`; requests are made by path with plain dicts,
because the operator also handles kinds for which that library has no model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from kubernetes.aio.client.api_client import ApiClient

from wsfleet.kube.errors import UnavailableError, error_for
from wsfleet.kube.kinds import REPLICASET, Kind, Object, kind_of, name_of, namespace_of
from wsfleet.kube.reading import read_json

FIELD_MANAGER = "wsfleet"
PAGE_SIZE = 500
REQUEST_SECONDS = 20.0
_CONNECT_SECONDS = 5.0
_WATCH_SILENCE_SECONDS = 90.0  # bookmarks come about once a minute; longer silence is a dead connection

_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"  # the server answers 422 to other content types for an apply

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `resource_version` is the whole list's."""

    items: list[Object]
    resource_version: str


class KubeClient:
    """One connection pool to one API server.

    Every method raises a `KubeError` when the call does not succeed, and nothing else.
    """

    def __init__(self, api: ApiClient) -> None:
        self._api: Any = api  # its methods carry no types
        api.user_agent = "wsfleet"
        self.writes = 0
        """POST, PUT, PATCH and DELETE sent since the start: what an idle operator must not do."""
        self._writing: set[asyncio.Task[Object]] = set()

    async def settle(self, seconds: float) -> None:
        """Wait for the answers to writes that are under way, also those whose caller was cancelled."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=seconds)

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self._api.configuration.host)

    async def close(self) -> None:
        await self._api.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        return await self._call("GET", kind.path(namespace, name))

    async def pages(
        self, kind: Kind, namespace: str | None = None, *, selector: str = ""
    ) -> AsyncIterator[Page]:
        """All objects of a kind in pages of 500: a whole large list at once costs both sides dear."""
        query = [("limit", str(PAGE_SIZE)), *([("labelSelector", selector)] if selector else [])]
        token = ""
        while True:
            more = [("continue", token)] if token else []
            answer = await self._call("GET", kind.path(namespace), query=[*query, *more])
            metadata = answer.get("metadata") or {}
            yield Page(answer.get("items") or [], metadata.get("resourceVersion", ""))
            token = metadata.get("continue") or ""
            if not token:
                return

    async def create(self, obj: Object) -> Object:
        path = kind_of(obj).path(namespace_of(obj))
        return await self._call("POST", path, body=obj, query=[("fieldManager", FIELD_MANAGER)])

    async def replace(self, obj: Object) -> Object:
        """PUT of a whole object over the version that `obj` names.

        Raises:
            ConflictError: it has changed since.
        """
        path = kind_of(obj).path(namespace_of(obj), name_of(obj))
        return await self._call("PUT", path, body=obj, query=[("fieldManager", FIELD_MANAGER)])

    async def apply(self, obj: Object, *, subresource: str = "") -> Object:
        """Server-side apply: our fields become what `obj` says, whoever changed them; others' stay."""
        path = kind_of(obj).path(namespace_of(obj), name_of(obj), subresource)
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._call("PATCH", path, body=obj, query=query, content_type=_APPLY)

    async def merge_patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """JSON merge patch (RFC 7396): null removes a field, lists are replaced."""
        path = kind.path(namespace, name, subresource)
        query = [("fieldManager", FIELD_MANAGER)]
        return await self._call("PATCH", path, body=patch, query=query, content_type=_MERGE)

    async def scale(self, namespace: str, name: str, replicas: int, *, resource_version: str) -> None:
        """Write a ReplicaSet's replicas, only if the ReplicaSet is still the one we looked at.

        Raises:
            ConflictError: the ReplicaSet has changed since `resource_version`.
        """
        body = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": resource_version},
            "spec": {"replicas": replicas},
        }
        path = REPLICASET.path(namespace, name, "scale")
        await self._call("PUT", path, body=body, query=[("fieldManager", FIELD_MANAGER)])

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete in the background; with `uid` only that very object, with `resource_version` only as it was.

        Raises:
            ConflictError: it is another one, or has changed.
        """
        body: Object = {"propagationPolicy": "Background"}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        if uid or resource_version:
            body["preconditions"] = {name: value for name, value in wanted.items() if value}
        await self._call("DELETE", kind.path(namespace, name), body=body)

    async def read_path(self, path: str, *, timeout: float = REQUEST_SECONDS) -> Object:
        """GET of any path that answers JSON: discovery, OpenAPI."""
        return await self._call("GET", path, timeout=timeout)

    async def proxy(
        self,
        method: str,
        namespace: str,
        pod: str,
        port: int,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Object | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> Object:
        """A request to a pod's port through the API server (`pods/proxy`), from outside the cluster."""
        address = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"
        return await self._call(method, address, body=body, headers=headers, timeout=timeout)

    async def watch(
        self, kind: Kind, namespace: str | None, *, selector: str, resource_version: str, seconds: int
    ) -> AsyncIterator[Object]:
        """Events (`type`, `object`) after `resource_version`, bookmarks included, for about `seconds`.

        The first is an OPENED of its own when the server has answered. A stream that stays silent for
        longer than bookmarks take ends: the connection may be dead, and a new one will tell.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(seconds)),
            *([("labelSelector", selector)] if selector else []),
        ]
        operation = f"watch {kind.plural}"
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=_WATCH_SILENCE_SECONDS
        )
        try:
            response = await self._send("GET", kind.path(namespace), query, None, _JSON, {}, timeout)
            async with response:
                if response.status >= 400:
                    raise error_for(operation, response.status, await response.read())
                yield {"type": "OPENED", "object": {}}
                async for line in _lines(response.content):
                    yield read_json(line)
        except aiohttp.SocketTimeoutError:
            return
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise UnavailableError(operation, 0, str(exc) or type(exc).__name__) from exc

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Object | None = None,
        content_type: str = _JSON,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> Object:
        calling = self._exchange(method, path, query, body, content_type, headers or {}, timeout)
        if method == "GET":
            return await calling
        # A write that was begun is seen to its end: cut off, nobody would know whether it still takes
        # effect, perhaps when another operator acts already.
        task = asyncio.ensure_future(calling)
        self._writing.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Object]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have gone

    async def _exchange(
        self,
        method: str,
        path: str,
        query: Query,
        body: Object | None,
        content_type: str,
        headers: Mapping[str, str],
        timeout: float,
    ) -> Object:
        operation = f"{method} {path}"
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS)
        try:
            response = await self._send(method, path, query, body, content_type, headers, limits)
            async with response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise UnavailableError(operation, 0, str(exc) or type(exc).__name__) from exc
        if response.status >= 400:
            retry_after = response.headers.get("Retry-After")
            raise error_for(operation, response.status, answer, retry_after=retry_after)
        try:
            return read_json(answer) if answer else {}
        except ValueError as exc:
            raise UnavailableError(operation, response.status, "the answer is not JSON") from exc

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: Object | None,
        content_type: str,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if method != "GET":
            self.writes += 1
        _, url, all_headers, content, _ = await self._api.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Accept": _JSON, "Content-Type": content_type, **headers},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.rest_client.request(
            method, url, headers=all_headers, body=content, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response


def guarded_request(guard: Callable[[], None]) -> type[aiohttp.ClientRequest]:
    """Requests that ask `guard` when all waiting (for a connection, for TLS) is over, as they are sent.

    Reading is free. What `guard` raises comes out of the call, and nothing is sent.
    """

    class Guarded(aiohttp.ClientRequest):
        async def send(self, conn: Connection) -> aiohttp.ClientResponse:
            if self.method != "GET":
                guard()
            return await super().send(conn)

    return Guarded


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: the stream's own `readline` gives up on an object larger than its buffer."""
    rest = bytearray()
    async for chunk in stream.iter_any():
        rest += chunk
        if b"\n" not in chunk:
            continue
        *whole, last = bytes(rest).split(b"\n")
        rest = bytearray(last)
        for line in whole:
            if line.strip():
                yield line
