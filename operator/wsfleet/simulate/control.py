"""Who runs the fleet: the operator's own functions on the simulated cluster, or an HPA with a Deployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from wsfleet.costs import CostBook
from wsfleet.scaling import (
    CreateSet,
    Decision,
    DeleteSet,
    History,
    Idle,
    Mark,
    NodeSample,
    Phase,
    RebalanceMemory,
    Release,
    Resize,
    Snapshot,
    Stalled,
    StartDrain,
    Step,
    Together,
    Wait,
    World,
    closes_per_second,
    decide,
    drain_rate,
    is_rolling,
    next_fleet_step,
    nodes_at_once,
    rebalance,
    steer,
)
from wsfleet.simulate.fleet import Fleet
from wsfleet.simulate.pods import Pod, ReplicaSet
from wsfleet.simulate.scraping import Scraper

EPOCH = 1_800_000_000.0
"""The simulation's time 0 in epoch seconds."""


class Control(Protocol):
    """What is called after each step of time."""

    def act(self, fleet: Fleet) -> None:
        """Look at the fleet and change it."""

    def new_shape(self, fleet: Fleet, shape: str) -> None:
        """The pods' template has changed."""

    def silence(self, share: float) -> None:
        """From now on this share of the nodes gives no figures; 0: all do again."""

    @property
    def desired(self) -> int:
        """The size decided on."""


