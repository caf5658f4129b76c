"""A round of the fan-out: what is taken out of the line together, and whom it is for."""

from __future__ import annotations

from bisect import bisect_right
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
ROUND_LOOKS = 262_144
"""Clients that are looked at to take a round, for each channel that names them in another company: what can't
be put off till later, a few milliseconds at most."""
_NO_LINKS: frozenset[Link] = frozenset()

# A control message in the form of a client, made when it is needed.
Control = Callable[[int], bytes]


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
        """Where a client stands, -1 for nowhere or no longer. Who leaves the list leaves its place empty."""
        if self.places is None:
            self.places = {link: place for place, link in enumerate(self.links)}
        at = self.places.get(link, -1)
        return at if at >= 0 and self.links[at] is link else -1


@dataclass(slots=True)
class Round:
    """Jobs that are written together.

    Attributes:
        messages: those of the round, in stream order; none for an announcement.
        heard: those of them that have subscribers.
        parts: what has to be written, each client in one part only; `preparation` makes them.
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
    """Messages for those who get them in the same form and as the same bytes, in the order of the stream."""

    form: int
    links: Set[Link]
    seqs: list[int]
    frames: list[bytes]


@dataclass(slots=True)
class _Group:
    """Clients that the directory names together, and what of the round they listen to.

    Attributes:
        behind: those of them that wait for room, and are to be passed over.
    """

    form: int
    options: int
    links: Set[Link]
    behind: Set[Link]
    messages: list[Message] = field(default_factory=list)


def take_round(
    line: deque[Job],
    channels: Channels[Link],
    epoch: str,
    max_bytes: int = ROUND_BYTES,
    upto: int = MAX_SEQUENCE,
    behind: Set[Link] = _NO_LINKS,
) -> tuple[Round, list[Flow]]:
    """Takes the next messages out of the line and encodes those that someone listens to, once each.

    Stops before `max_bytes` are exceeded, but for a single message that is larger, and behind `upto`.
    `behind` are the clients for which something waits. Returns the round, still without parts, and what of
    it flows to whom; the sets are the directory's own, see `Channels.subscribers`.
    """
    taken = Round()
    groups: dict[tuple[int, int, int], _Group] = {}
    heard: dict[str, list[_Group]] = {}
    size = looks = 0
    while line and len(taken.messages) < ROUND_MESSAGES and looks < ROUND_LOOKS:
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
            compared = channels.compared
            heard[channel] = own = _groups_of(channels, channel, groups, behind)
            looks += channels.compared - compared
            looks += sum(len(group.links) for group in own if not group.messages)
        for group in heard[channel]:
            group.messages.append(message)
            looks += len(group.behind)
        if heard[channel]:
            taken.heard.append(message)
            size += likely
    flows: list[Flow] = []
    for group in groups.values():
        _add_flows(flows, group, epoch)
    return taken, flows


def _groups_of(
    channels: Channels[Link], channel: str, groups: dict[tuple[int, int, int], _Group], behind: Set[Link]
) -> list[_Group]:
    """Who listens to a channel. Channels with the same listeners, such as those of `*`, share a group."""
    found = []
    for form, options, links in channels.subscribers(channel):
        key = form, options, id(links)
        if key not in groups:
            waiting = links & behind if options & CONFLATE and behind else _NO_LINKS
            groups[key] = _Group(form, options, links, waiting)
        found.append(groups[key])
    return found


def _add_flows(flows: list[Flow], group: _Group, epoch: str) -> None:
    links, form, messages = group.links, group.form, group.messages
    if group.behind:
        for link in group.behind:
            pass_over(link, messages)
        links = links - group.behind
    if not links:
        return
    if group.options & DELTA:
        _add_patches(flows, form, links, messages, epoch)
    else:
        seqs = [message.seq for message in messages]
        flows.append(Flow(form, links, seqs, [message.frame(form, epoch) for message in messages]))


def _add_patches(flows: list[Flow], form: int, links: Set[Link], messages: list[Message], epoch: str) -> None:
    """Patches for those who were given the message before the first of a channel, and it whole for others."""
    seqs = [message.seq for message in messages]
    frames: list[bytes] = []
    bases: dict[str, tuple[int, int]] = {}  # of each channel that begins with a patch, and where it begins
    begun: set[str] = set()
    for index, message in enumerate(messages):
        patch = message.delta_frame(form, epoch)
        frames.append(message.frame(form, epoch) if patch is None else patch)
        if patch is not None and message.older is not None and message.channel not in begun:
            bases[message.channel] = message.older.seq, index
        begun.add(message.channel)
    ascending = sorted(bases.values())
    late = _by_lacking(links, [seq for seq, _ in ascending])
    for lacking, own in late.items():
        whole = list(frames)
        for _, index in ascending[:lacking]:
            whole[index] = messages[index].frame(form, epoch)
        flows.append(Flow(form, own, seqs, whole))
    rest = links - set[Link]().union(*late.values()) if late else links
    if rest:
        flows.append(Flow(form, rest, seqs, frames))


def _by_lacking(links: Set[Link], bases: list[int]) -> dict[int, set[Link]]:
    """Those that were not given the lowest of these, by how many they were not given."""
    late: dict[int, set[Link]] = {}
    if not bases:
        return late
    for link in links:
        after = link.extra.patched_after if link.extra is not None else MAX_SEQUENCE
        if after >= bases[0]:
            late.setdefault(bisect_right(bases, after), set()).add(link)
    return late


def announced_parts(links: list[Link], frame: Control) -> list[Part]:
    """The same control message for all of them, in their forms."""
    by_form: dict[int, list[Link]] = {}
    for link in links:
        by_form.setdefault(link.form, []).append(link)
    return [Part(own, frame(form), 0) for form, own in by_form.items()]
