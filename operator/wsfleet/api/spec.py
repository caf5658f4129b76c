"""The spec of a WsFleet: what a user writes, with its bounds and defaults.

The schema changes by addition only. What this release does not carry out has no field here, so
that nothing is accepted and then ignored.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from wsfleet.api.autoscaling import MOST_NODES, Autoscaling
from wsfleet.api.base import Rule, SpecModel, section
from wsfleet.api.machine_types import MACHINE_TYPES
from wsfleet.api.network import Nats, ObjectName, ServiceSpec, Tls
from wsfleet.api.operations import Disruption, Rebalance, Rollout
from wsfleet.api.override_rules import SPEC_RULES
from wsfleet.api.overrides import Overrides
from wsfleet.api.quantities import BYTES, MachineCpu, MachineMemory, NetworkRate, Quantity
from wsfleet.api.template import Template

ImageReference = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^\S+$")]

Profile = Literal["Conservative", "Balanced", "Aggressive"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


class Reserved(SpecModel):
    """What the machine's own system keeps of it."""

    cpu_millis: MachineCpu | None = Field(
        default=None, alias="cpu", description="CPU kept for the system, in cores; default 200m"
    )
    memory_bytes: MachineMemory | None = Field(
        default=None, alias="memory", description="memory kept for the system; default 256Mi"
    )


class Instance(SpecModel):
    """The machine that one node has to itself: a preset, or figures, or a preset with figures over it."""

    RULES: ClassVar = (
        Rule(
            f"!has(self.type) || self.type in {list(MACHINE_TYPES)} || (has(self.cpu) && has(self.memory))",
            lambda own: own.type is None or own.type in MACHINE_TYPES or _is_sized(own),
            f"no known machine type; known are {', '.join(MACHINE_TYPES)}; any other needs cpu and memory",
            ".type",
        ),
        Rule(
            "!has(self.cpu) || has(self.type) || has(self.memory)",
            lambda own: own.cpu_millis is None or own.type is not None or _is_sized(own),
            "memory must be given where cpu is and no type",
            ".memory",
        ),
    )

    type: Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = (
        Field(
            default=None,
            description="one of `wsfleet plan --list-instances`, or any other with cpu and memory given; "
            "default e2-small",
        )
    )
    cpu_millis: MachineCpu | None = Field(default=None, alias="cpu", description="CPU, in cores (2 or 1800m)")
    sustained_cpu_millis: MachineCpu | None = Field(
        default=None,
        alias="sustainedCpu",
        description="CPU that a burstable machine holds for ever, in cores",
    )
    memory_bytes: MachineMemory | None = Field(default=None, alias="memory", description="memory (2Gi)")
    network_bits_per_second: NetworkRate | None = Field(
        default=None, alias="network", description="network, in bits a second (1G)"
    )
    burstable: bool | None = Field(default=None, description="whether CPU above sustainedCpu is a burst")
    monthly_cost_usd: float | None = Field(
        default=None, alias="monthlyCost", ge=0, le=1_000_000, description="price of a month, in USD"
    )
    reserved: Reserved = section(Reserved, "what the system keeps of the machine")


def _is_sized(instance: Instance) -> bool:
    return instance.cpu_millis is not None and instance.memory_bytes is not None


class Load(SpecModel):
    """The load that is expected; nodes are sized for it."""

    users: int | None = Field(
        default=None, ge=1, le=100_000_000, description="users connected at once, in the whole fleet"
    )
    messages_per_second: float = Field(
        default=2, ge=0, le=10_000, description="messages a second that one user receives, on average"
    )
    peak_messages_per_second: float | None = Field(
        default=None, ge=0, le=100_000, description="the same at the peak; default twice the average"
    )
    message_bytes: int = Field(
        default=400, ge=1, le=16_777_216, description="bytes of a message on the wire, on average"
    )
    publish_rate: float = Field(
        default=12, ge=0, le=1_000_000, description="messages a second that are published, at the peak"
    )
    subscribers_per_channel: int = Field(
        default=200, ge=0, le=100_000_000, description="users that one message goes to"
    )

    RULES: ClassVar = (
        Rule(
            "!has(self.peakMessagesPerSecond) || self.peakMessagesPerSecond >= self.messagesPerSecond",
            lambda own: own.peak_rate >= own.messages_per_second,
            "peakMessagesPerSecond must not be below messagesPerSecond",
            ".peakMessagesPerSecond",
        ),
    )

    @property
    def peak_rate(self) -> float:
        """Messages a second to one user at the peak (the seed plans 4 at an average of 2)."""
        return (
            2 * self.messages_per_second
            if self.peak_messages_per_second is None
            else self.peak_messages_per_second
        )


