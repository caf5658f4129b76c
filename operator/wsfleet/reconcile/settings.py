"""Live settings on their way to the nodes.

The ConfigMap is mounted into every pod, but a kubelet looks at it only about once a minute. A
changed annotation on the pod makes it look at once [Kubernetes documentation, "Mounted ConfigMaps
are updated automatically", and the note there on annotations].
"""

from __future__ import annotations

import asyncio
import logging
import time

from wsfleet.kube.errors import ConflictError, KubeError, NotFoundError
from wsfleet.kube.kinds import POD
from wsfleet.kube.reflector import Key
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.observe import Observed
from wsfleet.reconcile.troubles import is_unanswered, note_trouble
from wsfleet.resources import names
from wsfleet.scaling import NodeSample

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Patches under way together: a fleet of 2,000 is told in seconds, and the API server has no crowd."""
_TROUBLE = "settings of Pods"


async def hurry_kubelets(
    context: Context, fleet: Key, state: FleetState, seen: Observed, settings_hash: str
) -> int:
    """Annotate the pods whose nodes say that they run with other settings; how many those were.

    Once for each change of settings: a node that refuses its file is not helped by more patches. Patches that
    are refused are noted in the state's troubles; their kubelets look by themselves, a minute later.
    """
    late = [pod for pod in seen.active if _is_late(seen, pod, settings_hash)]
    if not late:
        state.troubles.over(_TROUBLE)
        return 0
    if not state.troubles.may_try(_TROUBLE, settings_hash, time.monotonic()):
        return 0
    gate, failures = asyncio.Semaphore(AT_ONCE), list[KubeError]()

    async def one(pod: NodeSample) -> bool:
        async with gate:
            if any(is_unanswered(exc) for exc in failures):
                return False  # the rest would only wait for that, too
            metadata = {"uid": pod.uid, "annotations": {names.SETTINGS_HASH_ANNOTATION: settings_hash}}
            try:
                written = await context.client.merge_patch(POD, fleet[0], pod.name, {"metadata": metadata})
            except (ConflictError, NotFoundError):
                return False  # gone, or another pod by the same name: the next look sees it
            except KubeError as exc:
                failures.append(exc)
                return False
            context.cache.put(POD, written)
            return True

    patched = sum(await asyncio.gather(*(one(pod) for pod in late)))
    if patched:
        logger.info("%s/%s: %d kubelets told of settings %s", *fleet, patched, settings_hash)
    if failures:
        note_trouble(context, state, _TROUBLE, settings_hash, failures[0])
    else:
        state.troubles.over(_TROUBLE)
    return patched


def _is_late(seen: Observed, pod: NodeSample, settings_hash: str) -> bool:
    """Its node has other settings in force, and its kubelet was not told of these yet."""
    annotations = seen.raw_pods[pod.uid]["metadata"].get("annotations") or {}
    figures = seen.figures.get(pod.uid)
    told = annotations.get(names.SETTINGS_HASH_ANNOTATION) == settings_hash
    return not (told or figures is None or figures.settings_hash in (None, settings_hash))


def nodes_in_force(seen: Observed, settings_hash: str) -> int:
    """Nodes that say they run with these settings."""
    return sum(
        1
        for pod in seen.active
        if (figures := seen.recent.get(pod.uid)) and figures.settings_hash == settings_hash
    )
