"""Who is written what in a round, worked out in steps: a large round must not hold up a turn of the loop.

Whose channels are all of one flow gets the same bytes as the others of it. Those of several flows get
their frames in stream order, without joining them first.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import islice

from wsnode.link import Link
from wsnode.rounds import Control, Flow, Part, Round

STEP_LINKS = 8_192
"""Clients that are looked at in a step, by one flow or frame after the other: a millisecond at most."""
SMALL_LINKS = 16_384
"""So many, each counted in each of its flows, are sorted in one step, which spares copies of the sets."""
NOBODY = Link.nobody()

_Frame = tuple[int, bytes, Set[Link]]  # its sequence, and whom of several flows it is for


class Preparation:
    """The parts of one round; it is written once `step` says that they are whole.

    Args:
        taken, flows: what `rounds.take_round` gave.
        head, tail: stand around the data of each client, if any.
    """

    def __init__(
        self, taken: Round, flows: list[Flow], tail: Control | None = None, head: Control | None = None
    ) -> None:
        forms = {flow.form for flow in flows}
        self._heads = {form: head(form) for form in forms} if head is not None else {}
        self._tails = {form: tail(form) for form in forms} if tail is not None else {}
        self._control = bool(self._heads) + bool(self._tails)
        self._parts, self._flows = taken.parts, flows
        self._looked = 0
        self._several: set[Link] = set()
        self._frames: list[_Frame] | None = None  # of these, once they are known
        self._served: set[Link] = set()
        self._steps = self._work()

    def step(self) -> bool:
        """Does the next piece of the work; False when all is done."""
        for _ in self._steps:
            return True
        return False

    def hasten(self, link: Link) -> Part | None:
        """What the round has for a client that is to get it at once, and not with the others."""
        if link in self._served:
            return None
        found: list[tuple[int, bytes]]
        if self._frames is None:
            mine = [flow for flow in self._flows if link in flow.links]
            found = [entry for flow in mine for entry in zip(flow.seqs, flow.frames, strict=True)]
        elif link in self._several:
            found = [(seq, data) for seq, data, concerned in self._frames if link in concerned]
        else:
            return self._taken_out(link)
        if not found:
            return None
        self._served.add(link)
        own = [data for _, data in sorted(found)]
        if self._heads:
            own.insert(0, self._heads[link.form])
        if self._tails:
            own.append(self._tails[link.form])
        return Part([link], b"", 0, [own], self._control)

    def _taken_out(self, link: Link) -> Part | None:
        """What one of a single flow gets."""
        for part in self._parts:
            at = part.place(link)
            if at >= 0:
                part.links[at] = NOBODY
                return Part([link], part.data, part.frames)
        return None

    def _work(self) -> Iterator[None]:
        flows = self._flows
        if len(flows) == 1:
            self._parts.append(self._shared(flows[0], list(flows[0].links)))
            return
        sorting = self._sort_out()
        if sum([len(flow.links) for flow in flows]) > SMALL_LINKS:
            for flow in flows:
                flow.links = set(flow.links)  # as they are now, whoever subscribes meanwhile
            yield from sorting
        else:
            for _ in sorting:
                pass
        if self._several:
            yield from self._add_several()
        if self._served:
            self._leave_out()

    def _sort_out(self) -> Iterator[None]:
        """Parts for those of one flow each, and the frames of the others."""
        flows, seen, several = self._flows, set[Link](), self._several
        for flow in flows:
            if not seen.isdisjoint(flow.links):
                several |= seen & flow.links
            seen |= flow.links
            if self._enough(flow.links):
                yield
        frames: list[_Frame] = []
        for flow in flows:
            alone, concerned = list(flow.links), several & flow.links if several else several
            if concerned:
                alone = list(flow.links - concerned)
                frames += [(seq, data, concerned) for seq, data in zip(flow.seqs, flow.frames, strict=True)]
            if alone:
                self._parts.append(self._shared(flow, alone))
            if self._enough(flow.links):
                yield
        frames.sort(key=lambda entry: entry[0])
        self._frames = frames

    def _shared(self, flow: Flow, links: list[Link]) -> Part:
        head, tail = self._heads.get(flow.form, b""), self._tails.get(flow.form, b"")
        return Part(links, b"".join((head, *flow.frames, tail)), len(flow.frames))

    def _add_several(self) -> Iterator[None]:
        heads, tails = self._heads, self._tails
        own: dict[Link, list[bytes]] = {}
        rest = iter(self._several)
        while some := list(islice(rest, STEP_LINKS)):
            own |= {link: [heads[link.form]] if heads else [] for link in some}
            if len(some) == STEP_LINKS:
                yield
        assert self._frames is not None
        for _, data, concerned in self._frames:
            for link in concerned:
                own[link].append(data)
            if self._enough(concerned):
                yield
        if tails:
            for link, queue in own.items():
                queue.append(tails[link.form])
        self._parts.append(Part(list(own), b"", 0, list(own.values()), self._control))

    def _leave_out(self) -> None:
        """Those who have theirs already."""
        served = self._served
        for part in self._parts:
            if not served.isdisjoint(part.links):
                part.links = [NOBODY if link in served else link for link in part.links]

    def _enough(self, links: Set[Link]) -> bool:
        """Whether so many were looked at by now that it is time for others."""
        self._looked += len(links)
        if self._looked < STEP_LINKS:
            return False
        self._looked = 0
        return True
