"""Rules between node settings, for those that `spec.overrides` gives: the API server's and Python's.

Each stands in `wsnode.config.Settings` too, which has the last word. Here they are said of what is
written in the resource, so that `kubectl apply` refuses it with the field's path. A setting that is
left out counts with its default where the sizing rules don't compute it; where they do, they make
it fit, or the operator says what doesn't.
"""

from __future__ import annotations

from typing import Any

from wsfleet.api.base import Rule
from wsfleet.api.quantities import BYTES, DURATION
from wsnode.config import Settings

_PING_INTERVAL: float = Settings.model_fields["ping_interval"].default
_PING_TIMEOUT: float = Settings.model_fields["ping_timeout"].default
_CLIENT_BUFFER: int = Settings.model_fields["client_buffer_bytes"].default


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _not_above(low: float | None, high: float | None) -> bool:
    return low is None or high is None or low <= high


def _cel_or(field: str, comparable: str, default: str) -> str:
    """CEL for a field's value where it is given, else for the default (both comparable)."""
    return f"(has({field}) ? {comparable.format(field)} : {default})"


def _cel_seconds(field: str) -> str:
    """CEL for an integer of seconds as a duration.

    Not by way of a string, as `DURATION.cel` does: the API server takes that of an integer for a
    string of any length, and refuses a rule that may cost so much.
    """
    return f"(timestamp({field}) - timestamp(0))"


def _goroutines_needed(own: Any) -> int | None:
    if own.max_connections is None:
        return None
    return 2 * int(own.max_connections) + int(own.worker_pool_size or 0) + 20


_CPU_THRESHOLDS = Rule(
    "!has(self.cpuRejectThreshold) || !has(self.cpuPauseThreshold) || "
    "self.cpuRejectThreshold <= self.cpuPauseThreshold",
    lambda own: _not_above(own.cpu_reject_threshold, own.cpu_pause_threshold),
    "cpuRejectThreshold must not be above cpuPauseThreshold",
    ".cpuRejectThreshold",
)
_GOROUTINES = Rule(
    "!has(self.maxGoroutines) || !has(self.maxConnections) || self.maxGoroutines >= "
    "2 * self.maxConnections + (has(self.workerPoolSize) ? self.workerPoolSize : 0) + 20",
    lambda own: _not_above(_goroutines_needed(own), own.max_goroutines),
    "maxGoroutines must be at least twice maxConnections + workerPoolSize + 20",
    ".maxGoroutines",
)
_PING_TIMEOUT_GIVEN = Rule(
    f"!has(self.pingTimeout) || {DURATION.cel.format('self.pingTimeout')} > "
    + _cel_or("self.pingInterval", DURATION.cel, f"duration('{DURATION.format(_PING_INTERVAL)}')"),
    lambda own: own.ping_timeout is None or own.ping_timeout > _or(own.ping_interval, _PING_INTERVAL),
    f"pingTimeout must be above pingInterval ({DURATION.format(_PING_INTERVAL)} when left out)",
    ".pingTimeout",
)
_PING_INTERVAL_GIVEN = Rule(
    f"!has(self.pingInterval) || has(self.pingTimeout) || "
    f"{DURATION.cel.format('self.pingInterval')} < duration('{DURATION.format(_PING_TIMEOUT)}')",
    lambda own: own.ping_timeout is not None or _or(own.ping_interval, 0) < _PING_TIMEOUT,
    f"pingInterval must be below pingTimeout ({DURATION.format(_PING_TIMEOUT)} when left out)",
    ".pingInterval",
)
_CLIENT_BUFFERS = Rule(
    f"!has(self.clientBufferTotalBytes) || {BYTES.cel.format('self.clientBufferTotalBytes')}.compareTo("
    + _cel_or("self.clientBufferBytes", BYTES.cel, f"quantity('{BYTES.format(_CLIENT_BUFFER)}')")
    + ") >= 0",
    lambda own: _not_above(_or(own.client_buffer_bytes, _CLIENT_BUFFER), own.client_buffer_total_bytes),
    f"clientBufferTotalBytes must not be below clientBufferBytes "
    f"({BYTES.format(_CLIENT_BUFFER)} when left out)",
    ".clientBufferTotalBytes",
)
_REPUBLISHED_STREAM = Rule(
    "!has(self.feed) || self.feed != 'core' || !has(self.republishSubject) || self.republishSubject == ''",
    lambda own: own.feed != "core" or not own.republish_subject,
    "republishSubject needs the stream that feed core does without",
    ".republishSubject",
)

OVERRIDE_RULES = (
    _CPU_THRESHOLDS,
    _GOROUTINES,
    _PING_TIMEOUT_GIVEN,
    _PING_INTERVAL_GIVEN,
    _CLIENT_BUFFERS,
    _REPUBLISHED_STREAM,
)
"""Rules of `spec.overrides` alone."""


_REJECT_THRESHOLDS = {"Conservative": 70, "Balanced": 75, "Aggressive": 80}


def _pause_not_below_profile(spec: Any) -> bool:
    # The pause threshold that the sizing rules give is never below 80 nor below reject + 5, so only
    # a pause threshold set alone can fall below the profile's reject threshold.
    own = spec.overrides
    if own.cpu_pause_threshold is None or own.cpu_reject_threshold is not None:
        return True
    return bool(own.cpu_pause_threshold >= _REJECT_THRESHOLDS[spec.profile])


_PAUSE_AND_PROFILE = Rule(
    "!has(self.overrides.cpuPauseThreshold) || has(self.overrides.cpuRejectThreshold) || "
    "self.overrides.cpuPauseThreshold >= (self.profile == 'Conservative' ? 70.0 : "
    "self.profile == 'Balanced' ? 75.0 : 80.0)",
    _pause_not_below_profile,
    "cpuPauseThreshold must not be below the profile's reject threshold (70 Conservative, "
    "75 Balanced, 80 Aggressive); set cpuRejectThreshold too",
    ".overrides.cpuPauseThreshold",
)
_DRAIN_TIMEOUT_GIVEN = Rule(
    f"!has(self.overrides.drainTimeout) || {DURATION.cel.format('self.overrides.drainTimeout')} >= "
    + _cel_or("self.overrides.drainDelay", DURATION.cel, _cel_seconds("self.drain.delaySeconds")),
    lambda spec: _not_above(
        _or(spec.overrides.drain_delay, spec.drain.delay_seconds), spec.overrides.drain_timeout
    ),
    "drainTimeout must not be below drainDelay (spec.drain.delaySeconds when left out)",
    ".overrides.drainTimeout",
)
_DRAIN_DELAY_GIVEN = Rule(
    f"!has(self.overrides.drainDelay) || has(self.overrides.drainTimeout) || "
    f"{DURATION.cel.format('self.overrides.drainDelay')} <= {_cel_seconds('self.drain.timeoutSeconds')}",
    lambda spec: (
        spec.overrides.drain_timeout is not None
        or _not_above(spec.overrides.drain_delay, spec.drain.timeout_seconds)
    ),
    "drainDelay must not be above drainTimeout (spec.drain.timeoutSeconds when left out)",
    ".overrides.drainDelay",
)

SPEC_RULES = (_PAUSE_AND_PROFILE, _DRAIN_TIMEOUT_GIVEN, _DRAIN_DELAY_GIVEN)
"""Rules between `spec.overrides` and other parts of the spec."""
