"""The life of a node of several processes, as its parent leads it: `server.serve`, with workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from wsnode.admin import AdminServer
from wsnode.certificates import Pair, follow_certificates
from wsnode.config.sources import Loaded
from wsnode.logs import fields
from wsnode.processes.supervisor import Supervisor
from wsnode.processes.whole import WholeNode
from wsnode.stop import Stop, first_of
from wsnode.version import version
from wsnode.watch import follow

_log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 5.0
"""After a drain's own end: a worker that can't say that it is done must not keep the node."""


async def serve(loaded: Loaded, environ: Mapping[str, str], workers: int, pair: Pair | None = None) -> int:
    """Runs a node of so many workers until it is told to stop. Returns the process's exit code.

    `pair` is the certificate to begin with, where TLS is spoken.
    """
    stopping = Stop(asyncio.get_running_loop())
    supervisor = Supervisor(loaded.settings, loaded.file_hash, workers, pair)
    node = WholeNode(supervisor)
    admin = AdminServer(node)
    background: list[asyncio.Task[None]] = []
    try:
        try:
            await admin.start()
            supervisor.reserve_port()
        except OSError as error:
            _log.error("cannot listen", extra=fields(error=admin.listening_problem(error)))
            return 1
        node.start()
        supervisor.start()
        background.append(asyncio.create_task(follow(node, environ, loaded), name="settings"))
        renewing = follow_certificates(node, loaded.settings, pair)
        background.append(asyncio.create_task(renewing, name="certificates"))
        background.append(asyncio.create_task(_tell_when_up(supervisor, admin), name="up"))
        await first_of(stopping.asked, supervisor.failed)
        if supervisor.failed.is_set() and not stopping.asked.is_set():
            _log.error("no process can serve")
            return 1
        await _drain(node, stopping)
        _log.info("node stopped", extra=fields(connections=node.connections))
        return 0
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await supervisor.stop()
        node.stop()
        await admin.stop()
        supervisor.close()
        stopping.release()


async def _tell_when_up(supervisor: Supervisor, admin: AdminServer) -> None:
    await supervisor.up.wait()
    _log.info(
        "node started",
        extra=fields(
            version=version(),
            port=supervisor.port,
            admin_port=admin.port,
            processes=len(supervisor.children),
        ),
    )


async def _drain(node: WholeNode, stopping: Stop) -> None:
    """Drains until all are gone, the drain's own time is up, or a second signal comes."""
    letting_go = node.letting_go
    letting_go.start(None, final=True, delay=stopping.with_delay)
    settings = node.settings
    too_late = asyncio.Event()
    patience = settings.drain_timeout + settings.close_timeout + _PATIENCE_SECONDS
    timer = asyncio.get_running_loop().call_later(patience, too_late.set)
    await first_of(letting_go.drained, stopping.at_once, too_late)
    timer.cancel()
    if not letting_go.drained.is_set():
        letting_go.cut()
