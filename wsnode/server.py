"""A node's life from the first signal handler to the exit code, in the order in which it happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from wsnode.admin import AdminServer
from wsnode.certificates import Pair, follow_certificates
from wsnode.collector import relieve_collector
from wsnode.config.sources import Loaded
from wsnode.logs import fields
from wsnode.node import Node
from wsnode.stop import DOOR_SECONDS, Stop, first_of
from wsnode.version import version
from wsnode.watch import follow

_log = logging.getLogger(__name__)


async def serve(loaded: Loaded, environ: Mapping[str, str], pair: Pair | None = None) -> int:
    """Runs a node with what was loaded until it is told to stop. Returns the process's exit code.

    `pair` is the certificate to begin with, where TLS is spoken.

    The settings file is watched on from what was loaded, so that no change is missed.

    What signals do is `stop.Stop`'s to say.
    """
    stopping = Stop(asyncio.get_running_loop())
    relieve_collector()
    node = Node(loaded.settings, loaded.file_hash, pair=pair)
    admin = AdminServer(node)
    background: list[asyncio.Task[None]] = []
    try:
        # Start: the admin port first, so that the kubelet sees a live node; then the clients'
        # port; then the feed, which may wait for its broker as long as it takes.
        try:
            await admin.start()
            node.open()
        except OSError as error:
            _log.error("cannot listen", extra=fields(error=admin.listening_problem(error)))
            return 1
        node.feed_reader.start()
        background.append(asyncio.create_task(follow(node, environ, loaded), name="settings"))
        renewing = follow_certificates(node, loaded.settings, pair)
        background.append(asyncio.create_task(renewing, name="certificates"))
        _log.info("node started", extra=fields(version=version(), port=node.port, admin_port=admin.port))
        await stopping.asked.wait()
        # Stop: let clients go, close the port, then what is behind it.
        await _drain(node, stopping)
        node.close_port()
        await asyncio.sleep(DOOR_SECONDS)
        _log.info("node stopped", extra=fields(connections=node.connections))
        return 0
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await node.feed_reader.stop()
        node.close()
        await admin.stop()
        stopping.release()


async def _drain(node: Node, stopping: Stop) -> None:
    """Drains until all are gone, the drain's own time is up, or a second signal comes."""
    node.drain_control.start(None, final=True, delay=stopping.with_delay)
    await first_of(node.drain_control.drained, stopping.at_once)
    if stopping.at_once.is_set():
        node.drain_control.cut()
