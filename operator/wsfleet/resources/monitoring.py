"""For clusters with the Prometheus operator: what to scrape, and the seed document's alerts.

The alerts are the plan's (the seed, "Monitoring Alerts"), narrowed to the nodes of this fleet.
"""

from __future__ import annotations

import re
from typing import Any

from wsfleet.api.quantities import format_duration
from wsfleet.resources import names
from wsfleet.resources.context import BuildContext
from wsfleet.sizing.alerts import Alert

_METRIC = re.compile(r"\bws_[a-z_]+")


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
    """The alerts of the fleet, for each node of its own."""
    rules = [_rule(alert, context) for alert in context.alerts]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": context.metadata(names.monitor_name(context.name)),
        "spec": {"groups": [{"name": f"wsfleet-{context.namespace}-{context.name}", "rules": rules}]},
    }


def _rule(alert: Alert, context: BuildContext) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "alert": alert.name,
        "expr": _METRIC.sub(
            rf'\g<0>{{namespace="{context.namespace}",fleet="{context.name}"}}', alert.expression
        ),
    }
    if alert.for_seconds:
        rule["for"] = format_duration(alert.for_seconds)
    summary = f"{{{{ $labels.pod }}}}: {alert.expression} (now {{{{ $value }}}})"
    return rule | {"labels": {"severity": alert.severity}, "annotations": {"summary": summary}}
