"""Everything of a fleet but its pods, as it is written."""

from __future__ import annotations

import base64

import pytest

from tests.support.fleets import build_context
from wsfleet.resources import (
    build_configmap,
    build_networkpolicy,
    build_pdb,
    build_podmonitor,
    build_prometheusrule,
    build_secret,
    build_service,
    settings_file,
    settings_hash,
)
from wsnode.config import settings_from_env

METADATA = {
    "name": "odin",
    "namespace": "games",
    "labels": {
        "app.kubernetes.io/name": "wsnode",
        "app.kubernetes.io/instance": "odin",
        "app.kubernetes.io/managed-by": "wsfleet",
        "wsfleet.io/fleet": "odin",
    },
    "ownerReferences": [
        {
            "apiVersion": "wsfleet.io/v1alpha1",
            "kind": "WsFleet",
            "name": "odin",
            "uid": "7d9c3f8e-0000-4000-8000-000000000001",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ],
}


def test_service() -> None:
    assert build_service(build_context()) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": METADATA,
        "spec": {
            "type": "ClusterIP",
            "selector": {"wsfleet.io/fleet": "odin", "wsfleet.io/serving": "true"},
            "ports": [
                {
                    "name": "ws",
                    "port": 80,
                    "targetPort": "ws",
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/ws",
                }
            ],
        },
    }


def test_service_as_the_user_wants_it() -> None:
    built = build_service(
        build_context(
            service={
                "type": "LoadBalancer",
                "port": 8080,
                "ipFamilyPolicy": "PreferDualStack",
                "annotations": {"example.com/lb": "internal"},
            }
        )
    )
    assert built["metadata"] == METADATA | {"annotations": {"example.com/lb": "internal"}}
    assert built["spec"]["type"] == "LoadBalancer"
    assert built["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    assert built["spec"]["ports"][0]["port"] == 8080


def test_a_service_of_nodes_that_speak_tls() -> None:
    (port,) = build_service(build_context(tls={"secretName": "odin-tls"}, service={"port": 443}))["spec"][
        "ports"
    ]
    assert port == {
        "name": "https",
        "port": 443,
        "targetPort": "ws",
        "protocol": "TCP",
        "appProtocol": "kubernetes.io/wss",
    }


def test_no_pod_may_be_evicted() -> None:
    assert build_pdb(build_context()) == {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": METADATA,
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"wsfleet.io/fleet": "odin"}}},
    }


def test_the_configmap_holds_the_live_settings_and_no_others() -> None:
    built = build_configmap(build_context(overrides={"logLevel": "debug", "logFormat": "text"}))
    assert built["metadata"] == METADATA | {"name": "odin-settings"}
    assert list(built["data"]) == ["settings.env"]
    lines = built["data"]["settings.env"].splitlines()
    assert lines == sorted(lines)
    assert "WS_MAX_CONNECTIONS=10000" in lines
    assert "WS_CPU_REJECT_THRESHOLD=75.0" in lines
    assert "WS_DRAIN_TIMEOUT=300s" in lines
    assert "LOG_LEVEL=debug" in lines
    assert not [line for line in lines if line.startswith(("LOG_FORMAT", "NATS_", "JS_", "WS_ADDR"))]


def test_a_node_reads_the_file_as_it_was_meant() -> None:
    context = build_context(
        overrides={"allowedOrigins": ["https://a.example"], "pingInterval": "500s", "pingTimeout": "17m"}
    )
    lines = settings_file(context.settings).splitlines()
    read = settings_from_env(dict(line.split("=", 1) for line in lines), strict=True)
    assert read.to_env(live=True) == context.settings.to_env(live=True)
    assert read.ping_timeout == 1020
    assert read.allowed_origins == ("https://a.example",)


def test_the_hash_is_of_the_files_bytes() -> None:
    assert settings_hash("WS_MAX_CONNECTIONS=10000\n") == "ec93f19922335ca0"


def test_the_secret_holds_one_token_a_line() -> None:
    built = build_secret(build_context(), ["new", "old"])
    assert built["metadata"] == METADATA | {"name": "odin-admin"}
    assert built["type"] == "Opaque"
    assert base64.b64decode(built["data"]["tokens"]) == b"new\nold\n"


@pytest.mark.parametrize("tokens", [[], [""], ["two words"], ["two\nlines"]])
def test_a_token_that_a_node_could_not_read_is_refused(tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="tokens must be"):
        build_secret(build_context(), tokens)


def test_the_admin_port_is_for_the_operator_and_prometheus() -> None:
    built = build_networkpolicy(build_context())
    assert built["metadata"] == METADATA
    assert built["spec"] == {
        "podSelector": {"matchLabels": {"wsfleet.io/fleet": "odin"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [{"protocol": "TCP", "port": 3002}]},
            {
                "ports": [{"protocol": "TCP", "port": 9102}],
                "from": [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": "wsfleet-system"}
                        },
                        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "wsfleet-operator"}},
                    },
                    {
                        "namespaceSelector": {},
                        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
                    },
                ],
            },
        ],
    }


def test_an_operator_outside_of_the_cluster_reaches_the_admin_port() -> None:
    built = build_networkpolicy(build_context(operator_namespace=""))
    assert built["spec"]["ingress"][1] == {"ports": [{"protocol": "TCP", "port": 9102}]}


def test_podmonitor() -> None:
    built = build_podmonitor(build_context())
    assert (built["apiVersion"], built["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert built["spec"] == {
        "selector": {"matchLabels": {"wsfleet.io/fleet": "odin"}},
        "podMetricsEndpoints": [
            {
                "port": "admin",
                "path": "/metrics",
                "interval": "15s",
                "relabelings": [
                    {"sourceLabels": ["__meta_kubernetes_pod_label_wsfleet_io_fleet"], "targetLabel": "fleet"}
                ],
            }
        ],
    }


def test_the_alerts_are_the_seeds_with_this_fleets_figures() -> None:
    built = build_prometheusrule(
        build_context(
            overrides={"maxConnections": 5000, "cpuRejectThreshold": 70}, autoscaling={"maxReplicas": 3}
        )
    )
    of = '{namespace="games",fleet="odin"}'
    rules = built["spec"]["groups"][0]["rules"]
    assert [(rule["alert"], rule["expr"], rule.get("for"), rule["labels"]["severity"]) for rule in rules] == [
        ("HighConnectionCount", f"ws_connections_current{of} > 4000", "300s", "warning"),
        ("HighCPU", f"ws_cpu_percent{of} > 60", "300s", "warning"),
        ("CPURejectThreshold", f"ws_cpu_percent{of} > 70", "60s", "critical"),
        ("ConnectionLimit", f"ws_connections_current{of} >= 5000", "60s", "critical"),
        ("ConnectionsRejected", f"rate(ws_connections_rejected_total{of}[5m]) > 0", None, "error"),
        ("GoroutineLimit", f"ws_goroutines_current{of} >= ws_goroutines_limit{of}", "60s", "critical"),
    ]
