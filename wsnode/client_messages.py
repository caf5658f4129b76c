"""What a client says to a node, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

HEARTBEAT = b'{"type":"heartbeat"}'


def subscribe_message(
    channels: Sequence[str], resume: Mapping[str, Any] | None = None, *options: str
) -> bytes:
    """A subscribe; `resume` goes in as it is, `options` are the wanted of last, conflate and delta."""
    data: dict[str, Any] = {"channels": list(channels)}
    if resume is not None:
        data["resume"] = dict(resume)
    data |= dict.fromkeys(options, True)
    return orjson.dumps({"type": "subscribe", "data": data})
