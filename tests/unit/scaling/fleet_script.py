"""A fleet told in figures: nodes by the tuple, looked at every 5 s."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from wsfleet.scaling import Decision, DrainState, History, NodeSample, Phase, ScalingPolicy, Snapshot, decide

PERIOD_SECONDS = 5.0
START = 1_800_000_000.0


def node(uid: str, connections: int | None = 0, cpu: float | None = 10.0, **more: object) -> NodeSample:
    """A ready node that has been up for long and just answered."""
    figures: dict[str, object] = {
        "ready": True,
        "ready_seconds": 5000.0,
        "drain": DrainState.NONE,
        "machine": "m1",
        "max_connections": 10_000,
        "sample_age_seconds": 1.0,
        "pod_age_seconds": 5000.0,
    } | more
    return NodeSample(uid=uid, name=uid, shape="a", connections=connections, cpu_percent=cpu, **figures)  # type: ignore[arg-type]


def silent(uid: str, **more: object) -> NodeSample:
    """A ready node whose admin port gives nothing."""
    return node(uid, None, None, **({"sample_age_seconds": None, "max_connections": None} | more))


def pending(uid: str, unschedulable: bool = False) -> NodeSample:
    """A pod that has not started."""
    return NodeSample(
        uid=uid, name=uid, shape="a", phase=Phase.PENDING, unschedulable=unschedulable, pod_age_seconds=3.0
    )


@dataclass
class Fleet:
    """A fleet's decisions one after the other; each look takes the history of the one before."""

    policy: ScalingPolicy
    history: History = field(default_factory=History)
    now: float = START
    fixed_percent: float = 0.0
    last: Decision | None = None

    def look(self, *nodes: NodeSample, replicas: int | None = None, rolling: bool = False) -> Decision:
        """One look, 5 s after the one before."""
        total = sum(1 for one in nodes if not one.terminating) if replicas is None else replicas
        snapshot = Snapshot.of(self.now, nodes, total, rolling)
        decision, self.history = decide(self.policy, snapshot, self.history, self.now, self.fixed_percent)
        self.now += PERIOD_SECONDS
        self.last = decision
        return decision

    def look_for(
        self, seconds: float, nodes: Callable[[float], Iterable[NodeSample]] | Iterable[NodeSample]
    ) -> list[Decision]:
        """Looks for so many seconds; `nodes` may be a function of the seconds since the first of them."""
        began, decisions = self.now, []
        while self.now < began + seconds:
            seen = nodes(self.now - began) if callable(nodes) else nodes
            decisions.append(self.look(*seen))
        return decisions


def settled(policy: ScalingPolicy, size: int) -> Fleet:
    """A fleet of a size that was decided on long ago and that nobody watches yet."""
    return Fleet(policy, History(desired=size))
