"""Which nodes new clients are sent to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wsfleet.scaling.samples import NodeSample


@dataclass(frozen=True, slots=True)
class LabelChange:
    """The serving label of one pod should become this."""

    uid: str
    pod: str
    serving: bool
    reason: str


def steer(
    nodes: Iterable[NodeSample], max_connections: int, tolerance: float = 0.10, takeover: bool = False
) -> tuple[LabelChange, ...]:
    """Which serving labels should change."""
    raise NotImplementedError
