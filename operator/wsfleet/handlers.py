"""kopf's side: login, start, stop and the watch on WsFleets; one call each.

kopf runs only while this process leads: a standby holds no watch of it.

`on.event` only, so that kopf puts neither finalizers nor annotations on anybody's objects; no
timers and no daemons, whose state would live and die with kopf's view of an object.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import kopf

from wsfleet.api import GROUP, PLURAL, VERSION
from wsfleet.app import Operator
from wsfleet.kube.client import PAGE_SIZE

# A ServiceAccount's token lives for an hour; the file has a new one long before.
_LOGIN_SECONDS = 600


def build_registry(operator: Operator) -> kopf.OperatorRegistry:
    """The handlers of one operator."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connection_info(operator)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        await start_once(operator)

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await operator.stop()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def noticed(event: Any, **_: Any) -> None:
        operator.noticed(event["type"], event["object"])

    return registry


async def start_once(operator: Operator) -> None:
    """Start, or end the process: kopf would try again in a minute, beside what is already running.

    Raises:
        kopf.PermanentError: the start failed; all that it began is ended.
    """
    try:
        await operator.start()
    except Exception as exc:
        await operator.stop()
        raise kopf.PermanentError(f"the operator can't start: {exc}") from exc


class Backoffs:
    """Pauses between kopf's attempts at a request, without end.

    After the last one kopf ends the whole operator: for one namespace whose Role is missing, or an
    API server that is away for a minute, all other fleets would be left alone.
    """

    def __iter__(self) -> Iterator[float]:
        yield from (1, 2, 4, 8, 16)
        while True:
            yield random.uniform(20, 40)


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf's own settings: no events, no peering, no scanning (which would need rights on CRDs)."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.chunk_size = PAGE_SIZE
    settings.watching.server_timeout = 270
    settings.watching.connect_timeout = 5
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = Backoffs()
    settings.process.ultimate_exiting_timeout = 20


async def connection_info(operator: Operator) -> kopf.ConnectionInfo:
    """The same credentials as the operator's own client."""
    configuration = await operator.login.configuration()
    header = await configuration.get_api_key_with_prefix("BearerToken", "authorization") or ""
    scheme, _, token = header.rpartition(" ")
    expiration = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_LOGIN_SECONDS)
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=(scheme or "Bearer") if token else None,
        token=token or None,
        expiration=expiration,
    )


async def run(operator: Operator) -> None:
    """Stand by until this process leads, then act; until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)  # until kopf puts its own there
    try:
        await operator.stand_by()
        if await _first(operator.lead(), stop):
            await _run_kopf(operator, stop)
    finally:
        await operator.stop()


async def _first(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether `work` ended before the process was told to stop."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopping):
        task.cancel()
    await asyncio.gather(working, stopping, return_exceptions=True)
    return not stop.is_set() and not working.cancelled() and working.exception() is None


async def _run_kopf(operator: Operator, stop: asyncio.Event) -> None:
    options = operator.options
    settings = kopf.OperatorSettings()
    configure(settings)
    await kopf.operator(
        registry=build_registry(operator),
        settings=settings,
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        standalone=True,
        stop_flag=stop,
    )
