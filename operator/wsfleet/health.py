"""Probes over HTTP: whether this process should be restarted, and whether it can do its part."""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable

from aiohttp import web

READY_PATH = "/readyz"


class HealthServer:
    """Answers at an address such as `http://0.0.0.0:8081/healthz`, and beside it at `/readyz`.

    200, or 500 with what `ails` or `unready` say.
    """

    def __init__(self, address: str, ails: Callable[[], str], unready: Callable[[], str]) -> None:
        parts = urllib.parse.urlsplit(address)
        self._host, self._port = parts.hostname, parts.port or 80
        app = web.Application()
        app.router.add_get(parts.path or "/", _answering(ails))
        if parts.path != READY_PATH:
            app.router.add_get(READY_PATH, _answering(unready))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Raises OSError where the address can't be had."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()


def _answering(problem_of: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        problem = problem_of()
        if problem:
            return web.json_response({"problem": problem}, status=500)
        return web.json_response({"problem": None})

    return answer
