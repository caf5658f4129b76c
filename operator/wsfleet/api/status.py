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
