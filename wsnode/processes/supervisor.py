"""The lives of a node's workers: started, watched, replaced when they end, and ended.

A worker that crashes is replaced, at once the first time and with growing pauses if that does not help;
its clients resume with the others meanwhile. One whose loop does not turn for a minute is killed, which
costs its own clients their connections; the kubelet would take the whole pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from wsnode.certificates import Pair
from wsnode.config import Settings
from wsnode.config.quantities import split_address
from wsnode.counters import Counters
from wsnode.listener import bind_listener
from wsnode.logs import fields
from wsnode.processes.child import Child
from wsnode.processes.messages import Begin, End
from wsnode.processes.sums import StreamCount, add_counters, count_lost
from wsnode.processes.table import make_table

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
STUCK_LOOKS = 15
"""So many looks in a row without a turn of its loop make a worker stuck: a probe would have timed out."""
_KILL_LOOKS = 60
_START_LOOKS = 180  # importing everything takes long on a starved machine
_LONG_LIVED_SECONDS = 60.0
_PAUSE_SECONDS, _PAUSE_AT_MOST_SECONDS = 0.5, 30.0
_END_SECONDS = 5.0


class Supervisor:
    """All workers of a node.

    Attributes:
        settings, settings_hash: those in force.
        pair: the certificate in force, where TLS is spoken.
        table: the memory shared with the workers.
        children: the workers that are there, by their place.
        up: set once all take clients for the first time, or have tried.
        failed: set when as many ended at the start as there should be, and none takes clients yet.
        gone, cpu_gone: counts and CPU seconds of those that ended.
        stream: what all count of the same stream.
        restarts: replacements.
        on_heard: called with a worker and what it said.
        on_ended: called when a worker has ended.
    """

    def __init__(
        self, settings: Settings, settings_hash: str, workers: int, pair: Pair | None = None
    ) -> None:
        self.pair = pair
        self.settings, self.settings_hash = settings, settings_hash
        self.table = make_table(workers, settings.max_connections)
        self.table.enter(0, os.getpid())
        self.children: dict[int, Child] = {}
        self.up, self.failed = asyncio.Event(), asyncio.Event()
        self.gone, self.cpu_gone = Counters(), 0.0
        self.stream = StreamCount()
        self.restarts = 0
        self.on_heard: Callable[[Child, Any], None] = lambda child, said: None
        self.on_ended: Callable[[], None] = lambda: None
        self.port = 0
        self._places = range(1, workers + 1)
        self._loop = asyncio.get_running_loop()
        self._replacing = True
        self._failures: Counter[int] = Counter()
        self._had: set[int] = set()
        self._starting: dict[int, asyncio.TimerHandle | asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._none_left: asyncio.Event | None = None
        self._reserved: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def reserve_port(self) -> None:
        """Finds the client port free, and keeps it so for the workers.

        Raises:
            OSError: it is taken, or can't be bound.
        """
        # Without SO_REUSEPORT first: another node of the same user would share its clients with us.
        with bind_listener(self.settings.addr) as probe:
            probe.listen()
            self.port = probe.getsockname()[1]
        host, _ = split_address(self.settings.addr)
        self._address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._reserved = bind_listener(self._address, shared=True)

    def start(self) -> None:
        """Starts all workers and watches over them."""
        for place in self._places:
            self._start(place)
        self._look()

    def tell(self, order: object) -> None:
        """Says something to all workers."""
        for child in self.children.values():
            child.line.say(order)

    def replace(self, wanted: bool) -> None:
        """Whether a worker that ends is replaced; those that are missing then start at once."""
        self._replacing = wanted
        for place in self._places:
            if wanted and place not in self.children and place not in self._starting:
                self._start(place)
            elif not wanted and place in self._starting:
                self._starting.pop(place).cancel()

    def kill_unopened(self) -> None:
        """Ends those that take no clients yet."""
        for child in self.children.values():
            if not child.accepting:
                child.kill()

    async def stop(self) -> None:
        """Ends all: told to, and killed where that does not help."""
        self.replace(False)
        self.tell(End())
        self._none_left = asyncio.Event()
        if not self.children:
            self._none_left.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._none_left.wait()
        for child in self.children.values():
            _log.error("a process does not end and is killed", extra=fields(of=child.row, pid=child.pid))
            child.kill()
        await self._none_left.wait()
        if self._timer is not None:
            self._timer.cancel()
        if self._reserved is not None:
            self._reserved.close()

    def close(self) -> None:
        """Lets the shared memory go: nothing may be asked any more."""
        self.table.close()

    @property
    def pids(self) -> set[int]:
        """Numbers of the workers."""
        return {child.pid for child in self.children.values()}

    @property
    def stuck(self) -> list[int]:
        """Places of the workers whose loop does not turn."""
        return [
            place for place, child in self.children.items() if child.beats and child.silent >= STUCK_LOOKS
        ]

    def _start(self, place: int) -> None:
        task = self._loop.create_task(self._bring_up(place))
        self._starting[place] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring_up(self, place: int) -> None:
        try:
            child = Child(place, self.table.fd, self._heard, self._ended)
        except OSError as error:
            _log.error("a process can't be started", extra=fields(of=place, error=error.strerror))
            self._failed(place)
            return
        self.restarts += place in self._had
        self._had.add(place)
        self.children[place] = child
        del self._starting[place]
        await child.connect()
        if self._none_left is not None:  # what was said to all could not reach it
            child.line.say(End())
            return
        others_serve = any(other.accepting for other in self.children.values())
        settings = self.settings.model_copy(update={"addr": self._address})
        child.line.say(Begin(settings, self.settings_hash, others_serve, self.pair))

    def _failed(self, place: int) -> None:
        self._failures[place] += 1
        none_serves = not self.up.is_set() and not any(child.accepting for child in self.children.values())
        if none_serves and self._failures.total() >= len(self._places):
            self.failed.set()
        self._later(place)

    def _later(self, place: int) -> None:
        """Starts a worker after a pause, the longer the more often that went wrong."""
        if not self._replacing:
            return
        failures = self._failures[place]
        pause = min(_PAUSE_SECONDS * 2 ** (failures - 2), _PAUSE_AT_MOST_SECONDS) if failures > 1 else 0.0
        self._starting[place] = self._loop.call_later(pause, self._start, place)

    def _heard(self, child: Child, said: Any) -> None:
        if child.report is said:
            self.stream.note(child.pid, child.report.counters)
        self._look_if_up()
        self.on_heard(child, said)

    def _look_if_up(self) -> None:
        children = self.children
        tried = all(self._failures[place] or place in children for place in self._places)
        if tried and children and all(child.accepting for child in children.values()):
            self.up.set()

    def _ended(self, child: Child, how: str, cpu_seconds: float) -> None:
        held = self.table.open_of(child.row)
        self.table.clear(child.row)
        del self.children[child.row]
        self.cpu_gone += cpu_seconds
        self.stream.forget(child.pid)
        counters = child.report.counters if child.report is not None else Counters()
        if self._none_left is None:  # else it was told to end, and closed what it still had
            count_lost(counters, held)
        add_counters(self.gone, counters)
        if self._replacing:
            _log.error("a process ended", extra=fields(of=child.row, pid=child.pid, how=how))
            if time.monotonic() - child.started > _LONG_LIVED_SECONDS:
                self._failures[child.row] = 0
            self._failed(child.row)
            self._look_if_up()
        if self._none_left is not None and not self.children:
            self._none_left.set()
        self.on_ended()

    def _look(self) -> None:
        """Each second: does every loop turn? Looks are counted and not seconds, which pass for the frozen."""
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
        for child in self.children.values():
            beats = self.table.beats(child.row)
            child.silent = child.silent + 1 if beats == child.beats else 0
            child.beats = beats
            if child.silent == (_KILL_LOOKS if beats else _START_LOOKS):
                _log.error("a process is stuck and is killed", extra=fields(of=child.row, pid=child.pid))
                child.kill()
