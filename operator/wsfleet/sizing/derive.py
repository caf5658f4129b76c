"""From inputs to complete node settings, each with the reason for its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from wsfleet.sizing import rules
from wsfleet.sizing.capacity import (
    MEMORY_CAP_PERCENT,
    MOST_CONNECTIONS,
    PROFILE_PERCENT,
    Capacity,
    at_most,
    max_connections,
)
from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import Inputs, exact
from wsfleet.sizing.text import count, mb, plain, vcpu
from wsnode.config import Settings, override_name

_GIVEN = "given"


@dataclass(frozen=True)
class Derived:
    """Complete settings, why each computed one is so, and the drain that a full node would need.

    `wanted_drain_timeout` is the timeout asked for; the settings' may be above it.
    """

    settings: Settings
    reasons: Mapping[str, str]
    rule_connections: int
    drain_seconds: int
    wanted_drain_timeout: float


def derive_settings(inputs: Inputs, capacity: Capacity, overrides: Mapping[str, Any]) -> Derived:
    """All settings of a node: WS_MAX_CONNECTIONS first, what follows from it after, other overrides last.

    Raises:
        SizingError: no connection fits, or an override does not fit the rest.
    """
    by_rule = max_connections(capacity, inputs.profile)
    connections = overrides.get("max_connections", by_rule)
    if connections < 1:
        raise SizingError(*_what_is_missing(inputs, capacity))
    values: dict[str, Any] = {"max_connections": connections}
    reasons = {"max_connections": _connections_reason(inputs, capacity)}
    parts = (
        _limits(capacity, overrides),
        _workers(inputs, capacity, connections),
        _rates(inputs),
        _stream(inputs, overrides),
    )
    for part in parts:
        for field, (value, reason) in part.items():
            values[field], reasons[field] = value, reason
    values |= _thresholds(inputs, overrides, reasons)
    needed, wanted = _drain(inputs, connections, overrides, values, reasons)
    for field, value in overrides.items():
        computed = by_rule if field == "max_connections" else values.get(field)
        reasons[field] = _override_reason(computed, value)
    return Derived(_build(values | dict(overrides), overrides), reasons, by_rule, needed, wanted)


def _what_is_missing(inputs: Inputs, capacity: Capacity) -> tuple[str, str, str]:
    """Which input leaves no room for a single connection, as field, value and bound."""
    least_cpu = capacity.cpu_us(1)
    if least_cpu > capacity.whole_cpu_us:
        needed = vcpu(least_cpu)
        return "instance.cpu", vcpu(capacity.whole_cpu_us), f"carries no connection: one alone needs {needed}"
    if capacity.connections_by_memory(MEMORY_CAP_PERCENT) == 0:
        return (
            "instance.memory",
            mb(capacity.available_memory_bytes),
            "carries no connection: one must fit into 85 % of what is available",
        )
    if capacity.connections_by_network(capacity.peak_rate) == 0:
        rate = f"{count(capacity.peak_rate * capacity.message_bytes)} bytes a second"
        network = inputs.machine.network_bits_per_second or 0
        return "instance.network", f"{count(network)} bit/s", f"carries no connection: one peaks at {rate}"
    return "profile", str(inputs.profile), "leaves no connection on this machine; a larger profile may"


def _connections_reason(inputs: Inputs, capacity: Capacity) -> str:
    cpu = capacity.connections_by_cpu(capacity.whole_cpu_us)
    network = capacity.connections_by_network(capacity.message_rate)
    which = "whole vCPU, with bursts" if capacity.burstable else "available CPU"
    terms = [
        "no CPU limit" if cpu is None else f"CPU {count(cpu)} ({which})",
        f"memory {count(capacity.connections_by_memory())}",
        "no network limit" if network is None else f"network {count(network)}",
    ]
    factor = PROFILE_PERCENT[inputs.profile]
    reason = f"{inputs.profile}: {plain(factor / 100)} x the least of {', '.join(terms)}"
    wished = at_most(cpu, capacity.connections_by_memory(), network) * factor // 100
    caps = (
        (capacity.connections_by_memory(MEMORY_CAP_PERCENT), f"{MEMORY_CAP_PERCENT} % of the memory"),
        (capacity.connections_by_network(capacity.peak_rate), "the network at the peak rate"),
        (MOST_CONNECTIONS, "what the node's settings allow"),
    )
    held = min(((cap, name) for cap, name in caps if cap is not None and cap < wished), default=None)
    return reason + (f"; held by {held[1]} ({count(held[0])})" if held else "") + "; rounded down"


_Part = dict[str, tuple[Any, str]]


def _limits(capacity: Capacity, overrides: Mapping[str, Any]) -> _Part:
    default = Settings.model_fields["client_buffer_total_bytes"].default
    one = overrides.get("client_buffer_bytes", Settings.model_fields["client_buffer_bytes"].default)
    total = rules.client_buffer_total(default, capacity.available_memory_bytes, one)
    part: _Part = {
        "cpu_limit": (capacity.available_cpu_us / 1_000_000, "CPU available after the system's reserve"),
        "memory_limit": (
            capacity.available_memory_bytes,
            f"{mb(capacity.available_memory_bytes)} available after the system's reserve",
        ),
    }
    if total != default:
        part["client_buffer_total_bytes"] = (total, "a quarter of the memory for all slow clients")
    return part


def _workers(inputs: Inputs, capacity: Capacity, connections: int) -> _Part:
    fanout = inputs.fanout.connections_per_worker
    workers = rules.worker_pool_size(connections, fanout)
    queue = rules.worker_queue_size(
        workers,
        lean=inputs.lean_queue,
        available_memory_bytes=capacity.available_memory_bytes,
        buffer_bytes=inputs.load.buffer_bytes,
    )
    needed = rules.least_goroutines(connections, workers)
    asked = f"{count(connections)} / {fanout} = {count(-(-connections // fanout))}"
    return {
        "worker_pool_size": (workers, f"{asked}, at least {rules.LEAST_WORKERS}, to a power of two"),
        "worker_queue_size": (
            queue,
            f"{count(workers)} x {50 if inputs.lean_queue else 100}, in at most 5 % of the memory",
        ),
        "max_goroutines": (
            rules.max_goroutines(connections, workers),
            f"(2 x {count(connections)} + {count(workers)} + {rules.STATIC_GOROUTINES}) x 1.2 = "
            f"{count(needed * 12 // 10)}, rounded up",
        ),
    }


def _rates(inputs: Inputs) -> _Part:
    nats, broadcast = rules.max_nats_rate(inputs.limits), rules.max_broadcast_rate(inputs.limits)
    if not nats:
        why = "unlimited for testing"
        return {"max_nats_rate": (nats, why), "max_broadcast_rate": (broadcast, why)}
    publish = inputs.load.publish_rate
    times = f": {count(nats // publish)} x the {count(publish)}/s published" if publish else ""
    return {
        "max_nats_rate": (nats, f"limits {inputs.limits}{times}"),
        "max_broadcast_rate": (broadcast, "a safety valve against runaway broadcasts"),
    }


def _stream(inputs: Inputs, overrides: Mapping[str, Any]) -> _Part:
    """Limits of the stream that differ from the node's defaults, without those that an override says."""
    stream = inputs.stream
    given = {
        "js_stream_max_age": stream.max_age_seconds,
        "js_stream_max_msgs": stream.max_messages,
        "js_stream_max_bytes": stream.max_bytes,
    }
    defaults = Settings.model_fields
    return {
        field: (value, _GIVEN)
        for field, value in given.items()
        if field not in overrides and value != defaults[field].default
    }


