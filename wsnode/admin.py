"""The admin port: probes, metrics, status, and the verbs that drain and shed.

Never exposed by the Service that clients use. What changes something needs a token (`admin_token`).
Liveness answers whatever the load and whether NATS is there: a killed node sheds its users onto
its neighbours.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from wsnode import metrics
from wsnode.admin_token import Gate, RefusedError
from wsnode.config.quantities import split_address
from wsnode.logs import fields
from wsnode.reports import drain_report, health_report, status_report
from wsnode.view import InvalidArgumentError, NodeView, NotNowError

logger = logging.getLogger("wsnode.admin")

_MAX_BODY_BYTES = 16_384
_MAX_ID_LENGTH = 128
_LARGEST_RATE = 100_000
_LARGEST_TARGET = 1_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminServer:
    """The admin port of one node."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._runner = web.AppRunner(
            build_app(view), access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        self.port = 0

    async def start(self) -> None:
        """Listens on WS_ADMIN_ADDR; `port` is then the port in use.

        Raises:
            OSError: the address can't be bound.
        """
        await self._runner.setup()
        host, port = split_address(self._view.settings.admin_addr)
        await web.TCPSite(self._runner, host or None, port, backlog=128).start()
        self.port = self._runner.addresses[0][1]

    def listening_problem(self, error: OSError) -> str:
        """What to say of an address that can't be bound: this port's, or the clients' when this one could."""
        settings = self._view.settings
        name, address = ("WS_ADDR", settings.addr) if self.port else ("WS_ADMIN_ADDR", settings.admin_addr)
        return f"{name}={address!r}: {error.strerror or error}"

    async def stop(self) -> None:
        """Stops listening and ends open requests after at most a second."""
        await self._runner.cleanup()


def build_app(view: NodeView) -> web.Application:
    """The routes over one node."""
    app = web.Application(middlewares=[_errors_as_json], client_max_size=_MAX_BODY_BYTES)
    admin = _Admin(view)
    app.add_routes(
        [
            web.get("/livez", admin.livez),
            web.get("/readyz", admin.readyz),
            web.get("/health", admin.health),
            web.get("/metrics", admin.metrics),
            web.get("/status", admin.status),
            web.put("/drain", admin.start_drain),
            web.delete("/drain", admin.cancel_drain),
            web.put("/shed", admin.shed),
        ]
    )
    return app


class _Admin:
    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._gate = Gate(view.settings.admin_token_file)
        self._exposition = metrics.Exposition(view)

    async def livez(self, request: web.Request) -> web.Response:
        stuck = self._view.stuck_processes
        if not stuck:
            return _json({"alive": True})
        return _json({"alive": False, "stuck_processes": list(stuck)}, status=503)

    async def readyz(self, request: web.Request) -> web.Response:
        if self._view.ready:
            return _json({"ready": True})
        return _json({"ready": False, "reason": self._view.not_ready_reason}, status=503)

    async def health(self, request: web.Request) -> web.Response:
        report = health_report(self._view)
        return _json(report, status=200 if report["healthy"] else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._exposition.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def status(self, request: web.Request) -> web.Response:
        return _json(status_report(self._view))

    async def start_drain(self, request: web.Request) -> web.Response:
        body = await self._authorised_body(request, {"rate"})
        rate = _number(body, "rate", None, _LARGEST_RATE)
        self._view.start_drain(rate)
        logger.info("drain asked for", extra=fields(rate=rate, peer=request.remote))
        return _json({"drain": drain_report(self._view.drain)})

    async def cancel_drain(self, request: web.Request) -> web.Response:
        await self._authorised_body(request, set())
        self._view.cancel_drain()
        logger.info("end of drain asked for", extra=fields(peer=request.remote))
        return _json({"drain": drain_report(self._view.drain)})

    async def shed(self, request: web.Request) -> web.Response:
        body = await self._authorised_body(request, {"id", "target", "rate"})
        rate = _number(body, "rate", self._view.settings.drain_rate, _LARGEST_RATE)
        assert rate is not None  # there is a default
        shed = self._view.shed(_shed_id(body), _target(body), rate)
        logger.info("shed asked for", extra=fields(shed=shed.id, target=shed.target, peer=request.remote))
        return _json(
            {
                "shed": {
                    "id": shed.id,
                    "target": shed.target,
                    "remaining": shed.remaining,
                    "rate_per_second": round(shed.rate_per_second, 2),
                }
            }
        )

    async def _authorised_body(self, request: web.Request, allowed: set[str]) -> dict[str, Any]:
        """The JSON object sent, empty for no body; only after token and term were found good."""
        headers = request.headers
        self._gate.check(headers.get("X-Wsfleet-Token"), headers.get("X-Wsfleet-Term"))
        content = await request.read()
        try:
            body = orjson.loads(content) if content.strip() else {}
        except orjson.JSONDecodeError as error:
            raise _BadBodyError(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise _BadBodyError("the body must be a JSON object")
        for name in body:
            if name not in allowed:
                names = ", ".join(sorted(allowed)) or "no field at all"
                raise InvalidArgumentError(name, body[name], f"left out; known: {names}")
        return body


class _BadBodyError(Exception):
    """The body as a whole is of no use."""


def _number(body: Mapping[str, Any], name: str, default: float | None, largest: float) -> float | None:
    value = body.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 < value <= largest:
        raise InvalidArgumentError(name, value, f"a number above 0, at most {largest}")
    return float(value)


def _shed_id(body: Mapping[str, Any]) -> str:
    value = body.get("id")
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID_LENGTH or not value.isprintable():
        raise InvalidArgumentError("id", value, f"a text of 1 to {_MAX_ID_LENGTH} printable characters")
    return value


def _target(body: Mapping[str, Any]) -> int:
    value = body.get("target")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_TARGET:
        raise InvalidArgumentError("target", value, f"an integer from 0 to {_LARGEST_TARGET}")
    return value


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _error(status: int, message: str, **more: Any) -> web.Response:
    return _json({"error": message, **more}, status=status)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is `{"error": ...}`; a wrong value comes with field, value and what is allowed."""
    try:
        return await handler(request)
    except RefusedError as error:
        return _error(error.status, error.message)
    except InvalidArgumentError as error:
        return _error(400, str(error), field=error.field, value=error.value, allowed=error.allowed)
    except _BadBodyError as error:
        return _error(400, str(error))
    except NotNowError as error:
        return _error(409, str(error))
    except web.HTTPException as error:
        answer = _error(error.status, error.reason)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:
        logger.exception("an admin request failed", extra=fields(path=request.path))
        return _error(500, "the node failed to answer; its log says why")
