"""A round of the fan-out: who gets which bytes, worked out before the first is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wsnode.channels import Channels
from wsnode.link import Link
from wsnode.protocol.envelope import data_frame
from wsnode.ring import Message

# A round must fit into a client's empty socket buffer, or joining frames would make clients slow.
ROUND_BYTES = 49_152
_ENVELOPE_BYTES = 150  # roughly
# Below IOV_MAX (1024), since a client may get each message of a round as a buffer of one writev.
ROUND_MESSAGES = 512


@dataclass(frozen=True, slots=True)
class Announcement:
    """A control message to all open clients: one frame for all, or one for each, made when its turn comes."""

    frame: Callable[[], bytes] | None = None
    frame_for: Callable[[Link], bytes] | None = None


Job = Message | Announcement


@dataclass(slots=True)
class Part:
    """Clients that get the same bytes (`data`), or each its own list of frames (`own`, as long as `links`).

    Attributes:
        frames: how many data messages `data` holds.
        control: how many frames of each list in `own` are no data messages.
    """

    links: list[Link]
    data: bytes
    frames: int
    own: Sequence[list[bytes]] | None = None
    control: int = 0


@dataclass(slots=True)
class Round:
    """Jobs that are written together.

    Attributes:
        messages: those of the round, in stream order; none for an announcement.
        heard: those of them that have subscribers.
        parts: what has to be written, each client in one part only.
        part, link: how far the writing is.
    """

    messages: list[Message] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    part: int = 0
    link: int = 0


def take_round(
    line: deque[Job], channels: Channels[Link], max_bytes: int = ROUND_BYTES
) -> tuple[Round, dict[str, list[bytes]]]:
    """Takes the next messages out of the line and encodes those that someone listens to, once each.

    Stops before `max_bytes` are exceeded, but for a single message that is larger.
    Returns the round, still without parts, and its frames by channel, in the order of `heard`.
    """
    taken = Round()
    frames: dict[str, list[bytes]] = {}
    size = 0
    while line and len(taken.messages) < ROUND_MESSAGES:
        message = line[0]
        if not isinstance(message, Message):
            break
        if size and size + len(message.payload) + _ENVELOPE_BYTES > max_bytes:
            break
        line.popleft()
        taken.messages.append(message)
        channel = message.channel
        if not channels.subscribers(channel):
            continue
        frame = data_frame(message.seq, message.ts_ms, message.kind, channel, message.prev, message.payload)
        size += len(frame)
        taken.heard.append(message)
        frames.setdefault(channel, []).append(frame)
    return taken, frames


def add_parts(
    taken: Round, frames: dict[str, list[bytes]], channels: Channels[Link], tail: bytes
) -> set[Link]:
    """Works out who gets what. `tail`, if any, follows the data of all in the round; these are returned."""
    if len(frames) == 1:
        ((channel, own),) = frames.items()
        subscribers = channels.subscribers(channel)
        taken.parts.append(Part(list(subscribers), b"".join((*own, tail)), len(own)))
        return set(subscribers) if tail else set()
    seen: set[Link] = set()
    several: set[Link] = set()
    for channel in frames:
        subscribers = channels.subscribers(channel)
        several |= seen & subscribers
        seen |= subscribers
    for channel, own in frames.items():
        alone = list(channels.subscribers(channel) - several)
        if alone:
            taken.parts.append(Part(alone, b"".join((*own, tail)), len(own)))
    if several:
        taken.parts.append(_several(taken, frames, channels, several, tail))
    return seen


def _several(
    taken: Round, frames: dict[str, list[bytes]], channels: Channels[Link], several: set[Link], tail: bytes
) -> Part:
    """Those with more than one channel due get their frames in stream order, without joining them first."""
    own: dict[Link, list[bytes]] = {link: [] for link in several}
    concerned = {channel: channels.subscribers(channel) & several for channel in frames}
    next_frame = {channel: iter(queue) for channel, queue in frames.items()}
    for message in taken.heard:
        frame = next(next_frame[message.channel])
        for link in concerned[message.channel]:
            own[link].append(frame)
    if tail:
        for queue in own.values():
            queue.append(tail)
    return Part(list(own), b"", 0, list(own.values()), control=1 if tail else 0)
