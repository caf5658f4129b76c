"""The status of a WsFleet: what the operator saw and decided, and what a restart of it needs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from wsfleet.api.base import StatusModel, Time

Text = Annotated[str, StringConstraints(max_length=1024)]
Word = Annotated[str, StringConstraints(max_length=256)]
Phase = Literal["Pending", "Running", "Scaling", "RollingOut", "Degraded", "Paused"]

CONDITION_TYPES = (
    "Ready",
    "Progressing",
    "Degraded",
    "ScalingActive",
    "ScalingLimited",
    "FeedConnected",
    "StreamDiffers",
    "Reconciling",
    "Stalled",
)
"""All condition types that the operator writes; the last two are for tools that read kstatus."""


class Condition(StatusModel):
    """One condition, as in Kubernetes' own API; the transition time moves only when the status flips."""

    type: Annotated[str, StringConstraints(max_length=64)] = Field(description="which condition")
    status: Literal["True", "False", "Unknown"] = Field(description="whether it holds")
    reason: Annotated[str, StringConstraints(max_length=128)] = Field(description="cause, as one word")
    message: Text = Field(default="", description="cause, for people")
    last_transition_time: Time = Field(description="when the status last flipped")
    observed_generation: int | None = Field(default=None, ge=0, description="generation it was found at")


class NodeSettings(StatusModel):
    """What the sizing rules gave a node, and how far it has got."""

    values: dict[Word, Word] = Field(
        default_factory=dict, max_length=80, description="variable and value of each setting"
    )
    hash: Word = Field(default="", description="hash of the settings file")
    in_force: int = Field(default=0, ge=0, description="nodes that have these settings in force")
    refused: Text = Field(default="", description="why a node refused its settings file")
    notes: list[Text] = Field(default_factory=list, max_length=32, description="what the sizing rules remark")


class Projection(StatusModel):
    """What one node needs at one load, by the sizing rules."""

    name: Word = Field(description="name of the load: light, target or peak")
    connections: int = Field(ge=0, description="connections of the node")
    messages_per_second: float = Field(ge=0, description="messages a second to one user")
    cpu_percent: float = Field(ge=0, description="CPU, in % of what is available")
    memory_percent: float = Field(ge=0, description="memory, in % of what is available")
    goroutines_percent: float = Field(ge=0, description="units of concurrent work, in % of the limit")
    network_percent: float = Field(ge=0, description="network, in % of the machine's")
    verdict: Word = Field(default="", description="ok, warning or over")


class ScalingDecision(StatusModel):
    """One decision of the scaling rules, with its reasons."""

    time: Time = Field(description="when it was made")
    from_replicas: int = Field(alias="from", ge=0, description="nodes before")
    to_replicas: int = Field(alias="to", ge=0, description="nodes wished for")
    trigger: Word = Field(description="rule that decided")
    reasons: list[Text] = Field(default_factory=list, max_length=16, description="why, for people")
    holds: list[Text] = Field(default_factory=list, max_length=16, description="what kept it from more")
    figures: dict[Word, float] = Field(
        default_factory=dict, max_length=32, description="figures that the reasons speak of, by name"
    )


class CostValues(StatusModel):
    """What traffic costs one node."""

    message_cpu_micros: float = Field(
        alias="cpuMicrosecondsPerMessage", ge=0, description="CPU of one message delivered to one user"
    )
    published_cpu_micros: float = Field(
        alias="cpuMicrosecondsPerPublished",
        ge=0,
        description="CPU of a node for one message published, in all of its processes together",
    )
    idle_cpu_micros: float = Field(
        default=0, alias="cpuMicrosecondsIdle", ge=0, description="CPU a second of a node whatever comes"
    )
    memory_per_connection: float = Field(
        alias="memoryPerConnection", ge=0, description="memory of one connection, in bytes"
    )


class SizeUnderCosts(StatusModel):
    """What the sizing rules give under some costs."""

    connections: int = Field(ge=0, description="connections that one node takes")
    nodes: int = Field(ge=0, description="nodes for the expected users")
    monthly_cost: float | None = Field(default=None, ge=0, description="price of those a month, in USD")


class CostStatus(StatusModel):
    """What the fleet's nodes cost by their own figures, beside what the seed document assumes."""

    source: Literal["Seed", "Measured", "Figures"] = Field(description="costs that the nodes are sized by")
    message: Text = Field(default="", description="how far the measuring has got, for people")
    intervals: int = Field(default=0, ge=0, description="minutes of single nodes that were measured")
    sure: bool = Field(default=False, description="whether enough is known to size by it")
    users: int | None = Field(default=None, ge=0, description="users that the sizes are for")
    measured: CostValues | None = Field(default=None, description="costs by the nodes' own figures")
    in_force: CostValues | None = Field(
        default=None, description="measured costs as far as they are applied; only with costs: Measured"
    )
    moved_at: Time | None = Field(default=None, description="when the costs in force last moved")
    fixed_cpu_percent: float | None = Field(
        default=None, ge=0, description="of a node's CPU %, what does not grow with its connections"
    )
    by_seed: SizeUnderCosts | None = Field(default=None, description="size under the seed's costs")
    by_measured: SizeUnderCosts | None = Field(default=None, description="size under measured costs")
    saving: float | None = Field(
        default=None, description="what measured costs would save a month, in USD; negative if they cost more"
    )


class WsFleetStatus(StatusModel):
    """The fleet as it was last seen."""

    observed_generation: int | None = Field(default=None, ge=0, description="generation of the spec acted on")
    phase: Phase | None = Field(default=None, description="state in one word")
    replicas: int | None = Field(default=None, ge=0, description="nodes there are")
    ready_replicas: int | None = Field(default=None, ge=0, description="nodes that are ready")
    desired_replicas: int | None = Field(default=None, ge=0, description="nodes wished for")
    selector: Text | None = Field(default=None, description="label selector of the fleet's pods")
    connections: int | None = Field(default=None, ge=0, description="connections of all nodes")
    capacity: int | None = Field(default=None, ge=0, description="connections that all nodes accept")
    cpu_percent: float | None = Field(default=None, ge=0, description="mean CPU of the ready nodes, in %")
    image: Text | None = Field(default=None, description="image that the fleet is pinned to")
    shape: Word | None = Field(default=None, description="hash of the pod template that is wished for")
    proven_shape: Word | None = Field(
        default=None, description="hash of the last template whose pods were ready"
    )
    node_settings: NodeSettings | None = Field(default=None, description="what the sizing rules gave a node")
    projections: list[Projection] = Field(
        default_factory=list, max_length=8, description="what one node needs at the loads of the sizing rules"
    )
    recommendation: Text | None = Field(default=None, description="what would fit better, for people")
    costs: CostStatus | None = Field(
        default=None, description="measured costs beside the seed's, and what would follow from them"
    )
    last_decision: Text | None = Field(
        default=None, description="the last decision in one line, for the column"
    )
    scaling: list[ScalingDecision] = Field(
        default_factory=list, max_length=10, description="last decisions, newest first"
    )
    holds: list[Text] = Field(
        default_factory=list,
        max_length=16,
        description="what keeps the fleet from the size that its load asks for, at the last look",
    )
    rebalance: Word | None = Field(
        default=None, description="where a rebalance stands; absent while there is none"
    )
    # Its shape is the scaling rules' own affair, written and read by them alone.
    memory: dict[str, Any] | None = Field(
        default=None,
        description="what a restarted operator must know to go on as the one before it; private to it",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="conditions",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
