"""A window of steady traffic, and what the server, its clients and the rest spent in it."""

from __future__ import annotations

import time

from tests.bench.processes import core_busy_seconds
from tests.bench.session import Session

WARM_SECONDS = 1.0


def window(on: Session, rate: float, seconds: float) -> dict[str, float]:
    """Figures of traffic at `rate` messages a second; the publisher goes on afterwards."""
    on.publisher.ask(verb="rate", rate=rate)
    time.sleep(WARM_SECONDS)
    on.crowd.child.ask(verb="reset")
    before = _spent(on)
    time.sleep(seconds)
    after = _spent(on)
    seen = on.crowd.figures()
    span, messages = seen["seconds"], max(seen["messages"], 1)
    cpu, server, others = (b - a for a, b in zip(before, after, strict=True))
    latency: dict[str, float] = seen["latency_ms"]
    return {
        "us_per_delivery": cpu / messages * 1e6,
        "core_percent": cpu / span * 100,
        "p50_ms": latency.get("p50", 0.0),
        "p99_ms": latency.get("p99", 0.0),
        "deliveries_per_second": seen["messages"] / span,
        "bytes_per_delivery": seen["bytes"] / messages,
        "deliveries_per_read": seen["messages"] / max(seen["reads"], 1),
        "resident_kb": (on.resident_bytes() - on.base_bytes) / max(on.crowd.opened, 1) / 1024,
        "client_percent": seen["cpu_seconds"] / span * 100,
        "client_us": seen["cpu_seconds"] / messages * 1e6,
        "server_busy_percent": server / span * 100 / len(on.cores.server),
        "others_busy_percent": others / span * 100 / len(on.cores.others),
        "foreign_percent": max((server - cpu) / span * 100, 0.0),
        "closed": sum(seen["lost"].values()),
    }


def _spent(on: Session) -> tuple[float, float, float]:
    """CPU seconds of the server, of all on its cores, and of all on the others' cores."""
    server, others = on.cores.server, on.cores.others
    return (
        on.cpu_seconds(),
        sum(core_busy_seconds(core) for core in server),
        sum(core_busy_seconds(core) for core in others),
    )
