"""How a request reaches a node's admin port: straight to its pod, or through the API server."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from wsfleet.kube.client import KubeClient, guarded_request
from wsfleet.kube.errors import KubeError, NotLeadingError
from wsfleet.kube.reading import read_json
from wsfleet.scrape.answers import AnswerError
from wsfleet.scrape.kept import KeptConnections

ADMIN_PORT = 9102
_ANSWER_BYTES = 256 * 1024
_MOST_DESCRIPTORS = 65_536


class ScrapeError(Exception):
    """A node did not answer, or refused; the message says what happened.

    `status` is HTTP's, 0 without an answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Target:
    """A node to talk to."""

    uid: str
    namespace: str
    pod: str
    address: str


class Transport(Protocol):
    """How a request reaches a node. Raises ScrapeError for whatever goes wrong."""

    async def request(
        self,
        method: str,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
        timeout: float,
    ) -> Any: ...

    async def close(self) -> None: ...


class DirectTransport:
    """Straight to the pod's address. `guard` is asked before each change is sent, and raises to forbid it.

    Nodes are read over connections that are kept, and told by a full HTTP client.
    """

    def __init__(self, port: int = ADMIN_PORT, *, guard: Callable[[], None] = lambda: None) -> None:
        self._port = port
        self._request_class = guarded_request(guard)
        self._session: aiohttp.ClientSession | None = None
        self._kept = KeptConnections(port, _ANSWER_BYTES)

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
        try:
            if method == "GET" and not headers:
                async with asyncio.timeout(timeout):
                    whole = await self._kept.get(target.address, path)
                status, answer = whole.status, whole.body
            else:
                status, answer = await self._tell(method, target, path, headers, body, timeout)
        except (aiohttp.ClientError, AnswerError, TimeoutError, OSError) as exc:
            raise ScrapeError(str(exc) or f"no answer within {timeout:g} s") from exc
        if status != 200:
            text = answer[:200].decode("utf-8", "replace").strip()
            raise ScrapeError(f"HTTP {status}: {text}", status)
        try:
            return read_json(answer)
        except ValueError as exc:
            raise ScrapeError("the answer is not JSON") from exc

    async def _tell(
        self,
        method: str,
        target: Target,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
        timeout: float,
    ) -> tuple[int, bytes]:
        if self._session is None:
            # No limit over all fleets: one fleet's hanging pods must not use up another's connections.
            connector = aiohttp.TCPConnector(limit=0, limit_per_host=2, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), request_class=self._request_class
            )
        host = f"[{target.address}]" if ":" in target.address else target.address
        async with self._session.request(
            method,
            f"http://{host}:{self._port}{path}",
            headers=dict(headers),
            json=body,
            timeout=aiohttp.ClientTimeout(total=timeout),
            allow_redirects=False,
        ) as response:
            return response.status, await _read_bounded(response.content)

    async def close(self) -> None:
        self._kept.close()
        if self._session is not None:
            await self._session.close()


def raise_descriptor_limit() -> None:
    """Lift RLIMIT_NOFILE to what the process may have: each node scraped holds a connection for a while.

    The usual 1024 would run out at a thousand nodes, and take the API server's connections with it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class ProxyTransport:
    """Through the API server (`pods/proxy`): for an operator that runs outside the cluster."""

    def __init__(self, client: KubeClient, port: int = ADMIN_PORT) -> None:
        self._client = client
        self._port = port

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
        try:
            return await self._client.proxy(
                method,
                target.namespace,
                target.pod,
                self._port,
                path,
                headers=headers,
                body=dict(body) if body is not None else None,
                timeout=timeout,
            )
        except NotLeadingError:
            raise
        except KubeError as exc:
            raise ScrapeError(exc.message, exc.status) from exc

    async def close(self) -> None:
        pass  # the client is its owner's


async def _read_bounded(stream: aiohttp.StreamReader) -> bytes:
    answer = bytearray()
    async for chunk in stream.iter_any():
        answer += chunk
        if len(answer) > _ANSWER_BYTES:
            raise ScrapeError(f"the answer is longer than {_ANSWER_BYTES} bytes")
    return bytes(answer)
