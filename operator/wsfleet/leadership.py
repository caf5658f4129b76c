"""Who acts: one of several operator processes, by a Lease.

Held by a thread of its own with a connection of its own, so that a busy loop does not cost the lease;
renewed only while the loop beats, so that a hung one does. The holder trusts a renewal for less time
than the others wait, counted from before it was sent, by a clock that no one sets and that goes on
while the machine sleeps. Every write asks `check` as it is sent. A process that has lost the lease
ends at once: whatever it was about to do is another's now.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import NoReturn

from wsfleet.kube.client import KubeClient
from wsfleet.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    NotLeadingError,
)
from wsfleet.kube.kinds import LEASE, Object
from wsfleet.kube.lease import Contender, LeaseState, lease_document, micro_time
from wsfleet.kube.login import Login

logger = logging.getLogger(__name__)

EXIT_LOST = 3
"""Exit code of a process that has lost its lease: not an error of its own."""

_TRUSTED_SHARE = 0.7  # of the lease's duration, 10 s: a renewal counts for 7
_RETRY_SHARE = 0.2  # and is sent each 2
_BEAT_SHARE = 0.25  # a loop that has not turned for longer hangs
_SAY_SECONDS = 30.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic() -> float:
    """Seconds that wall clock steps do not touch, and that include the machine's sleep (Linux)."""
    return time.clock_gettime(_CLOCK)


def leave(reason: str) -> NoReturn:
    """End the process now, without any tidying that could still write something."""
    logger.error("no longer leading: %s", reason)
    logging.shutdown()
    os._exit(EXIT_LOST)


