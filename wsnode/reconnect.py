"""When may a client come back? Pure rules, shared by the client and the load client.

A draining node closes with 1012 and the reason `reconnect;after=<ms>`: the server spreads its clients
over time, so its delay is taken as it is. A failed open is met by full jitter between 1 and 30
seconds (page scripts see neither status nor Retry-After, so that is what a fleet is sized for).
"""

from __future__ import annotations

import random
import re

SERVICE_RESTART = 1012
"""Close code of a drain or a shed."""

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0

_AFTER = re.compile(r"reconnect;after=(\d{1,9})")
_LONGEST_AFTER_SECONDS = 3600.0


def after_seconds(code: int | None, reason: str) -> float | None:
    """The delay a 1012 close asks for, in seconds; None where there is none that can be read."""
    if code != SERVICE_RESTART:
        return None
    match = _AFTER.fullmatch(reason.strip())
    return min(int(match[1]) / 1000, _LONGEST_AFTER_SECONDS) if match else None


def retry_after_seconds(value: str | None) -> float:
    """The seconds of a Retry-After header; 0 where it is missing or a date."""
    if value is None or not re.fullmatch(r"\d{1,6}", value.strip()):
        return 0.0
    return min(float(value), _LONGEST_AFTER_SECONDS)


def jittered_seconds(
    attempt: int,
    rng: random.Random,
    *,
    retry_after: float = 0.0,
    first: float = FIRST_SECONDS,
    longest: float = LONGEST_SECONDS,
) -> float:
    """Full jitter, in seconds: from `first` to a bound that doubles with each attempt up to `longest`.

    Attempts count from 1. A `retry_after` of the server comes on top, so that clients refused together
    do not return together.
    """
    first = min(first, longest)
    bound = min(longest, first * 2.0 ** min(attempt, 16))
    return retry_after + rng.uniform(first, bound)