class CostFigures(SpecModel):
    """Costs that somebody measured, in place of the seed document's assumptions."""

    cpu_micros_per_message: float = Field(
        alias="cpuMicrosecondsPerMessage",
        gt=0,
        le=1_000_000,
        description="CPU of one message delivered to one user, in microseconds (the seed assumes 100)",
    )
    cpu_micros_per_published: float = Field(
        default=0,
        alias="cpuMicrosecondsPerPublished",
        ge=0,
        le=1_000_000,
        description="CPU of a node for one message published, in microseconds, however many receive it",
    )
    memory_bytes_per_connection: Annotated[int, Quantity(BYTES, 100, 2**30)] = Field(
        alias="memoryPerConnection", description="memory of one connection (the seed assumes 100k)"
    )


class Sizing(SpecModel):
    """Where the sizing rules take their figures from."""

    RULES: ClassVar = (
        Rule(
            "(self.costs == 'Figures') == has(self.figures)",
            lambda own: (own.costs == "Figures") == (own.figures is not None),
            "figures must be given when costs is Figures, and only then",
            ".figures",
        ),
    )

    costs: Literal["Seed", "Measured", "Figures"] = Field(
        default="Seed",
        description="costs of a message and a connection: the seed document's, what the fleet's own nodes "
        "measure (in steps of at most 20 % a day; the seed's until enough is known), or `figures`",
    )
    figures: CostFigures | None = Field(default=None, description="costs by hand")
    limits: Literal["Testing", "Conservative", "Moderate", "Aggressive"] = Field(
        default="Testing", description="rate limits of a node: Testing has none"
    )


class Reconnects(SpecModel):
    """How fast the fleet may send clients away, all causes together."""

    per_second: float | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="connections closed a second; default the greater of 100 and 1/1800 of them",
    )


class Drain(SpecModel):
    """How a node is emptied before it goes."""

    RULES: ClassVar = (
        Rule(
            "self.timeoutSeconds >= self.delaySeconds",
            lambda own: own.timeout_seconds >= own.delay_seconds,
            "timeoutSeconds must not be below delaySeconds",
            ".timeoutSeconds",
        ),
    )

    delay_seconds: int = Field(
        default=10,
        ge=0,
        le=300,
        description="seconds a draining node still accepts, until routes forget it; "
        "spec.overrides.drainDelay wins over it",
    )
    timeout_seconds: int = Field(
        default=300,
        ge=1,
        le=500,
        description="seconds after which those who are left are cut, raised to what a full node needs; "
        "spec.overrides.drainTimeout wins over it",
    )


class PullSecret(SpecModel):
    """A Secret with registry credentials."""

    name: ObjectName = Field(description="name of the Secret")


class WsFleetSpec(SpecModel):
    """The fleet that is wished for."""

    RULES: ClassVar = SPEC_RULES

    image: ImageReference | None = Field(
        default=None, description="image of the node; default that of the operator's own release"
    )
    image_pull_policy: PullPolicy | None = Field(default=None, description="when the image is pulled")
    image_pull_secrets: list[PullSecret] = Field(
        default_factory=list, max_length=8, description="Secrets with registry credentials"
    )
    instance: Instance = section(Instance, "the machine that one node has to itself")
    load: Load = section(Load, "the load that is expected")
    profile: Profile = Field(default="Balanced", description="how full a node is run")
    sizing: Sizing = section(Sizing, "where the sizing rules take their figures from")
    overrides: Overrides = section(
        Overrides,
        "settings of the node, in place of what the sizing rules give; they also win over spec.drain and "
        "spec.nats.stream",
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="scaling by the fleet's own figures; absent leaves the size to `replicas`"
    )
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=MOST_NODES,
        description="nodes while autoscaling is absent; a new fleet runs 1 without it, others hold theirs",
    )
    reconnects: Reconnects = section(Reconnects, "the fleet's budget of closed connections")
    drain: Drain = section(Drain, "how a node is emptied before it goes")
    rebalance: Rebalance = section(Rebalance, "evening out connections that are there")
    disruption: Disruption = section(Disruption, "what others may do to the fleet's pods")
    rollout: Rollout = section(Rollout, "how nodes are replaced")
    nats: Nats = Field(description="where messages come from")
    service: ServiceSpec = section(ServiceSpec, "the Service that clients connect to")
    tls: Tls | None = Field(
        default=None, description="TLS ended in the nodes; absent serves plain ws:// and http://"
    )
    template: Template = section(Template, "additions to the pods")
