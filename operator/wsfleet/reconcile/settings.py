"""Live settings on their way to the nodes.

The ConfigMap is mounted into every pod, but a kubelet looks at it only about once a minute. A
changed annotation on the pod makes it look at once [Kubernetes documentation, "Mounted ConfigMaps
are updated automatically", and the note there on annotations].
"""

from __future__ import annotations

import logging

from wsfleet.kube.errors import ConflictError, NotFoundError
from wsfleet.kube.kinds import POD
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.context import Context
from wsfleet.reconcile.observe import Observed
from wsfleet.resources import names

logger = logging.getLogger(__name__)


async def hurry_kubelets(context: Context, fleet: Key, seen: Observed, settings_hash: str) -> int:
    """Annotate the pods whose nodes say that they run with other settings; how many those were.

    Once for each change of settings: a node that refuses its file is not helped by more patches.
    """
    patched = 0
    for pod in seen.active:
        annotations = seen.raw_pods[pod.uid]["metadata"].get("annotations") or {}
        figures = seen.figures.get(pod.uid)
        told = annotations.get(names.SETTINGS_HASH_ANNOTATION) == settings_hash
        if told or figures is None or figures.settings_hash in (None, settings_hash):
            continue
        metadata = {"uid": pod.uid, "annotations": {names.SETTINGS_HASH_ANNOTATION: settings_hash}}
        try:
            written = await context.client.merge_patch(POD, fleet[0], pod.name, {"metadata": metadata})
        except (ConflictError, NotFoundError):
            continue  # gone, or another pod by the same name: the next look sees it
        context.cache.put(POD, written)
        patched += 1
    if patched:
        logger.info("%s/%s: %d kubelets told of settings %s", *fleet, patched, settings_hash)
    return patched


def nodes_in_force(seen: Observed, settings_hash: str) -> int:
    """Nodes that say they run with these settings."""
    return sum(
        1
        for pod in seen.active
        if (figures := seen.recent.get(pod.uid)) and figures.settings_hash == settings_hash
    )
