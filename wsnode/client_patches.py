"""Full data from patches: what a client keeps of each channel, so that the next one has a base."""

from __future__ import annotations

import copy
from typing import Any

import orjson

from wsnode.protocol.delta import apply_delta


class BaseMissingError(Exception):
    """A patch rests on a message that the client does not have."""


class Contents:
    """The newest content of each channel. What a user does to a message's data spoils no later one."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, str | None, Any]] = {}

    def take(self, channel: str, seq: int, prev: int, content: dict[str, Any], raw: str) -> Any:
        """The data of a message (`raw` is its text), patched where it came as a patch.

        Raises:
            BaseMissingError: it rests on another message than the channel's last one.
        """
        if "delta" not in content:
            self._newest[channel] = seq, raw, None  # parsed only if a patch comes
            return content.get("data")
        had, text, base = self._newest.get(channel, (None, None, None))
        if had != prev:
            raise BaseMissingError
        if text is not None:
            base = orjson.loads(text).get("data")
        data = apply_delta(base, content["delta"])
        self._newest[channel] = seq, None, data
        return _copy(data)

    def clear(self) -> None:
        """Of a new subscription every channel's first message is full."""
        self._newest.clear()


def _copy(data: Any) -> Any:
    try:
        return orjson.loads(orjson.dumps(data))
    except orjson.JSONEncodeError:  # nested deeper than it writes
        return copy.deepcopy(data)
