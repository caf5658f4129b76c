"""Every name, label and annotation that the operator gives or looks for, in one place."""

from __future__ import annotations

FIELD_MANAGER = "wsfleet"
"""Field manager of everything the operator applies."""

# Labels.
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_FLEET = "wsfleet.io/fleet"
LABEL_SHAPE = "wsfleet.io/shape"
LABEL_SERVING = "wsfleet.io/serving"
"""On pods that the Service sends clients to; in the template, so that pods serve without an operator."""

NODE_APP = "wsnode"
MANAGER = "wsfleet"
SERVING = "true"

# Annotations.
ANNOTATION_SETTINGS_HASH = "wsfleet.io/settings-hash"
"""Patched on running pods: any change of a pod makes its kubelet renew the mounted ConfigMap at once."""
ANNOTATION_RESTARTED_AT = "wsfleet.io/restartedAt"
"""On a WsFleet: a new value replaces its pods; copied into the pod template."""
ANNOTATION_PAUSED = "wsfleet.io/paused"
ANNOTATION_PAUSED_SCALE_IN = "wsfleet.io/paused-scale-in"
ANNOTATION_PAUSED_SCALE_OUT = "wsfleet.io/paused-scale-out"
ANNOTATION_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""The ReplicaSet controller deletes ready pods of low cost first."""

# The pod.
CONTAINER = "wsnode"
COMMAND = ("wsnode", "serve")
PORT_WS_NAME = "ws"
PORT_WS = 3002
PORT_ADMIN_NAME = "admin"
PORT_ADMIN = 9102
USER_ID = 1000

# Directories, never single files: a file mounted by subPath would not change with its ConfigMap.
SETTINGS_DIRECTORY = "/etc/wsnode/settings"
SETTINGS_KEY = "settings.env"
TOKEN_DIRECTORY = "/etc/wsnode/token"
TOKENS_KEY = "tokens"
CREDENTIALS_DIRECTORY = "/etc/wsnode/nats"


def service_name(fleet: str) -> str:
    return fleet


def pdb_name(fleet: str) -> str:
    return fleet


def networkpolicy_name(fleet: str) -> str:
    return fleet


def monitor_name(fleet: str) -> str:
    """Of the PodMonitor and the PrometheusRule."""
    return fleet


def configmap_name(fleet: str) -> str:
    return f"{fleet}-settings"


def secret_name(fleet: str) -> str:
    return f"{fleet}-admin"


def replicaset_name(fleet: str, shape: str) -> str:
    return f"{fleet}-{shape}"


def fleet_labels(fleet: str) -> dict[str, str]:
    """The labels of everything that belongs to a fleet."""
    return {
        LABEL_NAME: NODE_APP,
        LABEL_INSTANCE: fleet,
        LABEL_MANAGED_BY: MANAGER,
        LABEL_FLEET: fleet,
    }


def fleet_selector(fleet: str) -> dict[str, str]:
    """The labels that all pods of a fleet have, serving or not."""
    return {LABEL_FLEET: fleet}


def selector_text(fleet: str) -> str:
    """The same as text: for `status.selector` and for lists and watches."""
    return f"{LABEL_FLEET}={fleet}"


def serving_selector(fleet: str) -> dict[str, str]:
    """The labels of the pods that get new connections."""
    return {LABEL_FLEET: fleet, LABEL_SERVING: SERVING}
