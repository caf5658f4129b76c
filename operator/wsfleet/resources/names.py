"""Every name, label and annotation that the operator gives or looks for, in one place."""

from __future__ import annotations

FIELD_MANAGER = "wsfleet"
"""Field manager of everything the operator applies."""

# Labels.
NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
FLEET_LABEL = "wsfleet.io/fleet"
SHAPE_LABEL = "wsfleet.io/shape"
SERVING_LABEL = "wsfleet.io/serving"
"""On pods that the Service sends clients to; in the template, so that pods serve without an operator."""

NODE_APP = "wsnode"
MANAGER = "wsfleet"
SERVING = "true"

# Annotations.
SETTINGS_HASH_ANNOTATION = "wsfleet.io/settings-hash"
"""Patched on running pods: any change of a pod makes its kubelet renew the mounted ConfigMap at once."""
RESTARTED_AT_ANNOTATION = "wsfleet.io/restartedAt"
"""On a WsFleet: a new value replaces its pods; copied into the pod template."""
REBALANCE_ANNOTATION = "wsfleet.io/rebalance"
"""On a WsFleet, with the time of the request: even the nodes out now, once."""
REPLACE_ANNOTATION = "wsfleet.io/replace"
"""On a pod, with the time of the request: replace it, as one on a cordoned machine."""
PAUSED_ANNOTATION = "wsfleet.io/paused"
PAUSED_SCALE_IN_ANNOTATION = "wsfleet.io/paused-scale-in"
PAUSED_SCALE_OUT_ANNOTATION = "wsfleet.io/paused-scale-out"
DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
"""The ReplicaSet controller deletes ready pods of low cost first."""
VICTIM_ANNOTATION = "wsfleet.io/victim"
"""On a pod that is being taken away, with the moment when it was chosen."""

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
TLS_DIRECTORY = "/etc/wsnode/tls"
TLS_CERT_KEY, TLS_KEY_KEY = "tls.crt", "tls.key"  # of a Secret of type kubernetes.io/tls


def service_name(fleet: str) -> str:
    """Of the Service that clients connect to."""
    return fleet


def pdb_name(fleet: str) -> str:
    """Of the PodDisruptionBudget."""
    return fleet


def networkpolicy_name(fleet: str) -> str:
    """Of the NetworkPolicy."""
    return fleet


def monitor_name(fleet: str) -> str:
    """Of the PodMonitor and the PrometheusRule."""
    return fleet


def configmap_name(fleet: str) -> str:
    """Of the ConfigMap with the live settings."""
    return f"{fleet}-settings"


def secret_name(fleet: str) -> str:
    """Of the Secret with the admin tokens."""
    return f"{fleet}-admin"


def replicaset_name(fleet: str, shape: str) -> str:
    """Of the ReplicaSet of one shape."""
    return f"{fleet}-{shape}"


def fleet_labels(fleet: str) -> dict[str, str]:
    """The labels of everything that belongs to a fleet."""
    return {
        NAME_LABEL: NODE_APP,
        INSTANCE_LABEL: fleet,
        MANAGED_BY_LABEL: MANAGER,
        FLEET_LABEL: fleet,
    }


def fleet_selector(fleet: str) -> dict[str, str]:
    """The labels that all pods of a fleet have, serving or not."""
    return {FLEET_LABEL: fleet}


def selector_text(fleet: str) -> str:
    """The same as text: for `status.selector` and for lists and watches."""
    return f"{FLEET_LABEL}={fleet}"


def serving_selector(fleet: str) -> dict[str, str]:
    """The labels of the pods that get new connections."""
    return {FLEET_LABEL: fleet, SERVING_LABEL: SERVING}
