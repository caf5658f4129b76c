"""Who is written what in a round, worked out in steps: a large round must not hold up a turn of the loop.

Whose channels are all of one flow gets the same bytes as the others of it. Those of several flows get
their frames in stream order, without joining them first.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from wsnode.link import Link
from wsnode.rounds import Control, Flow, Part, Round

STEP_LINKS = 8_192
"""Clients that are looked at in a step, by one flow or frame after the other: below a millisecond."""
NOBODY = Link.nobody()


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
        self._taken, self._flows = taken, flows
        self._looked = 0
        self._served: set[Link] = set()
        self._steps = self._work()

    def step(self) -> bool:
        """Does the next piece of the work; False when all is done."""
        for _ in self._steps:
            return True
        return False

    def hasten(self, link: Link) -> Part | None:
        """What the round has for a client that is to get it at once, and not with the others."""
        mine = [flow for flow in self._flows if link in flow.links]
        if not mine or link in self._served:
            return None
        self._served.add(link)
        frames = sorted(
            (seq, frame) for flow in mine for seq, frame in zip(flow.seqs, flow.frames, strict=True)
        )
        own = [frame for _, frame in frames]
        if self._heads:
            own.insert(0, self._heads[link.form])
        if self._tails:
            own.append(self._tails[link.form])
        return Part([link], b"", 0, [own], self._control)

    def _work(self) -> Iterator[None]:
        flows, parts = self._flows, self._taken.parts
        if len(flows) == 1:
            parts.append(self._shared(flows[0], list(flows[0].links)))
            return
        several: set[Link] = set()
        seen: set[Link] = set()
        for flow in flows:
            if not seen.isdisjoint(flow.links):
                several |= seen & flow.links
            seen |= flow.links
            if self._enough(flow.links):
                yield
        for flow in flows:
            alone = list(flow.links - several if several else flow.links)
            if alone:
                parts.append(self._shared(flow, alone))
            if self._enough(flow.links):
                yield
        if several:
            yield from self._several(several)
        if self._served:
            self._leave_out()

    def _shared(self, flow: Flow, links: list[Link]) -> Part:
        head, tail = self._heads.get(flow.form, b""), self._tails.get(flow.form, b"")
        return Part(links, b"".join((head, *flow.frames, tail)), len(flow.frames))

    def _several(self, several: set[Link]) -> Iterator[None]:
        heads, tails = self._heads, self._tails
        own: dict[Link, list[bytes]] = {link: [heads[link.form]] if heads else [] for link in several}
        frames: list[tuple[int, bytes, Set[Link]]] = []
        for flow in self._flows:
            concerned = flow.links & several
            if concerned:
                frames += ((seq, data, concerned) for seq, data in zip(flow.seqs, flow.frames, strict=True))
            if self._enough(flow.links):
                yield
        frames.sort(key=lambda entry: entry[0])
        for _, data, concerned in frames:
            for link in concerned:
                own[link].append(data)
            if self._enough(concerned):
                yield
        if tails:
            for link, queue in own.items():
                queue.append(tails[link.form])
        part = Part(list(own), b"", 0, list(own.values()), self._control)
        self._taken.parts.append(part)

    def _leave_out(self) -> None:
        """Those who have theirs already."""
        served = self._served
        for part in self._taken.parts:
            if not served.isdisjoint(part.links):
                part.links = [NOBODY if link in served else link for link in part.links]

    def _enough(self, links: Set[Link]) -> bool:
        """Whether so many were looked at by now that it is time for others."""
        self._looked += len(links)
        if self._looked < STEP_LINKS:
            return False
        self._looked = 0
        return True
