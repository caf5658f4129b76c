"""Scaling: values in, decisions with reasons out. No I/O, no clock, no Kubernetes; time is a parameter.

Each 5 s, for each fleet::

    world = World.of(sets, pods, target_shape=plan_hash, desired=history.desired or 0)
    snapshot = Snapshot.of(now, pods, replicas=world.total, rolling=is_rolling(world, rollout_policy))
    decision, history = decide(policy, snapshot, history, now)
    step = next_fleet_step(replace(world, desired=decision.desired), rollout_policy)
    balance, memory = rebalance(balance_policy, pods, memory, now, closes_per_second(total), busy)
    labels = steer(pods, policy.max_connections, receivers=balance.receivers)

`pods` are `NodeSample`s, terminating ones included; `sets` are all ReplicaSets of the fleet, empty ones too.
`step` is one thing to do (`CreateSet`, `Resize`, `Mark`, `StartDrain`, several of these two `Together`,
`Release`, `DeleteSet`) or a reason to do nothing (`Wait`, `Stalled`, `Idle`); do it, look at the world again,
ask again. `next_fleet_step` never mixes rollout and scale-in; the two are there on their own as
`next_rollout_step` and `next_scale_in_step`. `Rebalance.sheds` are sent to the nodes.
`history.to_status()` goes into the status whenever that is written, `History.from_status()` reads it at the
start. `scaling_conditions(decision)` and `progress_conditions(step)` are the texts for people.
"""

from wsfleet.scaling.budget import drain_rate, drain_rates, rates_to_tell
from wsfleet.scaling.conditions import ConditionText, progress_conditions, scaling_conditions
from wsfleet.scaling.decide import decide
from wsfleet.scaling.decision import Decision, Hold, HoldKind, Trigger
from wsfleet.scaling.explain import explain, explain_decision
from wsfleet.scaling.history import History
from wsfleet.scaling.policy import (
    RetirePolicy,
    RolloutPolicy,
    ScalingPolicy,
    closes_per_second,
    nodes_at_once,
)
from wsfleet.scaling.rebalance import (
    Rebalance,
    RebalanceMemory,
    RebalancePhase,
    RebalancePolicy,
    Shed,
    rebalance,
)
from wsfleet.scaling.rollout import is_rolling, next_fleet_step, next_rollout_step
from wsfleet.scaling.samples import DrainState, NodeSample, Phase, Snapshot, count, drain_state, figure
from wsfleet.scaling.scalein import next_scale_in_step
from wsfleet.scaling.steering import LabelChange, steer
from wsfleet.scaling.victim import choose_victim
from wsfleet.scaling.windows import Window, closed_until, shape_to_keep
from wsfleet.scaling.world import (
    CreateSet,
    DeleteSet,
    Idle,
    Mark,
    Release,
    Resize,
    SetView,
    Stalled,
    StartDrain,
    Step,
    Together,
    Wait,
    World,
)

__all__ = [
    "ConditionText",
    "CreateSet",
    "Decision",
    "DeleteSet",
    "DrainState",
    "History",
    "Hold",
    "HoldKind",
    "Idle",
    "LabelChange",
    "Mark",
    "NodeSample",
    "Phase",
    "Rebalance",
    "RebalanceMemory",
    "RebalancePhase",
    "RebalancePolicy",
    "Release",
    "Resize",
    "RetirePolicy",
    "RolloutPolicy",
    "ScalingPolicy",
    "SetView",
    "Shed",
    "Snapshot",
    "Stalled",
    "StartDrain",
    "Step",
    "Together",
    "Trigger",
    "Wait",
    "Window",
    "World",
    "choose_victim",
    "closed_until",
    "closes_per_second",
    "count",
    "decide",
    "drain_rate",
    "drain_rates",
    "drain_state",
    "explain",
    "explain_decision",
    "figure",
    "is_rolling",
    "next_fleet_step",
    "next_rollout_step",
    "next_scale_in_step",
    "nodes_at_once",
    "progress_conditions",
    "rates_to_tell",
    "rebalance",
    "scaling_conditions",
    "shape_to_keep",
    "steer",
]
