"""What a client hands to its user: messages, and everything else that happens to it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wsnode.standing import Missed, Why

__all__ = [
    "CaughtUp",
    "Connected",
    "Disconnected",
    "Event",
    "FeedChanged",
    "Message",
    "Missed",
    "Subscribed",
    "Told",
    "Why",
]


@dataclass(frozen=True, slots=True)
class Message:
    """A data message, always with its full data, also where the node sent a patch.

    Attributes:
        seq: its sequence in the stream, the same on every node.
        prev: that of the channel's message before it.
        ts: when it was published, milliseconds since the epoch; 0 where the server does not say.
        type: `price:update`, unless the publisher said otherwise.
        data: what the publisher sent.
        skipped: messages of the channel that were passed over for this one (`conflate`).
        raw: the text as it came.
        patched: it came as a patch, so `raw` has none of its data.
        missed: what it says to be missing before it; `on_event` was told of it just before.
    """

    channel: str
    seq: int
    prev: int
    ts: int
    type: str
    data: Any
    skipped: int
    raw: str
    patched: bool
    missed: Missed | None


@dataclass(frozen=True, slots=True)
class Connected:
    """A node said hello. `epoch` is that of its stream, empty where it has none yet."""

    url: str
    node: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The channels are live: messages after `seq` will come, and those before it that a resume brings."""

    channels: tuple[str, ...]
    seq: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All that a name missed while away has come, but for what was told as missed."""

    channel: str
    seq: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is over, or could not be opened; the next try comes after `delay_seconds`."""

    why: str
    code: int | None
    delay_seconds: float | None
    """None where the client does not come back."""


@dataclass(frozen=True, slots=True)
class FeedChanged:
    """The node lost its feed, or has it again: a quiet channel may not be quiet."""

    connected: bool


@dataclass(frozen=True, slots=True)
class Told:
    """The server answered with an error."""

    code: str
    message: str


Event = Connected | Subscribed | CaughtUp | Missed | Disconnected | FeedChanged | Told
