"""Waiting for something asked for, with a line each time it moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from wsfleet.kube.errors import UnavailableError
from wsfleet.plugin.errors import WaitedError
from wsfleet.plugin.progress import Progress

LOOK_SECONDS = 2.0


async def wait_until_done(
    look: Callable[[], Awaitable[Progress]],
    tell: Callable[[str], None],
    timeout_seconds: float,
    *,
    steady_looks: int = 1,
    look_seconds: float = LOOK_SECONDS,
) -> Progress:
    """Look until it is done `steady_looks` times in a row; `tell` gets each new line.

    An API server that does not answer for a moment ends nothing.

    Raises:
        WaitedError: not done in time; the message says where it stands.
    """
    end = time.monotonic() + timeout_seconds
    told, steady, last = "", 0, Progress("nothing seen yet")
    while True:
        try:
            last = await look()
        except UnavailableError as exc:
            last = Progress(f"the API server does not answer: {exc.message}")
        steady = steady + 1 if last.done else 0
        if last.text != told:
            tell(last.text)
            told = last.text
        if steady >= steady_looks:
            return last
        if time.monotonic() + look_seconds > end:
            raise WaitedError(
                f"not done within {timeout_seconds:g} s, and what was asked stands: {last.text}; "
                "kubectl wsfleet status shows how it goes on"
            )
        await asyncio.sleep(look_seconds)
