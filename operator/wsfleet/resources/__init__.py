"""Builders of the objects that a fleet consists of: values in, plain dicts out, no I/O.

What they set is what the operator owns: fields left out belong to others, who may set them.
Quantities are in canonical form, so that what the API server stores is what was built.
"""

from wsfleet.resources.context import BuildContext, settings_of
from wsfleet.resources.disruption import build_pdb
from wsfleet.resources.monitoring import build_podmonitor, build_prometheusrule
from wsfleet.resources.network import build_networkpolicy, build_service
from wsfleet.resources.pod import build_pod_template
from wsfleet.resources.replicaset import build_replicaset
from wsfleet.resources.settings import build_configmap, build_secret, settings_file, settings_hash
from wsfleet.resources.shape import shape_hash, shape_of

__all__ = [
    "BuildContext",
    "build_configmap",
    "build_networkpolicy",
    "build_pdb",
    "build_pod_template",
    "build_podmonitor",
    "build_prometheusrule",
    "build_replicaset",
    "build_secret",
    "build_service",
    "settings_file",
    "settings_hash",
    "settings_of",
    "shape_hash",
    "shape_of",
]
