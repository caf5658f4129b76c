"""The pod template of a node: restricted, read-only, probed so that load never kills it."""

from __future__ import annotations

from typing import Any

from wsfleet.api import Template, TopologySpread
from wsfleet.api.quantities import format_bytes, format_cpu
from wsfleet.resources import names
from wsfleet.resources.context import BuildContext
from wsfleet.resources.settings import fixed_environment
from wsfleet.sizing.rules import grace_seconds

_GROUP_READABLE = 0o440
_MACHINE = "kubernetes.io/hostname"

# A loaded node that is killed sheds its clients onto its neighbours, which then fall too: only an
# event loop that has not turned for two minutes is given up.
_LIVENESS = {"periodSeconds": 20, "timeoutSeconds": 15, "failureThreshold": 6}
_STARTUP = {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 120}
# A draining node must leave the Service soon; three in a row, so that one slow answer does not do it.
_READINESS = {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 3}


def build_pod_template(context: BuildContext, shape: str) -> dict[str, Any]:
    """The pod template of a ReplicaSet."""
    extra = context.spec.template
    labels = names.fleet_labels(context.name) | {
        names.SHAPE_LABEL: shape,
        names.SERVING_LABEL: names.SERVING,
    }
    annotations = dict(extra.annotations)
    annotations["kubectl.kubernetes.io/default-container"] = names.CONTAINER
    if context.restarted_at:
        annotations[names.RESTARTED_AT_ANNOTATION] = context.restarted_at
    return {
        "metadata": {"labels": dict(extra.labels) | labels, "annotations": annotations},
        "spec": _pod_spec(context),
    }


def _pod_spec(context: BuildContext) -> dict[str, Any]:
    return {
        "containers": [_container(context)],
        "volumes": _volumes(context),
        "terminationGracePeriodSeconds": grace_seconds(
            context.settings.drain_delay, context.settings.drain_timeout
        ),
        "automountServiceAccountToken": False,
        # Else a Service named nats would put NATS_PORT=tcp://… into the node's environment.
        "enableServiceLinks": False,
        # Else the node is process 1, for which the kernel drops a SIGTERM that comes before Python heeds it.
        "shareProcessNamespace": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.USER_ID,
            "runAsGroup": names.USER_ID,
            "fsGroup": names.USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **_image_pull_secrets(context),
        **_placement(context),
    }


def _container(context: BuildContext) -> dict[str, Any]:
    environment = fixed_environment(context.settings)
    extra = [{"name": item.name, "value": item.value} for item in context.spec.template.env]
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": context.image,
        "command": list(names.COMMAND),
        "ports": [
            {"name": names.PORT_WS_NAME, "containerPort": names.PORT_WS, "protocol": "TCP"},
            {"name": names.PORT_ADMIN_NAME, "containerPort": names.PORT_ADMIN, "protocol": "TCP"},
        ],
        "env": [{"name": name, "value": value} for name, value in environment.items()] + extra,
        "resources": pod_resources(context),
        "startupProbe": _probe("/livez", _STARTUP),
        "livenessProbe": _probe("/livez", _LIVENESS),
        "readinessProbe": _probe("/readyz", _READINESS),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(context),
    }
    if context.spec.image_pull_policy is not None:
        container["imagePullPolicy"] = context.spec.image_pull_policy
    return container


def _probe(path: str, pace: dict[str, int]) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": names.PORT_ADMIN_NAME}, **pace}


def pod_resources(context: BuildContext) -> dict[str, Any]:
    """Limits from the plan; requests from the user where they are given, else from the plan."""
    cpu_millis, memory_bytes = context.requests.cpu_millis, context.requests.memory_bytes
    wanted = context.spec.template.resources
    if wanted is not None and wanted.requests is not None:
        cpu_millis = wanted.requests.cpu_millis or cpu_millis
        memory_bytes = wanted.requests.memory_bytes or memory_bytes
    return {
        "requests": {"cpu": format_cpu(cpu_millis), "memory": format_bytes(memory_bytes)},
        "limits": {
            "cpu": format_cpu(context.limits.cpu_millis),
            "memory": format_bytes(context.limits.memory_bytes),
        },
    }


def _volumes(context: BuildContext) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "settings", "configMap": {"name": names.configmap_name(context.name)}},
        {
            "name": "token",
            "secret": {"secretName": names.secret_name(context.name), "defaultMode": _GROUP_READABLE},
        },
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    credentials = context.spec.nats.credentials_secret
    if credentials is not None:
        volumes.append(
            {
                "name": "nats-credentials",
                "secret": {
                    "secretName": credentials.name,
                    "defaultMode": _GROUP_READABLE,
                    "items": [{"key": credentials.key, "path": credentials.key}],
                },
            }
        )
    if context.spec.tls is not None:
        secret = {"secretName": context.spec.tls.secret_name, "defaultMode": _GROUP_READABLE}
        volumes.append({"name": "tls", "secret": secret})
    return volumes


def _mounts(context: BuildContext) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "settings", "mountPath": names.SETTINGS_DIRECTORY, "readOnly": True},
        {"name": "token", "mountPath": names.TOKEN_DIRECTORY, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if context.spec.nats.credentials_secret is not None:
        mounts.append(
            {"name": "nats-credentials", "mountPath": names.CREDENTIALS_DIRECTORY, "readOnly": True}
        )
    if context.spec.tls is not None:
        mounts.append({"name": "tls", "mountPath": names.TLS_DIRECTORY, "readOnly": True})
    return mounts


def _image_pull_secrets(context: BuildContext) -> dict[str, Any]:
    secrets = [{"name": secret.name} for secret in context.spec.image_pull_secrets]
    return {"imagePullSecrets": secrets} if secrets else {}


def _placement(context: BuildContext) -> dict[str, Any]:
    extra = context.spec.template
    found: dict[str, Any] = {"topologySpreadConstraints": _spread(context.name, extra)}
    if extra.node_selector:
        found["nodeSelector"] = dict(extra.node_selector)
    if extra.tolerations:
        found["tolerations"] = [as_written(item) for item in extra.tolerations]
    if extra.affinity is not None:
        found["affinity"] = as_written(extra.affinity)
    if extra.priority_class is not None:
        found["priorityClassName"] = extra.priority_class
    return found


def _spread(fleet: str, extra: Template) -> list[dict[str, Any]]:
    return [
        {
            "maxSkew": item.max_skew,
            "topologyKey": item.topology_key,
            "whenUnsatisfiable": item.when_unsatisfiable,
            "labelSelector": {"matchLabels": names.fleet_selector(fleet)},
        }
        for item in extra.topology_spread or [TopologySpread(topology_key=_MACHINE)]
    ]


def as_written(model: Any) -> dict[str, Any]:
    """A part of the spec in the pod's own terms; what is as by default stays out."""
    return dict(model.model_dump(mode="json", by_alias=True, exclude_defaults=True))
