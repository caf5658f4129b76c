"""What changed between two messages of a channel, as a JSON merge patch (RFC 7396).

A patch is made only where a client that applies it ends with the very values that the full message
would have given it, judged as JavaScript's `JSON.parse` sees them. The order of an object's keys is
not part of that; of a key that a publisher wrote twice the last counts, there as here. Everything
else is sent in full: what is no object, a change to null or to a value with null in it (a patch
deletes by null), numbers that could be another after having been read and written once more.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import orjson

MOST_OF_FULL: Final = 0.7
"""A patch above this share of the full data is not worth the client's work."""

_MOST_DEPTH = 32
# An integer of more than 64 bits is read as a float: from here on digits may be gone.
_SURE_BELOW = 2.0**63
# JSON.parse keeps the sign of an integer zero, orjson does not. As a number, not within a string.
_NEGATIVE_ZERO = re.compile(rb"(?:^|[\s:,\[])-0(?:[\s,\]}]|$)")
# Assigned to an object in JavaScript, this key changes its prototype; JSON.parse makes it an ordinary one.
_PROTOTYPE = "__proto__"


class _InexactError(Exception):
    """A patch could give another value than the full message."""


def delta_of(before: bytes, after: bytes) -> bytes | None:
    """The patch from one message's data to the next one's, as JSON; None where the full data must be sent.

    Both must be JSON that orjson reads.
    """
    if any(b"-0" in data and _NEGATIVE_ZERO.search(data) for data in (before, after)):
        return None
    old, new = orjson.loads(before), orjson.loads(after)
    if type(old) is not dict or type(new) is not dict:
        return None
    changed: list[Any] = []
    try:
        difference = _difference(old, new, changed, _MOST_DEPTH)
        for value in changed:
            _check(value, _MOST_DEPTH)
    except _InexactError:
        return None
    patch = orjson.dumps(difference)
    return patch if len(patch) <= MOST_OF_FULL * len(after) else None


def apply_delta(before: Any, patch: Any) -> Any:
    """The value that a patch makes of another (RFC 7396, section 2). `before` stays what it is."""
    if not isinstance(patch, dict):
        return patch
    value = dict(before) if isinstance(before, dict) else {}
    for name, change in patch.items():
        if change is None:
            value.pop(name, None)
        else:
            value[name] = apply_delta(value.get(name), change)
    return value


def _difference(old: dict[str, Any], new: dict[str, Any], changed: list[Any], depth: int) -> dict[str, Any]:
    """The patch from `old` to `new`; what it sets is added to `changed`."""
    if not depth:
        raise _InexactError
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if name not in old:
            patch[name] = value
            changed.append(value)
            continue
        was = old[name]
        if type(was) is dict and type(value) is dict:
            inner = _difference(was, value, changed, depth - 1)
            if inner:
                patch[name] = inner
        elif not _same(was, value):
            patch[name] = value
            changed.append(value)
    if _PROTOTYPE in patch:
        raise _InexactError
    return patch


def _same(was: Any, value: Any) -> bool:
    """Equality as JSON has it: Python takes 1, 1.0 and true for the same, also within arrays."""
    if type(was) is not type(value):
        return False
    if type(value) is list:
        try:
            return bool(was == value) and orjson.dumps(was) == orjson.dumps(value)
        except (RecursionError, orjson.JSONEncodeError) as error:  # nested too deep
            raise _InexactError from error
    if was != value:
        return False
    return type(value) is not float or math.copysign(1, was) == math.copysign(1, value)


def _check(value: Any, depth: int) -> None:
    """Raises where a value would not reach every client as it is."""
    if value is None or not depth:
        raise _InexactError
    if type(value) is float and (abs(value) >= _SURE_BELOW or (not value and math.copysign(1, value) < 0)):
        raise _InexactError
    if type(value) is list:
        for item in value:
            _check(item, depth - 1)
    elif type(value) is dict:
        if _PROTOTYPE in value:
            raise _InexactError
        for item in value.values():
            _check(item, depth - 1)
