"""Rates, without timers: tokens are counted when someone asks."""

from __future__ import annotations


class TokenBucket:
    """So many tokens a second at most, and a short burst. A rate of 0 is unlimited.

    Whoever takes more than there is leaves a debt, and the next one waits: so jobs of any size
    pass, and the mean rate still holds.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst_seconds: float = 0.1) -> None:
        self.rate = rate
        self.burst = max(1.0, rate * burst_seconds)
        self._tokens = self.burst
        self._at = 0.0

    def wait_seconds(self, now: float) -> float:
        """Seconds until something may be taken again; 0 when now. `now` is monotonic."""
        if not self.rate:
            return 0.0
        tokens = self._fill(now)
        return 0.0 if tokens > 0 else (1e-3 - tokens / self.rate)

    def available(self, now: float) -> float:
        """Tokens that may be taken without a debt; infinite without a rate."""
        return self._fill(now) if self.rate else float("inf")

    def take(self, now: float, tokens: float) -> None:
        """Takes tokens, into debt if there are not enough."""
        if self.rate:
            self._tokens = self._fill(now) - tokens

    def _fill(self, now: float) -> float:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return self._tokens


def spaced(due_ms: int, now_ms: int, burst: int, per_second: float) -> int | None:
    """One client's rate limit as a single integer: the time by which all it sent is paid for.

    Allows `burst` messages at once and `per_second` in the long run. Returns the new value to
    keep, or None when the message comes too fast. (The generic cell rate algorithm, ITU-T I.371:
    no timer and no object a client.)
    """
    cost = 1000 / per_second
    due = max(due_ms, now_ms)
    if due - now_ms > cost * (burst - 1):
        return None
    return due + max(1, round(cost))