class Leadership:
    """Takes and keeps one Lease. `start`, then `wait`; `release` at the end."""

    def __init__(
        self,
        login: Login,
        namespace: str,
        name: str,
        instance: str,
        *,
        seconds: float = 10.0,
        lost: Callable[[str], None] = leave,
    ) -> None:
        self.identity = f"{instance}_{uuid.uuid4().hex[:12]}"
        self._login = login
        self._namespace, self._name = namespace, name
        self._seconds = seconds
        self._lost = lost
        self._contender = Contender(seconds)
        self._lease: Object | None = None
        self._acquired = ""
        self._term = 0
        self._trusted_until = -1.0
        self._doubted = False
        self._heard = -1.0
        self._beat = monotonic()
        self._said = -1.0
        self._leads: asyncio.Event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beats: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._inner: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event = asyncio.Event()
        self._ending = False

    @property
    def term(self) -> int:
        """The lease's transitions while this process leads, else 0."""
        return self._term

    @property
    def held(self) -> bool:
        """Whether this process may act at this very moment."""
        return self._term > 0 and not self._doubted and monotonic() < self._trusted_until

    @property
    def standing_by(self) -> bool:
        """Whether it leads, or has heard of the lease lately enough to take over."""
        return self.held or monotonic() - self._heard < 3 * self._seconds

    def check(self) -> None:
        """Before each write: go on only while the lease is held.

        Raises:
            NotLeadingError: it is in doubt, or released.
        """
        if self.held:
            return
        if self._term and not self._doubted and not self._ending:
            self._lost("the lease was not renewed in time")
        raise NotLeadingError("write")

    def doubt(self) -> None:
        """A node has heard from a later leader: nothing more is sent until the API server says who leads."""
        self._doubted = True
        self._hurry()

    async def start(self) -> None:
        """Begin to stand by."""
        self._loop = asyncio.get_running_loop()
        self._beats = asyncio.create_task(self._keep_beating(), name="beat")
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    async def wait(self) -> None:
        """Return once this process leads."""
        await self._leads.wait()

    async def release(self) -> None:
        """Let others lead, at once. Nothing may be written any more."""
        self._ending = True
        while self._thread is not None and self._thread.is_alive():
            self._hurry()
            await asyncio.sleep(0.01)
        if self._beats is not None:
            self._beats.cancel()

    def _hurry(self) -> None:
        """End the thread's pause."""
        if self._inner is not None:
            with contextlib.suppress(RuntimeError):  # its loop has just ended
                self._inner.call_soon_threadsafe(self._wake.set)

    async def _keep_beating(self) -> None:
        while True:
            self._beat = monotonic()
            await asyncio.sleep(self._seconds * _BEAT_SHARE / 5)

    def _run(self) -> None:
        try:
            asyncio.run(self._hold())
        except Exception as exc:
            logger.exception("the lease's thread failed")
            self._lost(f"the lease's thread failed: {exc}")

    async def _hold(self) -> None:
        self._inner = asyncio.get_running_loop()
        client = await self._login.connect()
        try:
            while not self._ending:
                await (self._renew(client) if self._term else self._contend(client))
                await self._pause()
            if self._term:
                await self._give_up(client)
        finally:
            await client.close()

    async def _pause(self) -> None:
        seconds = self._seconds * _RETRY_SHARE
        if self._term:
            seconds = max(0.01, min(seconds, self._trusted_until - monotonic()))
        else:
            seconds *= random.uniform(0.7, 1.0)  # two that stand by need not ask together
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            pass
        self._wake.clear()

    async def _contend(self, client: KubeClient) -> None:
        """One attempt: read, and take it where that is allowed."""
        try:
            async with asyncio.timeout(self._seconds * _TRUSTED_SHARE):
                lease = await self._read(client)
                self._heard = monotonic()
                if not self._contender.may_take(lease, monotonic()) or not self._beating():
                    return
                term = self._contender.next_transitions(time.time())
                self._acquired = micro_time(time.time())
                began = monotonic()
                self._lease = await self._write(client, lease, self.identity, term)
        except (ConflictError, AlreadyExistsError):
            return  # another one was faster
        except (KubeError, TimeoutError) as exc:
            self._say(exc)
            return
        self._trust(began)
        self._term = term
        logger.info("leading as %s, term %d", self.identity, term)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._leads.set)

    async def _renew(self, client: KubeClient) -> None:
        """One renewal; ends the process where the lease is another's, or was not renewed for too long."""
        left = self._trusted_until - monotonic()
        if left > 0 and self._beating():
            try:
                async with asyncio.timeout(left):
                    began = monotonic()
                    self._lease = await self._rewrite(client)
                    self._trust(began)
                    self._doubted = False
            except (KubeError, TimeoutError) as exc:
                self._say(exc)
        if monotonic() >= self._trusted_until:
            self._lost("the lease could not be renewed in time" if self._beating() else "the loop hangs")

    async def _rewrite(self, client: KubeClient) -> Object:
        """Write the lease again; after a surprise look whose it is."""
        try:
            return await self._write(client, self._lease, self.identity, self._term)
        except (ConflictError, NotFoundError):
            there = await self._read(client)
        if there is not None:
            state = LeaseState.of(there)
            if state.holder != self.identity or state.transitions != self._term:
                self._lost(f"the lease is held by {state.holder or 'nobody'}")
                raise NotLeadingError("renew the lease")
        try:
            # Somebody edited it, our last answer was lost, or it was deleted: it is still ours.
            return await self._write(client, there, self.identity, self._term)
        except AlreadyExistsError as exc:
            self._lost("the lease was deleted, and made anew by another")
            raise NotLeadingError("renew the lease") from exc

    async def _give_up(self, client: KubeClient) -> None:
        """Write that nobody holds it: the next one need not wait."""
        term, self._term = self._term, 0
        try:
            async with asyncio.timeout(self._seconds * _RETRY_SHARE):
                await self._write(client, self._lease, "", term)
            logger.info("the lease is released")
        except (KubeError, TimeoutError) as exc:
            logger.warning("the lease could not be released: %s", exc)

    async def _read(self, client: KubeClient) -> Object | None:
        try:
            return await client.get(LEASE, self._namespace, self._name)
        except NotFoundError:
            return None

    async def _write(self, client: KubeClient, like: Object | None, holder: str, term: int) -> Object:
        document = lease_document(
            self._namespace,
            self._name,
            holder=holder,
            transitions=term,
            duration_seconds=self._seconds,
            acquired=self._acquired,
            wall_seconds=time.time(),
            like=like,
        )
        return await (client.create(document) if like is None else client.replace(document))

    def _trust(self, began: float) -> None:
        self._heard = began
        self._trusted_until = began + self._seconds * _TRUSTED_SHARE

    def _beating(self) -> bool:
        return monotonic() - self._beat < self._seconds * _BEAT_SHARE

    def _say(self, exc: Exception) -> None:
        """Of trouble that lasts a line each half minute is enough."""
        now = monotonic()
        if self._said < 0 or now - self._said > _SAY_SECONDS:
            self._said = now
            hint = "; the ServiceAccount needs get, create and update on leases" * isinstance(
                exc, ForbiddenError
            )
            what = str(exc) or "no answer in time"
            logger.warning("lease %s/%s: %s%s", self._namespace, self._name, what, hint)
