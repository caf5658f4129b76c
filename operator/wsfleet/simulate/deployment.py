"""The peer: an HPA over a Deployment, with Kubernetes' defaults; its pods close all clients at SIGTERM."""

from __future__ import annotations

import math

from wsfleet.simulate.fleet import Fleet
from wsfleet.simulate.hpa import SYNC_SECONDS, HpaMemory, HpaPod, HpaPolicy, next_replicas
from wsfleet.simulate.pods import Pod, ReplicaSet
from wsfleet.simulate.scraping import Scraper

METRICS_SECONDS = 15.0
"""How often metrics-server and the adapter of the connections' metric read the pods."""
_METRICS_BEFORE_SYNC_SECONDS = 10.0
_SURGE_SHARE = _UNAVAILABLE_SHARE = 0.25


class HpaControl:
    """One HPA with two metrics (mean connections a pod, CPU %) that scales one Deployment."""

    def __init__(self, shape: str, nodes: int, seed: int, policy: HpaPolicy) -> None:
        self._shape = shape
        self._desired = nodes
        self._policy = policy
        self._memory = HpaMemory()
        self._scraper = Scraper(seed, starving=False)
        self._next_sync = SYNC_SECONDS
        self._next_metrics = SYNC_SECONDS - _METRICS_BEFORE_SYNC_SECONDS

    @property
    def desired(self) -> int:
        return self._desired

    def new_shape(self, fleet: Fleet, shape: str) -> None:
        self._shape = shape
        fleet.sets.append(ReplicaSet(shape, 0, fleet.now))

    def silence(self, share: float) -> None:
        self._scraper.share_silent = share

    def act(self, fleet: Fleet) -> None:
        if fleet.now >= self._next_metrics:
            self._scraper.scrape(fleet)
            self._next_metrics += METRICS_SECONDS
        if fleet.now >= self._next_sync:
            self._next_sync += SYNC_SECONDS
            pods = [self._pod(fleet, pod) for pod in fleet.active]
            self._desired, self._memory = next_replicas(
                self._policy, pods, self._desired, self._memory, fleet.now
            )
        self._deploy(fleet)

    def _pod(self, fleet: Fleet, pod: Pod) -> HpaPod:
        seen = self._scraper.seen.get(pod.uid)
        fresh = seen is not None and fleet.now - seen.taken < 2 * METRICS_SECONDS + self._lag
        return HpaPod(
            connections=float(seen.connections) if seen and fresh else None,
            cpu_percent=seen.cpu if seen and fresh else None,
            ready=pod.ready,
            pending=not pod.running,
            age=fleet.now - pod.created,
            ready_changed_age=fleet.now - pod.ready_changed,
            cpu_age=fleet.now - seen.taken if seen else 0.0,
        )

    @property
    def _lag(self) -> float:
        return _METRICS_BEFORE_SYNC_SECONDS

    def _deploy(self, fleet: Fleet) -> None:
        """The Deployment's controller: RollingUpdate with a quarter of surge and a quarter unavailable.

        It counts pods that are terminating neither as surge nor as available.
        """
        new = fleet.set_of(self._shape)
        old = [one for one in fleet.sets if one.shape != self._shape and one.replicas]
        if new is None:
            return
        if not old:
            if new.replicas != self._desired:
                new.resize(self._desired)
            return
        most = self._desired + math.ceil(self._desired * _SURGE_SHARE)
        least = self._desired - int(self._desired * _UNAVAILABLE_SHARE)
        total = new.replicas + sum(one.replicas for one in old)
        grow = min(self._desired - new.replicas, most - total)
        if grow > 0:
            new.resize(new.replicas + grow)
            return
        fresh = [pod for pod in fleet.active if pod.shape == self._shape]
        unavailable = new.replicas - sum(1 for pod in fresh if pod.ready)
        cleanup = total - least - unavailable
        for one in old:
            fewer = min(one.replicas, max(0, cleanup))
            if fewer:
                one.resize(one.replicas - fewer)
                cleanup -= fewer
