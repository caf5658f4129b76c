"""How a fleet is reached: the Service for clients, the NetworkPolicy around both ports."""

from __future__ import annotations

from typing import Any

from wsfleet.resources import names
from wsfleet.resources.context import BuildContext

OPERATOR_APP = "wsfleet-operator"
"""The operator's own `app.kubernetes.io/name`, as the chart labels it."""


def build_service(context: BuildContext) -> dict[str, Any]:
    """The Service that clients connect to; it sends them to serving pods only (steering)."""
    wanted = context.spec.service
    spec: dict[str, Any] = {
        "type": wanted.type,
        "selector": names.serving_selector(context.name),
        "ports": [
            {
                "name": "https" if context.spec.tls is not None else names.PORT_WS_NAME,
                "port": wanted.port,
                "targetPort": names.PORT_WS_NAME,
                "protocol": "TCP",
                "appProtocol": "kubernetes.io/wss" if context.spec.tls is not None else "kubernetes.io/ws",
            }
        ],
    }
    if wanted.ip_family_policy is not None:
        spec["ipFamilyPolicy"] = wanted.ip_family_policy
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": context.metadata(names.service_name(context.name), wanted.annotations),
        "spec": spec,
    }


def build_networkpolicy(context: BuildContext) -> dict[str, Any]:
    """Clients may reach the client port from anywhere, the admin port only the operator and its peers.

    The kubelet's probes come from the pod's own machine, which is always allowed.
    """
    admin: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": names.PORT_ADMIN}]}
    if context.operator_namespace:
        operator = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": context.operator_namespace}},
            "podSelector": {"matchLabels": {names.NAME_LABEL: OPERATOR_APP}},
        }
        admin["from"] = [operator, *(dict(peer) for peer in context.admin_peers)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": context.metadata(names.networkpolicy_name(context.name)),
        "spec": {
            "podSelector": {"matchLabels": names.fleet_selector(context.name)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": names.PORT_WS}]}, admin],
        },
    }
