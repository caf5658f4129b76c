"""How far something asked for has come, seen from outside. Pure: nodes in, a line and a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsfleet.plugin.nodes import Node
from wsfleet.scaling.balance_view import most_in_order
from wsfleet.scaling.words import counted


@dataclass(frozen=True, slots=True)
class Progress:
    """Where it stands, in one line, and whether it is done."""

    text: str
    done: bool = False


def replacing(nodes: Sequence[Node], uid: str, pod: str, wanted: int | None) -> Progress:
    """How far the replacement of one pod is: done when it is gone and `wanted` nodes are ready.

    `wanted` None: as many as are there.
    """
    old = next((node for node in nodes if node.uid == uid), None)
    others = [node for node in nodes if node.uid != uid and not node.leaving]
    ready = [node for node in others if node.ready]
    coming = [node for node in others if not node.ready]
    enough = len(ready) >= (len(others) if wanted is None else wanted) and bool(ready or wanted == 0)
    if old is None:
        if enough:
            return Progress(f"{pod} is gone; {_are_ready(len(ready))}", done=True)
        return Progress(f"{pod} is gone; {_are_ready(len(ready))} of {wanted}{_coming(coming)}")
    if old.leaving:
        return Progress(f"{pod}: {old.state}; {_are_ready(len(ready))} beside it")
    if coming:
        return Progress(f"{pod} serves on{_coming(coming)}")
    return Progress(f"{pod}: {old.state}; the operator has not begun yet")


def spreading(nodes: Sequence[Node], tolerance_percent: float, phase: str | None = None) -> Progress:
    """How evenly the connections are spread: done when no node is above the mean by more than the tolerance.

    Nodes that leave don't count; figures that are missing keep it from being done. `phase` is the operator's
    word for where it stands.
    """
    serving = [node for node in nodes if node.ready and not node.leaving]
    told = [node.connections for node in serving if node.connections is not None]
    if len(serving) < 2:
        return Progress(f"{counted(len(serving), 'node')} to spread over: nothing to do", done=True)
    if len(told) < len(serving):
        return Progress(f"{counted(len(serving) - len(told), 'node')} of {len(serving)} give no figures")
    mean, most = sum(told) / len(told), max(told)
    if mean == 0:
        return Progress("no connections", done=True)
    share = (most / mean - 1) * 100
    text = f"fullest node {most:,}, mean {mean:,.0f} connections ({share:+.0f} %)"
    in_order = most <= most_in_order(mean, tolerance_percent / 100)
    return Progress(text + (f"; {phase}" if phase else ""), done=in_order)


def _are_ready(number: int) -> str:
    return f"{counted(number, 'node')} ready"


def _coming(coming: Sequence[Node]) -> str:
    if not coming:
        return "; no new pod yet"
    return f"; {coming[0].pod}: {coming[0].state}" + (f" and {len(coming) - 1} more" if coming[1:] else "")
