"""Values out of objects as they come from the API server, None for what is not there or not of the kind.

What is shown must not fail by what it shows: an older operator's status, a hand-written one, a pod that
has just been made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsfleet.scaling.samples import figure


def at(value: Any, *path: str) -> Any:
    """What stands at a path of names, None where the path ends before."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text(value: Any, *path: str) -> str | None:
    """A text that is not empty."""
    found = at(value, *path)
    return found if isinstance(found, str) and found else None


def number(value: Any, *path: str) -> float | None:
    """A figure: finite and not negative."""
    try:
        return figure(at(value, *path))
    except OverflowError:  # JSON has numbers that no float holds
        return None


def whole(value: Any, *path: str) -> int | None:
    """A count."""
    found = number(value, *path)
    return None if found is None else int(found)


def items(value: Any, *path: str) -> list[Mapping[str, Any]]:
    """The objects of a list; what is no object in it is left out."""
    found = at(value, *path)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [one for one in found if isinstance(one, Mapping)]


def texts(value: Any, *path: str) -> list[str]:
    """The texts of a list."""
    found = at(value, *path)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [one for one in found if isinstance(one, str)]


def mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """A map, empty if there is none."""
    found = at(value, *path)
    return found if isinstance(found, Mapping) else {}
