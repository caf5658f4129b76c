"""Alert thresholds that follow from a plan (seed, "Monitoring Alerts")."""

from __future__ import annotations

from dataclasses import dataclass

from wsfleet.sizing.inputs import Triggers
from wsnode.config import Settings


@dataclass(frozen=True)
class Alert:
    """One alert: a PromQL expression over one node's metrics, held for so many seconds."""

    name: str
    severity: str
    expression: str
    for_seconds: int


def make_alerts(settings: Settings, trigger: int, triggers: Triggers) -> tuple[Alert, ...]:
    """The seed's five alerts, and the one for its goroutine limit ("if hit, indicates a leak")."""
    lasting = triggers.cpu_sustained_seconds
    return (
        Alert("HighConnectionCount", "warning", f"ws_connections_current > {trigger}", 300),
        Alert("HighCPU", "warning", f"ws_cpu_percent > {triggers.cpu_percent}", lasting),
        Alert("CPURejectThreshold", "critical", f"ws_cpu_percent > {settings.cpu_reject_threshold:g}", 60),
        Alert("ConnectionLimit", "critical", f"ws_connections_current >= {settings.max_connections}", 60),
        Alert("ConnectionsRejected", "error", "rate(ws_connections_rejected_total[5m]) > 0", 0),
        Alert("GoroutineLimit", "critical", "ws_goroutines_current >= ws_goroutines_limit", 60),
    )
