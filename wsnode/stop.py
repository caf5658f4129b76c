"""SIGTERM and SIGINT, turned into events of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from wsnode.logs import fields

_log = logging.getLogger(__name__)
DOOR_SECONDS = 0.2
"""After the last goodbye, for those that were refused at the door to read why."""


class Stop:
    """Signals, heeded from the first instant on: made before anything else is.

    SIGTERM asks for a drain with WS_DRAIN_DELAY, SIGINT (a developer's Ctrl-C) for one without; a
    second one of either ends the node at once.

    Attributes:
        asked: set by the first signal.
        at_once: set by the second.
        with_delay: whether the first was SIGTERM.
    """

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


async def first_of(*events: asyncio.Event) -> None:
    """Waits until one of them is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