class OperatorControl:
    """The operator: decide, steer and next_fleet_step as they are.

    It sees what an operator sees: pods as the API server has them, figures of the round that is just over,
    costs fitted from the nodes' counters. It looks every few seconds, and when a pod has changed. A node that
    does not answer can't be told anything either.
    """

    def __init__(self, shape: str, nodes: int, seed: int) -> None:
        self._shape = shape
        self._scraper = Scraper(seed)
        self.history = History(desired=nodes)
        self.decisions: list[Decision] = []
        self.costs = CostBook()
        self._next_scrape = 0.0
        self._look_at: float | None = None
        self._events = 0
        self._first = True
        self._rebalance = RebalanceMemory()

    @property
    def desired(self) -> int:
        return self.history.desired or 0

    def new_shape(self, fleet: Fleet, shape: str) -> None:
        self._shape = shape

    def silence(self, share: float) -> None:
        self._scraper.share_silent = share

    def act(self, fleet: Fleet) -> None:
        due = fleet.now >= self._next_scrape or fleet.events != self._events
        if self._look_at is None and due:
            self._events = fleet.events
            self._look_at = fleet.now + self._scraper.scrape(fleet)
            self._next_scrape = fleet.now + fleet.setup.watching.scrape_seconds
        # Steps that are longer than a round see its end at its beginning.
        if self._look_at is not None and fleet.now > self._look_at - fleet.step_seconds / 2:
            self._look_at = None
            self._look(fleet)

    def _look(self, fleet: Fleet) -> None:
        now = EPOCH + fleet.now
        samples = tuple(self.sample(fleet, pod) for pod in fleet.pods)
        world = World.of([one.view() for one in fleet.sets], samples, self._shape, self.desired)
        rolling = is_rolling(world, fleet.setup.rollout)
        snapshot = Snapshot.of(now, samples, replicas=world.total, rolling=rolling)
        self.costs.observe(self._scraper.counts(fleet), (), now)
        fixed = self.costs.fixed_percent(fleet.setup.node.cpus)
        decision, self.history = decide(fleet.setup.policy, snapshot, self.history, now, fixed)
        if decision.changes:
            self.decisions.append(decision)
        total = sum(one.connections or 0 for one in samples)
        budget = closes_per_second(total, fleet.setup.closes_per_second)
        paced = replace(fleet.setup.rollout, at_once=nodes_at_once(decision.desired, total, budget))
        step = next_fleet_step(replace(world, desired=decision.desired), paced)
        by_uid = {pod.uid: pod for pod in fleet.pods}
        steps: tuple[Step, ...] = step.steps if isinstance(step, Together) else (step,)
        for one in steps:
            self._carry_out(fleet, by_uid, samples, one)
        decided = {getattr(one, "uid", None) for one in steps}
        busy = ""
        if rolling:
            busy = "pods are being replaced"
        elif not isinstance(step, Idle | Wait | Stalled) or world.total != decision.desired:
            busy = "the fleet is being resized"
        receivers = self._balance(fleet, samples, by_uid, budget, busy)
        most, tolerance = fleet.setup.policy.max_connections, fleet.setup.rebalance.tolerance
        for change in steer(samples, most, tolerance, takeover=self._first, receivers=receivers):
            if change.uid not in decided:
                by_uid[change.uid].serving = change.serving
                fleet.touch()
        self._first = False

    def _balance(
        self, fleet: Fleet, samples: tuple[NodeSample, ...], by_uid: dict[str, Pod], budget: float, busy: str
    ) -> frozenset[str] | None:
        """Sheds, where nodes differ too much; gives who is to take new clients."""
        wanted, self._rebalance = rebalance(
            fleet.setup.rebalance, samples, self._rebalance, EPOCH + fleet.now, budget, busy
        )
        for shed in wanted.sheds:
            if self._scraper.reaches(by_uid[shed.uid]):
                fleet.shed(by_uid[shed.uid], shed.target, shed.rate, shed.id)
        return wanted.receivers

    def sample(self, fleet: Fleet, pod: Pod) -> NodeSample:
        """A pod as the operator sees it: of its node only what that has told."""
        now, seen = fleet.now, self._scraper.seen.get(pod.uid)
        if pod.terminating_at is not None:
            phase = Phase.TERMINATING
        else:
            phase = Phase.RUNNING if pod.running else Phase.PENDING
        changed = max(0.0, now - pod.ready_changed)
        return NodeSample(
            uid=pod.uid,
            name=pod.name,
            shape=pod.shape,
            machine=f"machine-{pod.number}",
            phase=phase,
            ready=pod.ready,
            ready_seconds=changed if pod.ready else None,
            unready_seconds=None if pod.ready else changed,
            serving=pod.serving,
            drain=seen.drain if seen else None,
            shedding=bool(seen and seen.shed_left),
            marked_seconds=None if pod.marked_at is None else now - pod.marked_at,
            terminating_seconds=None if pod.terminating_at is None else now - pod.terminating_at,
            connections=seen.connections if seen else None,
            max_connections=seen.max_connections if seen else None,
            cpu_percent=seen.cpu if seen else None,
            rejections={"cpu": seen.rejections, "connections": seen.full} if seen else {},
            feed_paused=seen.paused if seen else False,
            sample_age_seconds=now - seen.taken if seen else None,
            pod_age_seconds=now - pod.created,
        )

    def _carry_out(
        self, fleet: Fleet, by_uid: dict[str, Pod], samples: tuple[NodeSample, ...], step: Step
    ) -> None:
        if isinstance(step, CreateSet):
            fleet.sets.append(ReplicaSet(step.shape, step.replicas, fleet.now))
        elif isinstance(step, Resize):
            one = fleet.set_of(step.shape)
            if one is None or str(one.generation) != step.resource_version:
                return
            one.resize(step.replicas)
        elif isinstance(step, Mark):
            pod = by_uid[step.uid]
            pod.marked_at, pod.serving = fleet.now, False
        elif isinstance(step, StartDrain):
            if not self._scraper.reaches(by_uid[step.uid]):
                return
            setup = fleet.setup
            rate = drain_rate(step.uid, samples, setup.closes_per_second, setup.node.drain_rate)
            fleet.start_drain(by_uid[step.uid], rate)
        elif isinstance(step, Release):
            pod = by_uid[step.uid]
            if step.cancel_drain:
                if not self._scraper.reaches(pod):
                    return
                fleet.cancel_drain(pod)
            pod.marked_at, pod.serving = None, True
        elif isinstance(step, DeleteSet):
            fleet.sets = [one for one in fleet.sets if one.shape != step.shape]
        else:
            return
        fleet.touch()
