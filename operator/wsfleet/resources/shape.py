"""The shape of a fleet's pods: a hash of what can't change in a running pod.

Two fleets' specs with one shape share a ReplicaSet; a new shape is a new ReplicaSet and a rollout.
The hash is made of what the user and the plan decide, not of the template's text, so that a new
release of the operator, whose template may differ in form, replaces no pod by itself.

Left out, because it must not cost a client its connection: live settings (they go by ConfigMap),
the plan's requests (only scheduling reads them), and the grace period (the operator drains before
it deletes; pods made later get the new one).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from wsfleet.resources.context import BuildContext
from wsfleet.resources.pod import as_written
from wsfleet.resources.settings import fixed_environment

HASH_LENGTH = 10
_FORM = 1
"""Raised when every fleet's pods must be replaced by an upgrade of the operator: said in the changelog."""


def shape_of(context: BuildContext) -> dict[str, Any]:
    """What the hash is made of: everything that only a new pod can take over."""
    spec = context.spec
    credentials = spec.nats.credentials_secret
    # Only where it is there: a fleet without it keeps the hash that it has.
    tls = {"tlsSecret": spec.tls.secret_name} if spec.tls is not None else {}
    return {
        "form": _FORM,
        "fleet": context.name,
        "image": context.image,
        "imagePullPolicy": spec.image_pull_policy,
        "imagePullSecrets": [secret.name for secret in spec.image_pull_secrets],
        "environment": fixed_environment(context.settings),
        "cpuLimitMillis": context.limits.cpu_millis,
        "memoryLimitBytes": context.limits.memory_bytes,
        "credentialsSecret": [credentials.name, credentials.key] if credentials else None,
        **tls,
        "template": as_written(spec.template),
        "restartedAt": context.restarted_at,
    }


def shape_hash(context: BuildContext) -> str:
    """Ten hex digits, the same for the same shape in whatever order its maps were written."""
    text = json.dumps(shape_of(context), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
