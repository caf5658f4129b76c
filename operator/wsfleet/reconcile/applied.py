"""The spec that a fleet's nodes go by: the last good one, kept in the status for the operator after this.

A spec that can't be carried out is told and not applied; until it is put right the fleet is led on by the
one before. What a restart can't bring back: a spec above `MOST_BYTES`, and one that no operator of this
release has carried out yet. Such a fleet is left as it is, and told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsfleet.kube.kinds import Object
from wsfleet.resources import names

MOST_BYTES = 32_768
"""Of a spec that is kept in the status, as JSON: a fleet's object may have 1.5 MB, and is watched by many."""


@dataclass(frozen=True, slots=True)
class AppliedSpec:
    """A spec that was carried out, and what else of its fleet's document the pods depend on."""

    generation: int
    spec: Mapping[str, Any]
    restarted_at: str = ""
    """The restart request of the pods: an annotation, and part of their template."""

    @classmethod
    def of(cls, fleet: Object) -> AppliedSpec:
        """What a fleet's document asks for now."""
        annotations = fleet["metadata"].get("annotations") or {}
        return cls(
            generation=int(fleet["metadata"].get("generation") or 0),
            spec=fleet.get("spec") or {},
            restarted_at=str(annotations.get(names.RESTARTED_AT_ANNOTATION, "")),
        )

    def fleet(self, now: Object) -> Object:
        """The fleet as it would be had its spec not changed since; `now` is its document.

        Annotations count as they are, so that a fleet can be paused whose spec is no good.
        """
        annotations = dict(now["metadata"].get("annotations") or {})
        annotations.pop(names.RESTARTED_AT_ANNOTATION, None)
        if self.restarted_at:
            annotations[names.RESTARTED_AT_ANNOTATION] = self.restarted_at
        metadata = {**now["metadata"], "annotations": annotations, "generation": self.generation}
        return {**now, "metadata": metadata, "spec": self.spec}

    def to_status(self) -> dict[str, Any] | None:
        """As JSON values for the status' memory; None where it is too large for that."""
        if len(json.dumps(self.spec, separators=(",", ":"))) > MOST_BYTES:
            return None
        kept = {"generation": self.generation, "spec": self.spec}
        return kept | ({"restartedAt": self.restarted_at} if self.restarted_at else {})

    @classmethod
    def from_status(cls, value: object) -> AppliedSpec | None:
        """From the status' memory; None where there is nothing that can be read."""
        if not isinstance(value, Mapping) or not isinstance(value.get("spec"), Mapping):
            return None
        generation, restarted = value.get("generation"), value.get("restartedAt", "")
        return cls(
            generation=generation if isinstance(generation, int) else 0,
            spec=value["spec"],
            restarted_at=restarted if isinstance(restarted, str) else "",
        )
