"""The pods of a fleet as they are written, field by field."""

from __future__ import annotations

from typing import Any

from tests.support.fleets import IMAGE, build_context
from wsfleet.resources import build_replicaset, shape_hash

OWNER = {
    "apiVersion": "wsfleet.io/v1alpha1",
    "kind": "WsFleet",
    "name": "odin",
    "uid": "7d9c3f8e-0000-4000-8000-000000000001",
    "controller": True,
    "blockOwnerDeletion": True,
}


def pod(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = build_replicaset(build_context(**spec))["spec"]["template"]["spec"]
    return found


def container(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(**spec)["containers"][0]
    return found


def test_the_replicaset_of_the_smallest_fleet() -> None:
    context = build_context()
    shape = shape_hash(context)
    built = build_replicaset(context, 1)
    assert built["metadata"] == {
        "name": f"odin-{shape}",
        "namespace": "games",
        "labels": {
            "app.kubernetes.io/name": "wsnode",
            "app.kubernetes.io/instance": "odin",
            "app.kubernetes.io/managed-by": "wsfleet",
            "wsfleet.io/fleet": "odin",
            "wsfleet.io/shape": shape,
        },
        "ownerReferences": [OWNER],
    }
    assert built["spec"]["replicas"] == 1
    assert built["spec"]["selector"] == {
        "matchLabels": {"wsfleet.io/fleet": "odin", "wsfleet.io/shape": shape}
    }
    assert built["spec"]["template"]["metadata"] == {
        "labels": {
            "app.kubernetes.io/name": "wsnode",
            "app.kubernetes.io/instance": "odin",
            "app.kubernetes.io/managed-by": "wsfleet",
            "wsfleet.io/fleet": "odin",
            "wsfleet.io/shape": shape,
            "wsfleet.io/serving": "true",
        },
        "annotations": {"kubectl.kubernetes.io/default-container": "wsnode"},
    }


def test_it_is_created_without_pods_unless_told() -> None:
    assert build_replicaset(build_context())["spec"]["replicas"] == 0


def test_the_pod_of_the_smallest_fleet() -> None:
    built = pod()
    del built["containers"]
    assert built == {
        "volumes": [
            {"name": "settings", "configMap": {"name": "odin-settings"}},
            {"name": "token", "secret": {"secretName": "odin-admin", "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
        "terminationGracePeriodSeconds": 340,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"wsfleet.io/fleet": "odin"}},
            }
        ],
    }


def test_the_container_of_the_smallest_fleet() -> None:
    assert container() == {
        "name": "wsnode",
        "image": IMAGE,
        "command": ["wsnode", "serve"],
        "ports": [
            {"name": "ws", "containerPort": 3002, "protocol": "TCP"},
            {"name": "admin", "containerPort": 9102, "protocol": "TCP"},
        ],
        "env": [
            {"name": "NATS_URL", "value": "nats://nats:4222"},
            {"name": "WS_ADMIN_TOKEN_FILE", "value": "/etc/wsnode/token/tokens"},
            {"name": "WS_SETTINGS_FILE", "value": "/etc/wsnode/settings/settings.env"},
        ],
        "resources": {
            "requests": {"cpu": "450m", "memory": "500Mi"},
            "limits": {"cpu": "1800m", "memory": "1792Mi"},
        },
        "startupProbe": {
            "httpGet": {"path": "/livez", "port": "admin"},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 120,
        },
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": "admin"},
            "periodSeconds": 20,
            "timeoutSeconds": 15,
            "failureThreshold": 6,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "admin"},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/wsnode/settings", "readOnly": True},
            {"name": "token", "mountPath": "/etc/wsnode/token", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def test_only_settings_that_can_not_change_while_running_are_in_the_environment() -> None:
    environment = container(
        overrides={"logFormat": "text", "logLevel": "debug", "maxConnections": 9000},
        nats={
            "url": "nats://a:4222,nats://b:4222",
            "stream": {"name": "GAMES", "subjects": ["game.>"], "maxAge": "1m", "maxBytes": "100Mi"},
        },
    )["env"]
    assert environment == [
        {"name": "LOG_FORMAT", "value": "text"},
        {"name": "NATS_URL", "value": "nats://a:4222,nats://b:4222"},
        {"name": "JS_STREAM_NAME", "value": "GAMES"},
        {"name": "JS_STREAM_SUBJECTS", "value": "game.>"},
        {"name": "JS_STREAM_MAX_AGE", "value": "60s"},
        {"name": "JS_STREAM_MAX_BYTES", "value": "104857600"},
        {"name": "WS_ADMIN_TOKEN_FILE", "value": "/etc/wsnode/token/tokens"},
        {"name": "WS_SETTINGS_FILE", "value": "/etc/wsnode/settings/settings.env"},
    ]


def test_nats_credentials_are_mounted_as_a_file() -> None:
    nats = {"url": "tls://nats:4222", "credentialsSecret": {"name": "nats-user", "key": "user.creds"}}
    built = pod(nats=nats)
    assert built["volumes"][-1] == {
        "name": "nats-credentials",
        "secret": {
            "secretName": "nats-user",
            "defaultMode": 0o440,
            "items": [{"key": "user.creds", "path": "user.creds"}],
        },
    }
    assert built["containers"][0]["volumeMounts"][-1] == {
        "name": "nats-credentials",
        "mountPath": "/etc/wsnode/nats",
        "readOnly": True,
    }
    assert {"name": "NATS_CREDENTIALS_FILE", "value": "/etc/wsnode/nats/user.creds"} in built["containers"][
        0
    ]["env"]


def test_a_certificate_is_mounted_as_a_directory() -> None:
    built = pod(tls={"secretName": "odin-tls"})
    (container,) = built["containers"]
    assert built["volumes"][-1] == {
        "name": "tls",
        "secret": {"secretName": "odin-tls", "defaultMode": 0o440},
    }
    assert container["volumeMounts"][-1] == {"name": "tls", "mountPath": "/etc/wsnode/tls", "readOnly": True}
    assert {"name": "WS_TLS_CERT_FILE", "value": "/etc/wsnode/tls/tls.crt"} in container["env"]
    assert {"name": "WS_TLS_KEY_FILE", "value": "/etc/wsnode/tls/tls.key"} in container["env"]


def test_the_template_is_merged_and_can_not_take_the_operators_place() -> None:
    built = build_replicaset(
        build_context(
            imagePullPolicy="Always",
            imagePullSecrets=[{"name": "registry"}],
            template={
                "labels": {"team": "games", "app.kubernetes.io/component": "ws"},
                "annotations": {"example.com/note": "x"},
                "nodeSelector": {"pool": "ws"},
                "tolerations": [{"key": "pool", "operator": "Equal", "value": "ws", "effect": "NoSchedule"}],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
                            ]
                        }
                    },
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
                        ]
                    },
                },
                "topologySpread": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
                "priorityClass": "important",
                "env": [{"name": "TZ", "value": "UTC"}],
                "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
            },
        )
    )["spec"]["template"]
    assert built["metadata"]["labels"]["team"] == "games"
    assert built["metadata"]["labels"]["wsfleet.io/serving"] == "true"
    assert built["metadata"]["annotations"]["example.com/note"] == "x"
    spec = built["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["nodeSelector"] == {"pool": "ws"}
    assert spec["tolerations"] == [
        {"key": "pool", "operator": "Equal", "value": "ws", "effect": "NoSchedule"}
    ]
    assert spec["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
                ]
            }
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
            ]
        },
    }
    assert spec["topologySpreadConstraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"wsfleet.io/fleet": "odin"}},
        }
    ]
    assert spec["priorityClassName"] == "important"
    node = spec["containers"][0]
    assert node["imagePullPolicy"] == "Always"
    assert node["env"][-1] == {"name": "TZ", "value": "UTC"}
    assert node["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}


def test_the_grace_period_holds_the_drain_and_ends_at_540_seconds() -> None:
    assert pod(drain={"delaySeconds": 5, "timeoutSeconds": 200})["terminationGracePeriodSeconds"] == 235
    assert pod(drain={"delaySeconds": 300, "timeoutSeconds": 500})["terminationGracePeriodSeconds"] == 540


def test_limits_are_what_the_machine_has_available_whatever_a_lower_override_says() -> None:
    assert container(overrides={"cpuLimit": 1, "memoryLimit": "1Gi"})["resources"]["limits"] == {
        "cpu": "1800m",
        "memory": "1792Mi",
    }
    assert container(overrides={"cpuLimit": 2})["resources"]["limits"]["cpu"] == "2"


def test_a_restart_request_is_copied_into_the_template() -> None:
    built = build_replicaset(build_context(annotations={"wsfleet.io/restartedAt": "2026-01-31T08:00:00Z"}))
    annotations = built["spec"]["template"]["metadata"]["annotations"]
    assert annotations["wsfleet.io/restartedAt"] == "2026-01-31T08:00:00Z"
