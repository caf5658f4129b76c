"""A round of the fan-out: who gets which bytes, worked out before the first is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

from wsnode.channels import CONFLATE, DELTA, Channels
from wsnode.conflation import pass_over
from wsnode.link import Link
from wsnode.message import Message
from wsnode.protocol.envelope import MAX_SEQUENCE

# A round must fit into a client's empty socket buffer, or joining frames would make clients slow.
ROUND_BYTES = 49_152
_ENVELOPE_BYTES = 130  # roughly
# Below IOV_MAX (1024), since a client may get each message of a round as a buffer of one writev.
ROUND_MESSAGES = 512
_NOBODY: Set[Link] = frozenset()

# A control message in the form of a client, made when it is needed.
Control = Callable[[int], bytes]
# Form, options and subscribers, each subscriber once.
Listeners = list[tuple[int, int, Set[Link]]]


@dataclass(frozen=True, slots=True)
class Announcement:
    """A control message to all open clients, made when its turn comes; the position, if it says no other.

    Attributes:
        frame: gives a frame for each form of clients.
        frame_for: gives the frame of one client.
        links: those who are to have that one; empty once its turn has come.
    """

    frame: Control | None = None
    frame_for: Callable[[Link], bytes] | None = None
    links: set[Link] = field(default_factory=set)


Job = Message | Announcement


@dataclass(slots=True)
class Part:
    """Clients that get the same bytes (`data`), or each its own list of frames (`own`, as long as `links`).

    Attributes:
        frames: how many data messages `data` holds.
        control: how many frames of each list in `own` are no data messages.
        places: where each client stands; made when it is asked for.
    """

    links: list[Link]
    data: bytes
    frames: int
    own: Sequence[list[bytes]] | None = None
    control: int = 0
    places: dict[Link, int] | None = None

    def place(self, link: Link) -> int:
        """Where a client stands, -1 for nowhere."""
        if self.places is None:
            self.places = {link: place for place, link in enumerate(self.links)}
        return self.places.get(link, -1)


@dataclass(slots=True)
class Round:
    """Jobs that are written together.

    Attributes:
        messages: those of the round, in stream order; none for an announcement.
        heard: those of them that have subscribers.
        parts: what has to be written, each client in one part only.
        personal: it is an announcement that is made for each client.
        part, link: how far the writing is.
    """

    messages: list[Message] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    personal: bool = False
    part: int = 0
    link: int = 0


@dataclass(slots=True)
class Flow:
    """Messages of one channel for those who get them in the same form and as the same bytes."""

    form: int
    links: Set[Link]
    seqs: list[int]
    frames: list[bytes]

    def joined(self, head: bytes, tail: bytes) -> bytes:
        """All of it as one write."""
        return b"".join((head, *self.frames, tail))


def take_round(
    line: deque[Job],
    channels: Channels[Link],
    epoch: str,
    max_bytes: int = ROUND_BYTES,
    upto: int = MAX_SEQUENCE,
) -> tuple[Round, list[Flow]]:
    """Takes the next messages out of the line and encodes those that someone listens to, once each.

    Stops before `max_bytes` are exceeded, but for a single message that is larger, and behind `upto`.
    Returns the round, still without parts, and what of it flows to whom.
    """
    taken = Round()
    heard: dict[str, tuple[Listeners, list[Message]]] = {}
    size = 0
    while line and len(taken.messages) < ROUND_MESSAGES:
        message = line[0]
        if not isinstance(message, Message) or message.seq > upto:
            break
        channel = message.channel
        likely = message.size + _ENVELOPE_BYTES + len(channel)
        if size and size + likely > max_bytes:
            break
        line.popleft()
        taken.messages.append(message)
        message.started = True
        if channel not in heard:
            heard[channel] = channels.subscribers(channel), []
        listeners, messages = heard[channel]
        if listeners:
            messages.append(message)
            taken.heard.append(message)
            size += likely
    flows: list[Flow] = []
    for listeners, messages in heard.values():
        for form, options, subscribers in listeners:
            _add_flows(flows, form, options, subscribers, messages, epoch)
    return taken, flows


def _add_flows(
    flows: list[Flow],
    form: int,
    options: int,
    subscribers: Set[Link],
    messages: list[Message],
    epoch: str,
) -> None:
    if options & CONFLATE:
        behind = [link for link in subscribers if link.out is not None]
        if behind:
            for link in behind:
                pass_over(link, messages)
            subscribers = subscribers - set(behind)
    if not subscribers:
        return
    if options & DELTA:
        _add_patches(flows, form, subscribers, messages, epoch)
    else:
        seqs = [message.seq for message in messages]
        flows.append(Flow(form, subscribers, seqs, [message.frame(form, epoch) for message in messages]))


def _add_patches(
    flows: list[Flow], form: int, subscribers: Set[Link], messages: list[Message], epoch: str
) -> None:
    """Patches for those who were given the message before the first, and it whole for the others."""
    seqs = [message.seq for message in messages]
    patches = [message.delta_frame(form, epoch) for message in messages]
    frames = [
        patch if patch is not None else message.frame(form, epoch)
        for patch, message in zip(patches, messages, strict=True)
    ]
    new: Set[Link] = _NOBODY
    base = messages[0].older
    if patches[0] is not None and base is not None:
        new = {link for link in subscribers if link.extra is None or link.extra.patched_after >= base.seq}
    if new:
        flows.append(Flow(form, new, seqs, [messages[0].frame(form, epoch), *frames[1:]]))
        subscribers = subscribers - new
    if subscribers:
        flows.append(Flow(form, subscribers, seqs, frames))


def add_parts(
    taken: Round, flows: list[Flow], tail: Control | None, head: Control | None = None
) -> set[Link]:
    """Works out who is written what. `head` and `tail`, if any, stand around the data of each in the round.

    Returns all in the round, but nobody where there is no tail and none had to be looked at together.
    """
    forms = {flow.form for flow in flows}
    heads = {form: head(form) for form in forms} if head is not None else {}
    tails = {form: tail(form) for form in forms} if tail is not None else {}
    if len(flows) == 1:
        (flow,) = flows
        data = flow.joined(heads.get(flow.form, b""), tails.get(flow.form, b""))
        taken.parts.append(Part(list(flow.links), data, len(flow.frames)))
        return set(flow.links) if tails else set()
    seen: set[Link] = set()
    several: set[Link] = set()
    for flow in flows:
        if not seen.isdisjoint(flow.links):
            several |= seen & flow.links
        seen |= flow.links
    for flow in flows:
        alone = list(flow.links - several if several else flow.links)
        if alone:
            data = flow.joined(heads.get(flow.form, b""), tails.get(flow.form, b""))
            taken.parts.append(Part(alone, data, len(flow.frames)))
    if several:
        taken.parts.append(_several(flows, several, heads, tails))
    return seen


def _several(flows: list[Flow], several: set[Link], heads: dict[int, bytes], tails: dict[int, bytes]) -> Part:
    """Those with more than one flow get their frames in stream order, without joining them first."""
    own: dict[Link, list[bytes]] = {link: [heads[link.form]] if heads else [] for link in several}
    frames: list[tuple[int, bytes, Set[Link]]] = []
    for flow in flows:
        concerned = flow.links & several
        if concerned:
            frames += ((seq, data, concerned) for seq, data in zip(flow.seqs, flow.frames, strict=True))
    frames.sort(key=lambda entry: entry[0])
    for _, data, concerned in frames:
        for link in concerned:
            own[link].append(data)
    if tails:
        for link, queue in own.items():
            queue.append(tails[link.form])
    return Part(list(own), b"", 0, list(own.values()), control=bool(heads) + bool(tails))


def announced_parts(links: list[Link], frame: Control) -> list[Part]:
    """The same control message for all of them, in their forms."""
    by_form: dict[int, list[Link]] = {}
    for link in links:
        by_form.setdefault(link.form, []).append(link)
    return [Part(own, frame(form), 0) for form, own in by_form.items()]
