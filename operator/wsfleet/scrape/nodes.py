"""Rounds of scrapes, and the few things that nodes are told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from wsfleet.scrape.figures import NodeFigures, parse_status
from wsfleet.scrape.transport import ScrapeError, Target, Transport

logger = logging.getLogger(__name__)

TOKEN_HEADER = "X-Wsfleet-Token"
TERM_HEADER = "X-Wsfleet-Term"
_SILENT_SHARE = 2  # half as many slots, beside the others, are for nodes that did not answer last time
_FORGET_SECONDS = 300.0
_SWEEP_SECONDS = 30.0
_OUTDATED = 409  # a node's answer to a term that is lower than one it has seen


class NodeAdmin:
    """Reads and steers the nodes of fleets. `term` gives the number that outdated operators lack.

    `outdated` is told when a node says that a later leader was there.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout: float = 2.0,
        round_seconds: float = 4.0,
        concurrency: int = 32,
        term: Callable[[], int] = lambda: 0,
        outdated: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._round_seconds = round_seconds
        self._concurrency = concurrency
        self._silent: dict[str, float] = {}  # when they were last asked in vain, by pod UID
        self._forgot = time.monotonic()
        self._term = term
        self._outdated = outdated

    async def scrape(self, targets: Sequence[Target]) -> dict[str, NodeFigures]:
        """Figures by pod UID of the nodes that answered in time."""
        answers = await self.ask(targets)
        return {uid: answer for uid, answer in answers.items() if isinstance(answer, NodeFigures)}

    async def ask(self, targets: Sequence[Target]) -> dict[str, NodeFigures | ScrapeError]:
        """By pod UID a node's figures, or why there are none; the round's end leaves out who was not done.

        Nodes that did not answer last time have slots of their own: those of dead machines, each of which
        takes its whole time, would else leave no time for the living.
        """
        self._forget()
        found: dict[str, NodeFigures | ScrapeError] = {}

        async def slot(waiting: Iterator[Target]) -> None:
            for target in waiting:
                found[target.uid] = await self._ask(target)

        answering = [target for target in targets if target.uid not in self._silent]
        silent = [target for target in targets if target.uid in self._silent]
        # Whoever was not asked in the last round comes before those that were: there may be many.
        silent.sort(key=lambda target: self._silent[target.uid])
        slots: list[Awaitable[None]] = []
        for group, most in (
            (answering, self._concurrency),
            (silent, max(1, self._concurrency // _SILENT_SHARE)),
        ):
            waiting = iter(group)
            slots += [slot(waiting) for _ in range(min(most, len(group)))]
        await _within(self._round_seconds, slots)
        return dict(found)

    async def _ask(self, target: Target) -> NodeFigures | ScrapeError:
        try:
            answer = await self._transport.request(
                "GET", target, "/status", headers={}, body=None, timeout=self._timeout
            )
        except ScrapeError as exc:
            logger.debug("no figures from %s/%s: %s", target.namespace, target.pod, exc)
            self._silent[target.uid] = time.monotonic()
            return exc
        self._silent.pop(target.uid, None)
        return parse_status(answer, time.monotonic())

    def _forget(self) -> None:
        """Pods that nobody asks for any more."""
        now = time.monotonic()
        if now - self._forgot < _SWEEP_SECONDS:
            return  # each fleet's round comes by here
        self._forgot = now
        for uid in [uid for uid, since in self._silent.items() if since < now - _FORGET_SECONDS]:
            del self._silent[uid]

    async def drain(self, target: Target, token: str, *, rate: float | None = None) -> None:
        """PUT /drain: the node turns unready and closes its connections at `rate` a second.

        Raises:
            ScrapeError: it could not be told.
        """
        body = {"rate": rate} if rate is not None else {}
        await self._tell("PUT", target, "/drain", token, body)

    async def cancel_drain(self, target: Target, token: str) -> None:
        """DELETE /drain: the node serves again.

        Raises:
            ScrapeError: it could not be told.
        """
        await self._tell("DELETE", target, "/drain", token, None)

    async def shed(self, target: Target, token: str, *, shed_id: str, down_to: int, rate: float) -> None:
        """PUT /shed: the node goes down to so many connections at `rate` closes a second.

        The same `shed_id` again changes nothing.

        Raises:
            ScrapeError: it could not be told.
        """
        await self._tell("PUT", target, "/shed", token, {"id": shed_id, "target": down_to, "rate": rate})

    async def close(self) -> None:
        await self._transport.close()

    async def _tell(
        self, method: str, target: Target, path: str, token: str, body: Mapping[str, Any] | None
    ) -> None:
        headers = {TOKEN_HEADER: token, TERM_HEADER: str(self._term())}
        try:
            await self._transport.request(
                method, target, path, headers=headers, body=body, timeout=self._timeout
            )
        except ScrapeError as exc:
            # A node says 409 also where it can't do it now; only a later leader makes it name the header.
            if exc.status == _OUTDATED and TERM_HEADER in str(exc):
                logger.warning("%s/%s: %s", target.namespace, target.pod, exc)
                self._outdated()
            raise


async def _within(seconds: float, jobs: Sequence[Awaitable[None]]) -> None:
    """Run jobs together; those that are not done in time are cancelled."""
    if not jobs:
        return
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        done, late = await asyncio.wait(tasks, timeout=seconds)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
