"""What the builders build from: one value object a fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsfleet.api import API_VERSION, KIND, WsFleet, WsFleetSpec
from wsfleet.resources import names
from wsfleet.sizing import Plan, PodResources
from wsfleet.sizing.alerts import Alert
from wsnode.config import Settings

_US_PER_MILLI_CPU = 1000

Peer = Mapping[str, Any]
"""A peer of a NetworkPolicy: `namespaceSelector` and `podSelector`."""

PROMETHEUS: Peer = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}
"""Prometheus as its operator and its charts label it, in any namespace."""


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """One fleet, as its builders need it.

    `settings` are complete (see `settings_of`). `limits` is what a pod may use, `requests` what
    Kubernetes keeps for it, `alerts` are the plan's. `operator_namespace` is empty for an operator
    outside of the cluster: the admin port is then open to all pods, since nobody can say where it
    is called from.
    """

    name: str
    namespace: str
    uid: str
    spec: WsFleetSpec
    settings: Settings
    image: str
    limits: PodResources
    requests: PodResources
    alerts: tuple[Alert, ...]
    restarted_at: str = ""
    operator_namespace: str = ""
    admin_peers: tuple[Peer, ...] = (PROMETHEUS,)

    @classmethod
    def of(cls, fleet: WsFleet, plan: Plan, image: str, **more: Any) -> BuildContext:
        """The context of a fleet whose plan is made; `more` are the fields that neither tells."""
        return cls(
            name=fleet.metadata.name,
            namespace=fleet.metadata.namespace,
            uid=fleet.metadata.uid,
            spec=fleet.spec,
            settings=settings_of(plan.settings, fleet.spec),
            image=image,
            limits=_limits(plan),
            requests=plan.pod_requests,
            alerts=plan.alerts,
            restarted_at=fleet.metadata.annotations.get(names.RESTARTED_AT_ANNOTATION, ""),
            **more,
        )

    def metadata(self, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Metadata of an object of this fleet: labels, and the owner that its deletion follows."""
        found: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": names.fleet_labels(self.name),
            "ownerReferences": [self.owner()],
        }
        if annotations:
            found["annotations"] = dict(annotations)
        return found

    def owner(self) -> dict[str, Any]:
        """The owner reference: garbage collection cleans up after a fleet, no finalizer does."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def settings_of(planned: Settings, spec: WsFleetSpec) -> Settings:
    """A node's complete settings: what sizing planned, and the ports and files of a pod."""
    secret = spec.nats.credentials_secret
    return planned.model_copy(
        update={
            "nats_credentials_file": f"{names.CREDENTIALS_DIRECTORY}/{secret.key}" if secret else "",
            "tls_cert_file": f"{names.TLS_DIRECTORY}/{names.TLS_CERT_KEY}" if spec.tls else "",
            "tls_key_file": f"{names.TLS_DIRECTORY}/{names.TLS_KEY_KEY}" if spec.tls else "",
            "addr": f":{names.PORT_WS}",
            "admin_addr": f":{names.PORT_ADMIN}",
            "settings_file": f"{names.SETTINGS_DIRECTORY}/{names.SETTINGS_KEY}",
            "admin_token_file": f"{names.TOKEN_DIRECTORY}/{names.TOKENS_KEY}",
        }
    )


def _limits(plan: Plan) -> PodResources:
    """Limits of a pod: what the machine has available, or more where an override lets the node use more.

    A lower override is the node's own affair and live; limits of running pods stay as they are.
    """
    wanted = plan.pod_limits
    return PodResources(
        max(plan.capacity.available_cpu_us // _US_PER_MILLI_CPU, wanted.cpu_millis),
        max(plan.capacity.available_memory_bytes, wanted.memory_bytes),
    )
