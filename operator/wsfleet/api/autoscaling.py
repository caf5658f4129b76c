"""`spec.autoscaling`: when a node is added, and when one is taken away.

Defaults are the seed document's triggers ("Scaling Strategy"): 80 % of the connection limit, CPU
above 60 % for five minutes, repeated rejections for CPU.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from wsfleet.api.base import Rule, SpecModel, section


class ConnectionsTrigger(SpecModel):
    """Nodes by the fleet's total of connections."""

    target_percent: int = Field(
        default=80, ge=10, le=100, description="connections a node is filled to, in % of WS_MAX_CONNECTIONS"
    )


class CpuTrigger(SpecModel):
    """Nodes by the mean CPU of those that are ready."""

    target_percent: int = Field(default=60, ge=10, le=95, description="CPU above which nodes are added, in %")
    sustained_seconds: int = Field(default=300, ge=10, le=3600, description="seconds that it must stay above")


class RejectionsTrigger(SpecModel):
    """One node more when nodes refuse clients for CPU."""

    per_minute: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="rejections a minute, in the whole fleet, above which it counts",
    )
    sustained_seconds: int = Field(default=30, ge=5, le=3600, description="seconds that it must stay above")


class ScaleDown(SpecModel):
    """When a node is taken away, always one at a time and drained first."""

    stabilization_seconds: int = Field(
        default=300, ge=0, le=3600, description="seconds whose highest recommendation is followed"
    )
    headroom_percent: int = Field(
        default=70,
        ge=5,
        le=95,
        description="connections that the rest must stay below after it, in % of WS_MAX_CONNECTIONS",
    )


class Autoscaling(SpecModel):
    """Scaling by the fleet's own figures."""

    RULES: ClassVar = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            lambda own: own.min_replicas <= own.max_replicas,
            "minReplicas must not be above maxReplicas",
            ".minReplicas",
        ),
    )

    min_replicas: int = Field(default=1, ge=1, le=1000, description="fewest nodes")
    max_replicas: int = Field(ge=1, le=1000, description="most nodes")
    connections: ConnectionsTrigger = section(ConnectionsTrigger, "nodes by the total of connections")
    cpu: CpuTrigger = section(CpuTrigger, "nodes by CPU")
    rejections: RejectionsTrigger = section(RejectionsTrigger, "nodes by refused clients")
    scale_down: ScaleDown = section(ScaleDown, "when a node is taken away")
    paused: bool = Field(default=False, description="decisions are computed and shown, and not carried out")
