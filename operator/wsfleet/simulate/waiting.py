"""Clients that want to be connected and are not: counts by the time of their next try and by failures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsfleet.simulate.setup import ClientModel

Ints = NDArray[np.int64]
_ATTEMPTS = 6
_SLOTS = 4096


class Waiting:
    """A ring of steps; `step_seconds` is the length of one."""

    def __init__(self, model: ClientModel, step_seconds: float, rng: np.random.Generator) -> None:
        self._model = model
        self._step_seconds = step_seconds
        self._rng = rng
        self._due: Ints = np.zeros((_ATTEMPTS, _SLOTS), dtype=np.int64)
        self._now = 0
        self.total = 0

    def add(self, number: int, attempt: int, low_seconds: float, high_seconds: float) -> None:
        """So many clients try between `low` and `high` from now, spread evenly, after `attempt` failures."""
        if number <= 0:
            return
        low = min(int(low_seconds / self._step_seconds), _SLOTS - 2)
        high = min(max(int(high_seconds / self._step_seconds), low), _SLOTS - 2)
        width = high - low + 1
        slots = (self._now + 1 + low + np.arange(width)) % _SLOTS
        shares = self._rng.multinomial(number, np.full(width, 1 / width)) if width > 1 else number
        self._due[min(attempt, _ATTEMPTS - 1), slots] += shares
        self.total += number

    def refused(self, by_attempt: Ints) -> None:
        """Clients whose try failed wait by full jitter, its bound doubling with each failure."""
        model = self._model
        for before in range(_ATTEMPTS):
            bound = min(model.longest_retry_seconds, model.first_retry_seconds * 2.0 ** (before + 1))
            self.add(int(by_attempt[before]), before + 1, model.first_retry_seconds, bound)

    def again_at_once(self, by_attempt: Ints) -> None:
        """Clients in a listener's queue: they stand there still at the next step."""
        for attempt in range(_ATTEMPTS):
            self.add(int(by_attempt[attempt]), attempt, 0.0, 0.0)

    def step(self) -> Ints:
        """Go on by one step; who tries in it, by attempt."""
        self._now = (self._now + 1) % _SLOTS
        trying = self._due[:, self._now].copy()
        self._due[:, self._now] = 0
        self.total -= int(trying.sum())
        return trying

    def leave(self, number: int) -> None:
        """So many, whoever they are, no longer want to be connected."""
        number = min(number, self.total)
        if number <= 0:
            return
        flat = self._due.reshape(-1)
        full = np.flatnonzero(flat)
        flat[full] -= self._rng.multivariate_hypergeometric(flat[full], number, method="marginals")
        self.total -= number
