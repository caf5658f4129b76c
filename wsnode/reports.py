"""What the admin port says of a node, as values: `/status` for the operator, `/health` for people.

The shape of `/health` is the one that existing load clients and dashboards read.
"""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from typing import Any

from wsnode.admission import MEMORY_REJECT_PERCENT, REASONS
from wsnode.config.sources import masked_env
from wsnode.version import version
from wsnode.view import DrainStatus, NodeView, TlsStatus

_WARN_PERCENT = 90.0
_MEBIBYTE = 2**20
_LIMITS = (
    "max_connections",
    "max_goroutines",
    "max_nats_rate",
    "max_broadcast_rate",
    "worker_pool_size",
    "worker_queue_size",
    "cpu_reject_threshold",
    "cpu_pause_threshold",
)


def status_report(view: NodeView) -> dict[str, Any]:
    """The body of `GET /status`: figures that the operator decides from, all from one moment."""
    settings, counters, feed = view.settings, view.counters, view.feed
    return {
        "node": settings.node_name,
        "version": version(),
        "uptime_seconds": _uptime(view),
        "ready": view.ready,
        "not_ready_reason": view.not_ready_reason,
        "connections": {"current": view.connections, "max": settings.max_connections},
        "cpu": {"percent": round(view.cpu_percent, 2), "limit_cores": settings.cpu_limit},
        "memory": {"bytes": view.memory_bytes, "limit_bytes": settings.memory_limit},
        "goroutines": {"current": view.goroutines, "limit": settings.max_goroutines},
        "rejections": {reason: counters.connections_rejected.get(reason, 0) for reason in REASONS},
        "feed": {
            "connected": feed.connected,
            "paused": feed.paused,
            "seeded": feed.seeded,
            "position": feed.position,
            "lag": feed.lag,
            "epoch": feed.epoch,
            "problem": feed.problem,
            "trouble": feed.trouble,
            "stream": dataclasses.asdict(feed.stream) if feed.stream is not None else None,
        },
        "drain": drain_report(view.drain),
        "shed": {"remaining": view.shed_left},
        "settings": {
            "hash": view.settings_hash,
            "error": view.settings_error,
            "values": masked_env(settings),
        },
        "tls": _certificate(view.tls),
        "messages": {
            "in": counters.messages_in,
            "out": counters.messages_out,
            "bytes_out": counters.bytes_out,
        },
        "costs": costs_report(view),
    }


def costs_report(view: NodeView) -> dict[str, Any]:
    """What CPU and memory costs can be worked out from: totals of one moment, and a connection's memory.

    `messages_in_total` counts a message once; each of `feed_readers` processes takes it in.
    """
    counters, memory = view.counters, view.connection_memory
    return {
        "cpu_seconds_total": round(view.cpu_seconds_total, 3),
        "deliveries_total": counters.messages_out,
        "replayed_total": counters.messages_replayed,
        "messages_in_total": counters.messages_in,
        "feed_readers": len(view.processes),
        "memory_bytes_per_connection": None if memory is None else memory.bytes_each,
        "memory_over_connections": 0 if memory is None else memory.connections,
    }


def _certificate(tls: TlsStatus | None) -> dict[str, Any]:
    if tls is None:
        return {"enabled": False, "certificate_ends": None, "error": None}
    ends = datetime.fromtimestamp(tls.ends_at, UTC).isoformat().replace("+00:00", "Z")
    return {"enabled": True, "certificate_ends": ends, "error": tls.error}


def drain_report(drain: DrainStatus) -> dict[str, Any]:
    """A drain as `/status` and the answer to `PUT /drain` show it."""
    return {
        "state": drain.state,
        "remaining": drain.remaining,
        "rate_per_second": round(drain.rate_per_second, 2),
        "seconds_left": round(drain.seconds_left, 1),
    }


def health_report(view: NodeView) -> dict[str, Any]:
    """The body of `GET /health`.

    `unhealthy`: clients don't get what they came for (no feed), or none gets in. `degraded`: close to that.
    """
    settings, feed = view.settings, view.feed
    warnings: list[str] = []
    errors: list[str] = []
    nats = "paused" if feed.paused else "connected"
    if not feed.connected:
        nats = "disconnected"
        errors.append("NATS is not connected")
    if feed.paused:
        warnings.append("reading from NATS is paused: CPU above WS_CPU_PAUSE_THRESHOLD")
    if feed.problem is not None:
        errors.append(feed.problem)
    if view.settings_error is not None:
        warnings.append(f"settings file: {view.settings_error}")
    if view.tls is not None:
        if view.tls.error is not None:
            warnings.append(f"certificate: {view.tls.error}")
        if view.tls.ends_at <= time.time():
            errors.append("the client port's certificate has ended")
    if view.drain.state != "none":
        warnings.append(f"draining: {view.drain.state}")
    memory = {
        "used_mb": round(view.memory_bytes / _MEBIBYTE, 2),
        "limit_mb": round(settings.memory_limit / _MEBIBYTE, 2),
        **_share("memory", view.memory_bytes, settings.memory_limit, MEMORY_REJECT_PERCENT, warnings, errors),
    }
    checks = {
        "nats": {"status": nats, "healthy": feed.connected and feed.problem is None},
        "capacity": {
            "current": view.connections,
            "max": settings.max_connections,
            **_share("connections", view.connections, settings.max_connections, 100.0, warnings, errors),
        },
        "goroutines": {
            "current": view.goroutines,
            "limit": settings.max_goroutines,
            **_share("goroutines", view.goroutines, settings.max_goroutines, 100.0, warnings, errors),
        },
        "memory": memory,
        "cpu": {
            "percentage": round(view.cpu_percent, 2),
            "threshold": settings.cpu_reject_threshold,
            "healthy": view.cpu_percent <= settings.cpu_reject_threshold,
        },
        "limits": {name: getattr(settings, name) for name in _LIMITS},
    }
    if not view.cpu_percent <= settings.cpu_reject_threshold:
        warnings.append(
            f"CPU at {view.cpu_percent:.1f} %, above {settings.cpu_reject_threshold:g} %: "
            "new connections are refused"
        )
    return {
        "status": "unhealthy" if errors else "degraded" if warnings else "healthy",
        "healthy": not errors,
        "checks": checks,
        "warnings": warnings,
        "errors": errors,
        "uptime": _uptime(view),
    }


def _share(
    name: str, current: float, limit: float, full_percent: float, warnings: list[str], errors: list[str]
) -> dict[str, Any]:
    """Percentage and health of what has a limit; tells on the way when it is full or nearly so."""
    percent = 100 * current / limit
    healthy = percent < full_percent
    if not healthy:
        errors.append(f"{name} at {percent:.1f} % of the limit: new connections are refused")
    elif percent > full_percent * _WARN_PERCENT / 100:
        warnings.append(f"{name} at {percent:.1f} % of the limit")
    return {"percentage": round(percent, 2), "healthy": healthy}


def _uptime(view: NodeView) -> float:
    return round(time.monotonic() - view.started_at, 1)
