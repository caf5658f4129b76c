"""A node's life from the first signal handler to the exit code, in the order in which it happens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Mapping

from wsnode.admin import AdminServer
from wsnode.config import Settings
from wsnode.config.sources import Loaded
from wsnode.logs import fields
from wsnode.node import Node
from wsnode.version import version
from wsnode.watch import SettingsWatch

_log = logging.getLogger(__name__)
# After the last goodbye, for those that were refused at the door to read why.
_DOOR_SECONDS = 0.2
# Objects made before the collector looks at the youngest, and passes before it looks at older ones. The
# ring and the clients are many objects and hardly a cycle: to go through them is a pause for nothing.
_COLLECTOR_THRESHOLDS = (10_000, 20, 50)


async def serve(loaded: Loaded, environ: Mapping[str, str]) -> int:
    """Runs a node with what was loaded until it is told to stop. Returns the process's exit code.

    The settings file is watched on from what was loaded, so that no change is missed.

    SIGTERM drains with WS_DRAIN_DELAY, SIGINT (a developer's Ctrl-C) without; a second one of
    either ends the node at once.
    """
    stopping = _Stop(asyncio.get_running_loop())
    gc.collect()
    gc.freeze()  # what is imported stays
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    node = Node(loaded.settings, loaded.file_hash)
    admin = AdminServer(node)
    background: list[asyncio.Task[None]] = []
    try:
        # Start: the admin port first, so that the kubelet sees a live node; then the clients'
        # port; then the feed, which may wait for its broker as long as it takes.
        try:
            await admin.start()
            node.open()
        except OSError as error:
            _log.error("cannot listen", extra=fields(error=_listening_problem(error, admin, loaded.settings)))
            return 1
        node.feed_reader.start()
        background.append(asyncio.create_task(_watch(node, environ, loaded), name="settings"))
        _log.info("node started", extra=fields(version=version(), port=node.port, admin_port=admin.port))
        await stopping.asked.wait()
        # Stop: let clients go, close the port, then what is behind it.
        await _drain(node, stopping)
        node.close_port()
        await asyncio.sleep(_DOOR_SECONDS)
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


class _Stop:
    """Signals, turned into events: heeded from the first instant of `serve`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.with_delay = True
        self._loop = loop
        self._signals: list[signal.Signals] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            # Where the node runs inside another program's thread, that program stops it otherwise.
            with contextlib.suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self.heed, number)
                self._signals.append(number)

    def heed(self, number: signal.Signals) -> None:
        """A signal came."""
        if self.asked.is_set():
            self.at_once.set()
            return
        self.with_delay = number == signal.SIGTERM
        _log.info("told to stop", extra=fields(signal=number.name))
        self.asked.set()

    def release(self) -> None:
        """Gives the signals back."""
        for number in self._signals:
            self._loop.remove_signal_handler(number)


async def _drain(node: Node, stopping: _Stop) -> None:
    """Drains until all are gone, the drain's own time is up, or a second signal comes."""
    node.drain_control.start(None, final=True, delay=stopping.with_delay)
    waits = [
        asyncio.create_task(node.drain_control.drained.wait()),
        asyncio.create_task(stopping.at_once.wait()),
    ]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    if stopping.at_once.is_set():
        node.drain_control.cut()


async def _watch(node: Node, environ: Mapping[str, str], loaded: Loaded) -> None:
    """Takes changes of the settings file over, for ever."""
    path = loaded.settings.settings_file
    if not path:
        return
    async for change in SettingsWatch(path, environ, loaded).changes():
        try:
            node.apply(change)
        except Exception:
            # The next file must have its chance, whatever was wrong with taking this one over.
            _log.exception("settings could not be taken over")
            node.settings_error = "could not be taken over whole; the node's log says why"


def _listening_problem(error: OSError, admin: AdminServer, settings: Settings) -> str:
    name, address = ("WS_ADDR", settings.addr) if admin.port else ("WS_ADMIN_ADDR", settings.admin_addr)
    return f"{name}={address!r}: {error.strerror or error}"
