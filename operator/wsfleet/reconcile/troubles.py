"""What can't be done of a fleet's upkeep, each with a pause of its own that grows with every try.

One object that can't be written (a webhook that refuses it, a missing right) is told and tried again;
the look at the nodes that serve goes on beside it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wsfleet.kube.errors import (
    ConflictError,
    KubeError,
    NotFoundError,
    NotLeadingError,
    UnavailableError,
    in_going_namespace,
)

if TYPE_CHECKING:
    from wsfleet.reconcile.context import Context, FleetState

logger = logging.getLogger(__name__)

PAUSE_SECONDS = (1.0, 300.0)
BLIPS = 3
"""Failures in a row before one that passes by itself (a race, an API server that restarts) is told."""
PASSING = (ConflictError, NotFoundError, UnavailableError)


@dataclass(slots=True)
class Trouble:
    """Something that failed: with what, how often in a row, and when it may be tried again."""

    mark: object
    text: str
    passing: bool
    failures: int
    until: float
    """Monotonic seconds."""

    @property
    def told(self) -> bool:
        """Whether it says something about the fleet."""
        return not self.passing or self.failures >= BLIPS


@dataclass(slots=True)
class Troubles:
    """The troubles of one fleet, by what they are with: `Service/odin`, `live settings`."""

    unanswered: bool = False
    """The API server gave no answer in this look: nothing more is tried, or each would take its time."""
    _by_name: dict[str, Trouble] = field(default_factory=dict)
    chance: Callable[[], float] = random.random

    def may_try(self, name: str, mark: object, now: float) -> bool:
        """Whether something may be tried: it did not fail, the pause is over, or it is another now.

        `mark` is what is tried, `now` in monotonic seconds.
        """
        found = self._by_name.get(name)
        return not self.unanswered and (found is None or found.mark != mark or now >= found.until)

    def failed(self, name: str, mark: object, exc: KubeError, now: float) -> Trouble:
        """Note a failure, and until when to pause.

        Raises:
            KubeError: `exc` itself, where nothing of the fleet can be done: another operator leads, or the
                namespace is going.
        """
        if isinstance(exc, NotLeadingError) or in_going_namespace(exc):
            raise exc
        self.unanswered = self.unanswered or is_unanswered(exc)
        before = self._by_name.get(name)
        failures = 1 if before is None or before.mark != mark else before.failures + 1
        low, high = PAUSE_SECONDS
        pause = min(high, low * 2.0 ** min(failures - 1, 10)) * (0.8 + 0.4 * self.chance())
        found = Trouble(mark, f"{name}: {exc}", isinstance(exc, PASSING), failures, now + pause)
        self._by_name[name] = found
        return found

    def over(self, name: str) -> None:
        """It was done, or is no longer wanted."""
        self._by_name.pop(name, None)

    @property
    def text(self) -> str:
        """What to tell people; empty where nothing has to be told."""
        told = sorted(one.text for one in self._by_name.values() if one.told)
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        return f"{told[0]}{more}" if told else ""


def is_unanswered(exc: KubeError) -> bool:
    """Whether the API server itself did not answer; a webhook that fails is answered with HTTP 500."""
    return isinstance(exc, UnavailableError) and not exc.status


def note_trouble(context: Context, state: FleetState, name: str, mark: object, exc: KubeError) -> None:
    """Something could not be written: into the log, the metrics and the fleet's troubles.

    Raises:
        KubeError: `exc` itself, where nothing of the fleet can be done.
    """
    found = state.troubles.failed(name, mark, exc, time.monotonic())
    context.metrics.errors.labels(type(exc).__name__).inc()
    logger.log(logging.WARNING if found.told else logging.INFO, "fleet %s: %s", state.uid, found.text)
