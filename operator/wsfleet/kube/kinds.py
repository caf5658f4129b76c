"""The kinds of object that the operator touches, and their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]
"""An object as the API server sends it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: where it lives under the API server's root."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The path of the collection (without `name`), of one object, or of its subresource."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


WSFLEET = Kind("wsfleet.io", "v1alpha1", "wsfleets", "WsFleet")
POD = Kind("", "v1", "pods", "Pod")
REPLICASET = Kind("apps", "v1", "replicasets", "ReplicaSet")
SERVICE = Kind("", "v1", "services", "Service")
CONFIGMAP = Kind("", "v1", "configmaps", "ConfigMap")
SECRET = Kind("", "v1", "secrets", "Secret")
PDB = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORKPOLICY = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
PODMONITOR = Kind("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor")
PROMETHEUSRULE = Kind("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")
NODE = Kind("", "v1", "nodes", "Node", namespaced=False)
EVENT = Kind("events.k8s.io", "v1", "events", "Event")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")

_ALL = (
    *(WSFLEET, POD, REPLICASET, SERVICE, CONFIGMAP, SECRET, PDB, NETWORKPOLICY),
    *(PODMONITOR, PROMETHEUSRULE, NODE, EVENT, LEASE),
)
_BY_NAME = {(kind.api_version, kind.kind): kind for kind in _ALL}


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind of an object; KeyError for one that the operator does not handle."""
    return _BY_NAME[obj["apiVersion"], obj["kind"]]


def name_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("namespace") or "")
