"""Whose turn it is to be asked: values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from wsfleet.scrape.figures import NodeFigures
from wsfleet.scrape.transport import Target

_NODES_A_SECOND = 200
_LONGEST_SECONDS = 2.5  # half of the time between two regular looks, each of which asks all


def due(
    targets: Iterable[Target],
    known: Mapping[str, NodeFigures],
    now: float,
    pressing: Collection[str] = (),
) -> list[Target]:
    """The nodes to ask now (`now` in monotonic seconds), those that were not heard for longest first.

    Each pod that comes or goes brings a look. Where they come closely, a fleet asks about 200 nodes a second,
    and takes the others' figures of a moment ago; a small one is asked as a whole. `pressing` names pods (by
    UID) whose figures are waited for; those that are on the move themselves are asked in any case.
    """
    every = list(targets)
    youngest = min(_LONGEST_SECONDS, len(every) / _NODES_A_SECOND)

    def heard(target: Target) -> float:
        figures = known.get(target.uid)
        return figures.taken if figures is not None else float("-inf")

    def is_due(target: Target) -> bool:
        figures = known.get(target.uid)
        return (
            figures is None
            or now - figures.taken >= youngest
            or target.uid in pressing
            or figures.draining
            or bool(figures.shed_remaining)
        )

    return sorted(filter(is_due, every), key=heard)
