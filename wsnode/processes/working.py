"""A worker's life: a node of its own that takes orders over the line, and reports over it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from typing import Any

from wsnode import logs
from wsnode.certificates import Renewal
from wsnode.collector import relieve_collector
from wsnode.node import Node
from wsnode.processes import messages
from wsnode.processes.line import Line
from wsnode.processes.member import Member
from wsnode.processes.table import Table
from wsnode.stop import DOOR_SECONDS
from wsnode.watch import SettingsChange

_log = logging.getLogger(__name__)
REPORT_SECONDS = 1.0
_HURRIED_SECONDS = 0.1  # while somebody waits for what comes: the end of a drain, or the feed


def run(parent: int, row: int, line_fd: int, table_fd: int) -> int:
    """Serves until told to end. Returns the process's exit code."""
    working = _work(parent, row, line_fd, table_fd)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(working)
    return uvloop.run(working)


async def _work(parent: int, row: int, line_fd: int, table_fd: int) -> int:
    worker = _Worker(Table(table_fd), row, parent)
    await worker.line.open(socket.socket(fileno=line_fd))
    await worker.told_to_end.wait()
    await worker.end()
    return worker.code


class _Worker:
    """One node among several; made by the first order, changed and ended by the others.

    Attributes:
        code: to exit with.
    """

    def __init__(self, table: Table, row: int, parent: int) -> None:
        self.line = Line(self._heard, self._orphaned)
        self.told_to_end = asyncio.Event()
        self.code = 0
        self._loop = asyncio.get_running_loop()
        self._table, self._row = table, row
        self._member = Member(table, row, parent, self._loop.call_soon)
        self._node: Node | None = None
        self._accepting = False
        self._timer: asyncio.TimerHandle | None = None

    async def end(self) -> None:
        """Closes the port, then what is behind it."""
        node = self._node
        if node is not None:
            node.close_port()
            await asyncio.sleep(DOOR_SECONDS)
            await node.feed_reader.stop()
            node.close()

    def _orphaned(self) -> None:
        if not self.told_to_end.is_set():
            os._exit(1)

    def _heard(self, order: Any) -> None:
        if isinstance(order, messages.End):
            self.told_to_end.set()
        elif isinstance(order, messages.Begin):
            try:
                self._begin(order)
            except Exception:
                _log.exception("this process can't serve")
                self.code = 1
                self.told_to_end.set()
        elif self._node is not None:
            self._obey(self._node, order)

    def _obey(self, node: Node, order: Any) -> None:
        if isinstance(order, SettingsChange):
            node.apply(order)
        elif isinstance(order, Renewal):
            node.renew(order)
        elif isinstance(order, messages.LetGo):
            node.drain_control.start(order.rate, final=order.final, delay=order.delay)
            self._report_on(node)
        elif isinstance(order, messages.Stay):
            node.drain_control.cancel()
        elif isinstance(order, messages.TellAges):
            self.line.say(messages.Ages(order.shed_id, node.drain_control.ages()))
        elif isinstance(order, messages.GoDown):
            node.drain_control.shed(order.shed_id, order.target, order.rate, order.closes)
            self._report_on(node)
        elif isinstance(order, messages.Cut):
            node.drain_control.cut()

    def _begin(self, order: messages.Begin) -> None:
        settings = order.settings
        logs.configure(settings.log_level, settings.log_format, settings.node_name, process=self._row)
        _do_without_aiohttp(settings.nats_url)
        relieve_collector()
        node = Node(settings, order.settings_hash, self._member, order.pair)
        node.open(accept=False)
        if not order.when_seeded:
            self._accept(node)
        node.feed_reader.start()
        self._node = node
        self._report_on(node)

    def _accept(self, node: Node) -> None:
        node.accept()
        self._accepting = True
        self.line.say(messages.Accepting())

    def _report_on(self, node: Node) -> None:
        """Reports, now and from now on."""
        waited_for = (
            node.drain.state in ("delay", "closing") or node.drain_control.shed_left or not node.feed.seeded
        )
        if self._timer is not None:
            self._timer.cancel()
        seconds = _HURRIED_SECONDS if waited_for else REPORT_SECONDS
        self._timer = self._loop.call_later(seconds, self._report_on, node)
        if not self._accepting and node.feed.seeded:
            self._accept(node)
        self._report(node)

    def _report(self, node: Node) -> None:
        self._table.beat(self._row)
        self.line.say(
            messages.Report(
                counters=node.counters,
                feed=node.feed,
                drain=node.drain,
                shed_id=node.drain_control.shed_id,
                shed_left=node.drain_control.shed_left,
                queue_depth=node.queue_depth,
                ring_messages=node.ring_messages,
                ring_bytes=node.ring_bytes,
                tasks=len(asyncio.all_tasks(self._loop)),
                loop_percent=node.processes[1].loop_percent,
                lag_seconds=node.loop_lag_seconds,
                cpu_seconds=time.process_time(),
            )
        )


def _do_without_aiohttp(nats_url: str) -> None:
    """Spares 9 MB: the NATS library imports it wherever it is there, and uses it for ws:// only."""
    if "ws://" not in nats_url and "wss://" not in nats_url:
        sys.modules["aiohttp"] = None  # type: ignore[assignment]  # what import statements take for missing
