"""What a kubeconfig's context says beside credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

from wsfleet.kube.login import Login

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT = "default"


def namespace_of(login: Login) -> str:
    """The namespace that kubectl would take: the context's, in a pod its own; else `default`."""
    if login.inside:
        return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else _DEFAULT
    place = login.kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION
    merged: Any = KubeConfigMerger(place).config  # type: ignore[no-untyped-call]
    written = merged.value if merged is not None else {}
    name = login.context or written.get("current-context")
    for one in written.get("contexts") or ():
        if one.value.get("name") == name:
            return str((one.value.get("context") or {}).get("namespace") or _DEFAULT)
    return _DEFAULT
