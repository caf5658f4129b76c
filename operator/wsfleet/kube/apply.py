"""Owned objects are written only where what is there differs from what is wanted.

A server-side apply that changes nothing is still a write call, and an idle fleet should cause
none. So what the reflectors hold is compared first, field by field and only in the fields we own:
what the API server or somebody else added stays and does not count.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from wsfleet.kube.client import KubeClient
from wsfleet.kube.kinds import Object, name_of, namespace_of

logger = logging.getLogger(__name__)

APPLIED_HASH = "wsfleet.io/applied-hash"
"""Annotation: hash of what was last applied, so that a field we no longer want is seen and taken away."""

_SUFFIXES: dict[str, Decimal | int] = {
    "": 1, "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": 10**3,
    "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
_QUANTITY_FIELDS = ("limits", "requests")
# Lists that the API server merges by a key: others may add entries of their own. All other lists are ours,
# a NetworkPolicy's ports too: one more of them would open the admin port to everybody.
_SHARED_LISTS = frozenset({"spec.ports"})


class Applier:
    """Brings owned objects to their wanted state with server-side apply."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._settled: dict[tuple[str, str, str], tuple[str, str]] = {}

    async def ensure(self, marked: Object, seen: Object | None) -> Object | None:
        """Apply `marked` if it is not what is `seen`; the object as written, or None if nothing was to do.

        `marked` is what is wanted, with its hash (see `mark`). An object that still differs after an
        apply (an admission webhook that has its own mind) is not applied again until one of the two
        sides changes.
        """
        digest = marked["metadata"]["annotations"][APPLIED_HASH]
        key = (marked["kind"], namespace_of(marked), name_of(marked))
        if seen is not None:
            version = str(seen["metadata"].get("resourceVersion"))
            if self._settled.get(key) == (digest, version):
                return None  # compared before, or as good as it gets
            place = difference(marked, seen)
            if place is None:
                self._settled[key] = (digest, version)
                return None
            logger.info("applying %s %s/%s: %s differs", *key, place)
        else:
            logger.info("applying %s %s/%s: it is not there", *key)
        written = await self._client.apply(marked)
        self._settled[key] = (digest, str(written["metadata"].get("resourceVersion")))
        return written

    def forget(self, namespace: str, name_prefix: str) -> None:
        """A fleet is gone."""
        for key in [k for k in self._settled if k[1] == namespace and k[2].startswith(name_prefix)]:
            del self._settled[key]


def mark(wanted: Object) -> Object:
    """A copy of an object with the hash of its content in an annotation."""
    return with_annotation(wanted, APPLIED_HASH, content_hash(wanted))


def content_hash(obj: Mapping[str, Any]) -> str:
    """Hash of an object's content, whatever the order of its keys."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_annotation(obj: Object, name: str, value: str) -> Object:
    """A copy of `obj` with one more annotation."""
    metadata = obj["metadata"]
    annotations = {**(metadata.get("annotations") or {}), name: value}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def difference(wanted: Any, seen: Any, path: str = "") -> str | None:
    """The path of the first wanted field that `seen` does not have so, None if it has them all."""
    if isinstance(wanted, Mapping):
        return _map_difference(wanted, seen, path)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _list_difference(wanted, seen, path)
    if wanted == seen or (wanted in ("", 0, False) and seen is None):
        return None  # the API server leaves out what is empty
    if path.rsplit(".", 2)[-2:-1] in ([name] for name in _QUANTITY_FIELDS) and same_quantity(wanted, seen):
        return None
    return path or "."


def _map_difference(wanted: Mapping[str, Any], seen: Any, path: str) -> str | None:
    if not isinstance(seen, Mapping):
        return None if not wanted and seen is None else path or "."
    if not path and wanted.get("kind") and "kind" not in seen:
        # Items of a list carry neither kind nor apiVersion.
        wanted = {key: value for key, value in wanted.items() if key not in ("kind", "apiVersion")}
    for key, value in wanted.items():
        if value is None:
            continue
        place = difference(value, seen.get(key), f"{path}.{key}" if path else key)
        if place is not None:
            return place
    return None


def _list_difference(wanted: Sequence[Any], seen: Any, path: str) -> str | None:
    if not isinstance(seen, Sequence) or isinstance(seen, str):
        return None if not wanted and seen is None else path
    if path in _SHARED_LISTS:
        lost = [item for item in wanted if all(difference(item, other, path) for other in seen)]
        return path if lost else None
    if len(wanted) != len(seen):
        return path
    for index, (one, other) in enumerate(zip(wanted, seen, strict=True)):
        place = difference(one, other, f"{path}[{index}]")
        if place is not None:
            return place
    return None


def same_quantity(one: Any, other: Any) -> bool:
    """Whether two Kubernetes quantities are the same amount: `1000m` and `1`, `1Gi` and `1024Mi`."""
    amount = amount_of(one)
    return amount is not None and amount == amount_of(other)


def amount_of(value: Any) -> Decimal | None:
    """A Kubernetes quantity as a number, None for what is none."""
    text = str(value)
    digits = text.rstrip("numkMGTPi")
    try:
        return Decimal(digits) * Decimal(_SUFFIXES[text[len(digits) :]])
    except (InvalidOperation, KeyError):
        return None