def _thresholds(inputs: Inputs, overrides: Mapping[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    reject = rules.cpu_reject_threshold(inputs.profile)
    in_force = overrides.get("cpu_reject_threshold", reject)
    reasons["cpu_reject_threshold"] = f"{inputs.profile}: keeps {100 - reject} % for those connected"
    values: dict[str, Any] = {"cpu_reject_threshold": float(reject)}
    if "cpu_pause_threshold" not in overrides:
        values["cpu_pause_threshold"] = float(rules.cpu_pause_threshold(in_force))
        reasons["cpu_pause_threshold"] = "5 points above rejection, at least 80"
    return values


def _drain(
    inputs: Inputs,
    connections: int,
    overrides: Mapping[str, Any],
    values: dict[str, Any],
    reasons: dict[str, str],
) -> tuple[int, float]:
    """Fill in the drain settings; returns the seconds a full node needs, and the timeout asked for."""
    drain = inputs.drain
    delay = exact(overrides.get("drain_delay", drain.delay_seconds))
    rate = exact(overrides.get("drain_rate", drain.rate_per_second))
    wanted = overrides.get("drain_timeout", drain.timeout_seconds)
    needed = rules.drain_seconds(connections, rate, delay)
    values["drain_delay"] = float(drain.delay_seconds)
    values["drain_rate"] = float(drain.rate_per_second)
    values["drain_timeout"] = float(rules.drain_timeout(needed, drain.timeout_seconds))
    reasons["drain_delay"] = "seconds until endpoints have forgotten the node"
    reasons["drain_rate"] = "closes a second, so that clients come back spread out"
    reasons["drain_timeout"] = f"a full node needs {count(needed)} s"
    return needed, float(wanted)


def _override_reason(computed: float | None, value: Any) -> str:
    if computed is None or computed == value:
        return _GIVEN
    shown = count(exact(computed))
    return f"{_GIVEN}; the rules say {shown}"


def _build(values: dict[str, Any], overrides: Mapping[str, Any]) -> Settings:
    connections, workers = values["max_connections"], values["worker_pool_size"]
    needed = rules.least_goroutines(connections, workers)
    if values["max_goroutines"] < needed:
        field = "max_goroutines" if "max_goroutines" in overrides else "worker_pool_size"
        raise SizingError(
            f"overrides.{override_name(field)}",
            values[field],
            f"leaves too few goroutines: maxGoroutines ({values['max_goroutines']}) must be at least "
            f"{needed}, twice maxConnections ({connections}) + workerPoolSize ({workers}) + 20",
        )
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(["overrides", *(override_name(str(part)) for part in problem["loc"])])
        message = problem["msg"].removeprefix("Value error, ")
        raise SizingError(path, ", ".join(override_name(name) for name in overrides), message) from error
