"""The WsFleet resource: typed models, their bounds and defaults, and the CRD made from them.

The ground floor of the operator: imports nothing of it, and of the node only its settings.
"""

from wsfleet.api.autoscaling import (
    Autoscaling,
    ConnectionsTrigger,
    CpuTrigger,
    RejectionsTrigger,
    ScaleDown,
)
from wsfleet.api.base import Time
from wsfleet.api.fleet import (
    API_VERSION,
    GROUP,
    KIND,
    MAX_NAME_LENGTH,
    NAME_PATTERN,
    PLURAL,
    VERSION,
    InvalidFleetError,
    ObjectMeta,
    WsFleet,
)
from wsfleet.api.network import Nats, SecretKey, ServiceSpec, Stream, Tls
from wsfleet.api.operations import Disruption, MaintenanceWindow, Rebalance, Rollout
from wsfleet.api.overrides import OVERRIDABLE, Overrides
from wsfleet.api.spec import (
    CostFigures,
    Drain,
    Instance,
    Load,
    Profile,
    Reconnects,
    Reserved,
    Sizing,
    WsFleetSpec,
)
from wsfleet.api.status import (
    CONDITION_TYPES,
    Condition,
    CostStatus,
    CostValues,
    NodeSettings,
    Phase,
    Projection,
    ScalingDecision,
    SizeUnderCosts,
    WsFleetStatus,
)
from wsfleet.api.template import EnvVar, Requests, Resources, Template, TopologySpread

__all__ = [
    "API_VERSION",
    "CONDITION_TYPES",
    "GROUP",
    "KIND",
    "MAX_NAME_LENGTH",
    "NAME_PATTERN",
    "OVERRIDABLE",
    "PLURAL",
    "VERSION",
    "Autoscaling",
    "Condition",
    "ConnectionsTrigger",
    "CostFigures",
    "CostStatus",
    "CostValues",
    "CpuTrigger",
    "Disruption",
    "Drain",
    "EnvVar",
    "Instance",
    "InvalidFleetError",
    "Load",
    "MaintenanceWindow",
    "Nats",
    "NodeSettings",
    "ObjectMeta",
    "Overrides",
    "Phase",
    "Profile",
    "Projection",
    "Rebalance",
    "Reconnects",
    "RejectionsTrigger",
    "Requests",
    "Reserved",
    "Resources",
    "Rollout",
    "ScaleDown",
    "ScalingDecision",
    "SecretKey",
    "ServiceSpec",
    "SizeUnderCosts",
    "Sizing",
    "Stream",
    "Template",
    "Time",
    "Tls",
    "TopologySpread",
    "WsFleet",
    "WsFleetSpec",
    "WsFleetStatus",
]
