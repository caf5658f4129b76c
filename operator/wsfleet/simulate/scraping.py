"""What can be seen of the nodes: figures as their admin ports tell them, with noise, late, or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np

from wsfleet.costs import NodeCount
from wsfleet.costs.meter import NODES_WATCHED
from wsfleet.scaling import DrainState
from wsfleet.simulate.fleet import Fleet
from wsfleet.simulate.pods import Pod

_FORGET_SECONDS = 300.0
"""As the operator does: a figure older than this is none."""
_STRIDE = 61


@dataclass(slots=True)
class Figures:
    """A node's own account at one moment (`taken`, seconds since the start)."""

    taken: float
    connections: int
    max_connections: int
    cpu: float
    rejections: int
    full: int
    paused: bool
    drain: DrainState
    shed_left: int
    slot: int
    """Its place when it was asked."""


@dataclass(slots=True)
class Counters:
    """All nodes' counters at one moment, by slot."""

    used_seconds: list[float]
    deliveries: list[float]
    messages_in: list[float]


class Scraper:
    """The last figures of each node, and the counters of the last round.

    `starving` False: a node that is loaded over its CPU answers all the same, as where a kubelet tells of it.
    """

    def __init__(self, seed: int, starving: bool = True) -> None:
        self._rng = np.random.default_rng(seed)
        self._starving = starving
        self.seen: dict[str, Figures] = {}
        self.fresh: dict[str, Figures] = {}
        """Of the last round alone."""
        self.share_silent = 0.0
        self._counters = Counters([], [], [])

    def scrape(self, fleet: Fleet) -> float:
        """Ask every running node; the seconds that the round takes."""
        watching, taken = fleet.setup.watching, fleet.now
        number = len(fleet.pods)
        noise = 1 + watching.cpu_noise * self._rng.standard_normal(number)
        answers = self._rng.random(number) >= watching.missing_share
        if self._starving:
            answers &= self._rng.random(number) < fleet.cpus.answers(watching.timeout_seconds)
        cpu = (fleet.cpu * noise).clip(0, 100).tolist()
        connections, rejections = fleet.connections.tolist(), fleet.cpu_rejections.tolist()
        full, paused = fleet.full_rejections.tolist(), fleet.paused.tolist()
        most, answering = fleet.setup.node.max_connections, answers.tolist()
        fresh: dict[str, Figures] = {}
        silent = 0
        for pod in fleet.pods:
            slot = pod.slot
            if not pod.running:
                continue
            if not self.reaches(pod) or not answering[slot]:
                silent += 1
                continue
            left = min(pod.shed_left, max(0, connections[slot] - pod.shed_target)) if pod.shed_left else 0
            fresh[pod.uid] = Figures(
                taken,
                connections[slot],
                most,
                cpu[slot],
                rejections[slot],
                full[slot],
                paused[slot],
                pod.drain,
                left,
                slot,
            )
        self._remember(fleet, fresh)
        if not silent:
            return watching.delay_seconds
        waited = watching.timeout_seconds * math.ceil(silent / watching.silent_at_once)
        return min(watching.round_seconds, max(watching.delay_seconds, waited))

    def reaches(self, pod: Pod) -> bool:
        """Whether its admin port can be spoken to."""
        place = pod.number * _STRIDE % 100  # any few neighbours are spread over all of 0..99
        return pod.running and pod.lost_at is None and place >= self.share_silent * 100

    def counts(self, fleet: Fleet) -> Iterator[NodeCount]:
        """What the nodes that just answered have counted so far, as costs are fitted from it."""
        by_uid = {pod.uid: pod for pod in fleet.pods}
        processes = math.ceil(fleet.setup.node.cpus)
        for uid in nsmallest(NODES_WATCHED, self.fresh):
            seen, pod = self.fresh[uid], by_uid.get(uid)
            if pod is None:
                continue
            yield NodeCount(
                uid=uid,
                taken=seen.taken,
                uptime_seconds=seen.taken - pod.runs_at,
                cpu_seconds=self._counters.used_seconds[seen.slot],
                deliveries=self._counters.deliveries[seen.slot],
                replayed=0.0,
                messages_in=self._counters.messages_in[seen.slot],
                readers=processes,
                connections=seen.connections,
                steady=pod.ready and not seen.paused and seen.drain is DrainState.NONE,
            )

    def _remember(self, fleet: Fleet, fresh: dict[str, Figures]) -> None:
        kept = {
            pod.uid: old
            for pod in fleet.pods
            if pod.uid not in fresh
            and (old := self.seen.get(pod.uid)) is not None
            and fleet.now - old.taken <= _FORGET_SECONDS
        }
        self.fresh, self.seen = fresh, kept | fresh
        cpus = fleet.cpus
        self._counters = Counters(
            cpus.used_seconds.tolist(), cpus.deliveries.tolist(), cpus.messages_in.tolist()
        )
