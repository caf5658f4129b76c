"""How long the loop could not turn: what delays the lease, the probes and every sample alike."""

from __future__ import annotations

import asyncio

_TICK_SECONDS = 0.05
_WINDOW_SECONDS = 60.0


class Lateness:
    """The longest hold of the loop lately. `watch` sees it; `longest` tells."""

    def __init__(self) -> None:
        self._began = 0.0
        self._now = self._before = 0.0
        """Longest hold of this window, and of the one before."""

    async def watch(self) -> None:
        """Look at the clock every 50 ms, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            now = clock()
            self.note(now - due, now)

    def note(self, late_seconds: float, now: float) -> None:
        """The loop came so much later than it was asked to; `now` in seconds of any clock."""
        if now - self._began >= _WINDOW_SECONDS:
            whole = now - self._began < 2 * _WINDOW_SECONDS
            self._before, self._now, self._began = self._now if whole else 0.0, 0.0, now
        self._now = max(self._now, late_seconds)

    def longest(self) -> float:
        """Seconds; of the last one to two minutes."""
        return max(self._now, self._before)
