"""A worker a fleet: pokes become looks, one at a time, whatever other fleets are doing.

Level-triggered: a poke says that something may have changed, not what. Any number of pokes while
a look is under way lead to one more look.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from wsfleet.kube.reflector import Key

logger = logging.getLogger(__name__)

_COALESCE_SECONDS = (0.2, 1.0)  # a burst of pod events is one look
_BACKOFF_SECONDS = (1.0, 60.0)
"""Of a look that fails as a whole: mostly an API server that is away, and nodes must not be left alone for
long once it is back. What can't be written of a fleet has pauses of its own."""

Look = Callable[[Key], Awaitable[float | None]]
"""Looks at one fleet and acts; returns the seconds after which it wants to look again, or None."""


class Worker:
    """Looks at one fleet when poked; after a failure it pauses, longer each time."""

    def __init__(
        self,
        key: Key,
        look: Look,
        seconds: float,
        failed: Callable[[Key, Exception], None],
        turn: asyncio.Lock,
    ) -> None:
        self._key = key
        self._turn = turn
        self._look = look
        self._seconds = seconds
        self._failed = failed
        self._poked = asyncio.Event()
        self._hurry = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"fleet {key[0]}/{key[1]}")

    def poke(self, *, urgent: bool = False) -> None:
        """Look soon. `urgent` (the user changed something) also ends the pause after a failure."""
        self._poked.set()
        if urgent:
            self._hurry.set()

    async def _run(self) -> None:
        failures, clock = 0, asyncio.get_running_loop().time
        while True:
            await self._poked.wait()
            async with self._turn:
                await asyncio.sleep(0)
            self._poked.clear()
            self._hurry.clear()
            began = clock()
            try:
                async with asyncio.timeout(self._seconds):
                    again = await self._look(self._key)
                failures = 0
            except Exception as exc:
                self._tell(exc)
                failures += 1
                low, high = _BACKOFF_SECONDS
                pause = min(high, low * 2.0 ** min(failures - 1, 10)) * random.uniform(0.8, 1.2)
                await self._pause(pause)
                self._poked.set()
                continue
            if again is not None:
                asyncio.get_running_loop().call_later(again, self._poked.set)
            # At rest for as long as the look took: pods of a large fleet that come and go all the time would
            # else keep the loop busy with one look after the other.
            least, most = _COALESCE_SECONDS
            await asyncio.sleep(min(max(least, clock() - began), most))

    def _tell(self, exc: Exception) -> None:
        try:
            self._failed(self._key, exc)
        except Exception:
            logger.exception("%s/%s: the failure could not be told", *self._key)  # and the worker goes on

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._hurry.wait(), seconds)
        except TimeoutError:
            pass


class Workers:
    """All fleets' workers."""

    def __init__(self, look: Look, seconds: float, failed: Callable[[Key, Exception], None]) -> None:
        self._look = look
        self._seconds = seconds
        self._failed = failed
        self._workers: dict[Key, Worker] = {}
        # A first look makes a plan before it waits for anything. One fleet in a turn of the loop: a thousand
        # that begin together would else hold it for so long that the lease is lost.
        self._turn = asyncio.Lock()

    def __contains__(self, key: Key) -> bool:
        return key in self._workers

    def keys(self) -> list[Key]:
        return sorted(self._workers)

    def dead(self) -> list[str]:
        """Fleets whose worker has ended though the fleet is there: nobody looks after them any more."""
        return [worker.task.get_name() for worker in self._workers.values() if worker.task.done()]

    def add(self, key: Key) -> None:
        """Begin to look after a fleet (known already: look at once)."""
        if key not in self._workers:
            self._workers[key] = Worker(key, self._look, self._seconds, self._failed, self._turn)
        self._workers[key].poke(urgent=True)

    def poke(self, key: Key) -> None:
        """Look soon, if it is a fleet of ours."""
        if key in self._workers:
            self._workers[key].poke()

    def remove(self, key: Key) -> None:
        """A fleet is gone."""
        worker = self._workers.pop(key, None)
        if worker is not None:
            worker.task.cancel()

    async def close(self) -> None:
        """End all looks."""
        tasks = [worker.task for worker in self._workers.values()]
        self._workers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def schedule(workers: Workers, seconds: float) -> None:
    """Poke every fleet once in each `seconds`, spread over them so that looks do not come in a crowd."""
    clock = asyncio.get_running_loop().time
    began = clock()
    while True:
        keys = workers.keys()
        for place, key in enumerate(keys, 1):
            workers.poke(key)
            # By the round's own time: a thousand sleeps that each last a little longer would add up.
            await asyncio.sleep(began + seconds * place / len(keys) - clock())
        if not keys:
            await asyncio.sleep(seconds)
        began = max(began + seconds, clock() - seconds)
