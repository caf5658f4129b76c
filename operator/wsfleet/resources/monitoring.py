"""For clusters with the Prometheus operator: what to scrape, and the seed document's alerts.

Source of the alerts: the seed, "Monitoring Alerts", with this fleet's own figures in place of the
seed machine's; GoroutineLimit is its section 4 ("if hit, indicates a leak").
"""

from __future__ import annotations

from typing import Any

from wsfleet.api import ConnectionsTrigger, CpuTrigger
from wsfleet.resources import names
from wsfleet.resources.context import BuildContext


def build_podmonitor(context: BuildContext) -> dict[str, Any]:
    """Scrapes all pods of the fleet, serving or not; their series get the label `fleet`."""
    source = "__meta_kubernetes_pod_label_" + "".join(
        letter if letter.isalnum() else "_" for letter in names.FLEET_LABEL
    )
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": context.metadata(names.monitor_name(context.name)),
        "spec": {
            "selector": {"matchLabels": names.fleet_selector(context.name)},
            "podMetricsEndpoints": [
                {
                    "port": names.PORT_ADMIN_NAME,
                    "path": "/metrics",
                    "interval": "15s",
                    "relabelings": [{"sourceLabels": [source], "targetLabel": "fleet"}],
                }
            ],
        },
    }


def build_prometheusrule(context: BuildContext) -> dict[str, Any]:
    """The alerts of the fleet, a node each."""
    settings, autoscaling = context.settings, context.spec.autoscaling
    filled = (autoscaling.connections if autoscaling else ConnectionsTrigger()).target_percent
    busy = (autoscaling.cpu if autoscaling else CpuTrigger()).target_percent
    of = f'{{namespace="{context.namespace}",fleet="{context.name}"}}'
    most, reject = settings.max_connections, settings.cpu_reject_threshold
    rules = [
        _alert(
            "HighConnectionCount",
            f"ws_connections_current{of} > {most * filled // 100}",
            "5m",
            "warning",
            f"{{{{ $labels.pod }}}} has more than {filled} % of its {most} connections",
        ),
        _alert(
            "HighCPU",
            f"ws_cpu_percent{of} > {busy}",
            "5m",
            "warning",
            f"{{{{ $labels.pod }}}} uses more than {busy} % of its CPU",
        ),
        _alert(
            "CPURejectThreshold",
            f"ws_cpu_percent{of} > {reject:g}",
            "1m",
            "critical",
            f"{{{{ $labels.pod }}}} is above {reject:g} % CPU and refuses new clients",
        ),
        _alert(
            "ConnectionLimit",
            f"ws_connections_current{of} >= {most}",
            "1m",
            "critical",
            f"{{{{ $labels.pod }}}} is full: {most} connections",
        ),
        _alert(
            "ConnectionsRejected",
            f"rate(ws_connections_rejected_total{of}[5m]) > 0",
            None,
            "error",
            "{{ $labels.pod }} refuses clients: {{ $labels.reason }}",
        ),
        _alert(
            "GoroutineLimit",
            f"ws_goroutines_current{of} >= {settings.max_goroutines}",
            "1m",
            "critical",
            f"{{{{ $labels.pod }}}} has {settings.max_goroutines} units of concurrent work: a leak",
        ),
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": context.metadata(names.monitor_name(context.name)),
        "spec": {"groups": [{"name": f"wsfleet-{context.namespace}-{context.name}", "rules": rules}]},
    }


def _alert(name: str, expression: str, lasting: str | None, severity: str, summary: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": name, "expr": expression}
    if lasting is not None:
        rule["for"] = lasting
    return rule | {"labels": {"severity": severity}, "annotations": {"summary": summary}}
