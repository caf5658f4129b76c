"""What a user may add to the pods of a fleet: an allow-list that can't raise their privilege.

No service account, no volumes, no Secrets in the environment: whoever may write a WsFleet must
not gain by it what only the namespace's owner may do. Shapes follow the pod's own API.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints
from pydantic.config import JsonDict

from wsfleet.api.base import Rule, SpecModel
from wsfleet.api.quantities import MachineCpu, MachineMemory

_LABEL_NAME = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)"
_QUALIFIED = rf"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_LABEL_NAME}$"

QualifiedName = Annotated[str, StringConstraints(min_length=1, max_length=317, pattern=_QUALIFIED)]
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=rf"^{_LABEL_NAME}?$")]
AnnotationValue = Annotated[str, StringConstraints(max_length=4096)]

_SETTINGS_FAMILIES = ("WS_", "JS_", "NATS_", "LOG_")

_OWN_PREFIX = "wsfleet.io/"
_OWN_KEYS = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "controller.kubernetes.io/pod-deletion-cost",  # says which pod of a set goes first: the drained one
)


def key_map(description: str, entries: int = 32) -> Any:
    """A bounded map of labels or annotations."""
    rule: JsonDict = {
        "rule": f"self.all(key, key.matches('{_QUALIFIED}'))",
        "message": "keys must be [prefix/]name",
        "reason": "FieldValueInvalid",
    }
    return Field(
        default_factory=dict,
        max_length=entries,
        description=description,
        json_schema_extra={"x-kubernetes-validations": [rule]},
    )


def own_keys_refused(field: str) -> Rule:
    """The rule that a map leaves the operator's own labels and annotations alone."""
    own = ", ".join(f"'{key}'" for key in _OWN_KEYS)
    return Rule(
        f"!has(self.{field}) || !self.{field}.exists(key, key.startsWith('{_OWN_PREFIX}') || key in [{own}])",
        lambda part: not any(key.startswith(_OWN_PREFIX) or key in _OWN_KEYS for key in getattr(part, field)),
        "keys under wsfleet.io/, app.kubernetes.io/{name,instance,managed-by} and "
        "controller.kubernetes.io/pod-deletion-cost are the operator's own",
        f".{field}",
    )


class Requirement(SpecModel):
    """One condition on a label or a field."""

    key: QualifiedName = Field(description="label key")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(description="comparison")
    values: list[LabelValue] = Field(default_factory=list, max_length=32, description="values compared with")


class LabelSelector(SpecModel):
    """Labels that pods must have."""

    match_labels: dict[QualifiedName, LabelValue] = Field(
        default_factory=dict, max_length=16, description="labels that must be equal"
    )
    match_expressions: list[Requirement] = Field(
        default_factory=list, max_length=16, description="conditions that must hold"
    )


class NodeSelectorTerm(SpecModel):
    """Conditions on a Kubernetes node, all of which must hold."""

    match_expressions: list[Requirement] = Field(
        default_factory=list, max_length=16, description="conditions on the node's labels"
    )
    match_fields: list[Requirement] = Field(
        default_factory=list, max_length=4, description="conditions on the node's fields (metadata.name)"
    )


class NodeSelector(SpecModel):
    """Terms of which one must hold."""

    node_selector_terms: list[NodeSelectorTerm] = Field(min_length=1, max_length=16, description="the terms")


class PreferredNode(SpecModel):
    """A wish about the Kubernetes node, with its weight."""

    weight: int = Field(ge=1, le=100, description="weight of the wish")
    preference: NodeSelectorTerm = Field(description="what is wished")


class NodeAffinity(SpecModel):
    """Which Kubernetes nodes the pods may or should run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, description="must hold"
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredNode] = Field(
        default_factory=list, max_length=16, description="should hold"
    )


class PodAffinityTerm(SpecModel):
    """Pods to be near to or far from."""

    label_selector: LabelSelector | None = Field(default=None, description="which pods")
    topology_key: QualifiedName = Field(description="node label that says what near means")
    namespaces: list[LabelValue] = Field(
        default_factory=list, max_length=16, description="their namespaces; empty is the fleet's own"
    )


class WeightedPodAffinityTerm(SpecModel):
    """A wish about other pods, with its weight."""

    weight: int = Field(ge=1, le=100, description="weight of the wish")
    pod_affinity_term: PodAffinityTerm = Field(description="what is wished")


class PodAffinity(SpecModel):
    """Where other pods are, or are not."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = Field(
        default_factory=list, max_length=16, description="must hold"
    )
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] = Field(
        default_factory=list, max_length=16, description="should hold"
    )


class Affinity(SpecModel):
    """Scheduling rules, as in a pod."""

    node_affinity: NodeAffinity | None = Field(default=None, description="rules about Kubernetes nodes")
    pod_affinity: PodAffinity | None = Field(default=None, description="pods to be near to")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="pods to be far from")


class Toleration(SpecModel):
    """A taint that the pods bear, as in a pod."""

    key: QualifiedName | None = Field(default=None, description="taint key; absent with Exists bears all")
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="comparison")
    value: LabelValue | None = Field(default=None, description="taint value")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="taint effect; absent bears all effects"
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=86_400, description="seconds a NoExecute taint is borne"
    )


class TopologySpread(SpecModel):
    """How evenly the fleet's own pods are spread; the operator adds the selector."""

    max_skew: int = Field(default=1, ge=1, le=1000, description="pods that places may differ by")
    topology_key: QualifiedName = Field(description="node label that names the places")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        default="ScheduleAnyway", description="whether an uneven pod waits or is placed all the same"
    )


class EnvVar(SpecModel):
    """A plain variable for the node's process; settings of the node belong in `overrides`."""

    RULES: ClassVar = (
        Rule(
            " && ".join(f"!self.name.startsWith('{family}')" for family in _SETTINGS_FAMILIES),
            lambda own: not own.name.startswith(_SETTINGS_FAMILIES),
            "settings of the node go into spec.overrides and spec.nats, not into the environment",
            ".name",
        ),
    )

    name: Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="name of the variable"
    )
    value: Annotated[str, StringConstraints(max_length=4096)] = Field(
        default="", description="its value, readable by all who may read the fleet: no secrets"
    )


class Requests(SpecModel):
    """What a pod asks Kubernetes to keep for it; limits come from `spec.instance`."""

    cpu_millis: MachineCpu | None = Field(
        default=None,
        alias="cpu",
        description="CPU kept for a pod, in cores (500m); default 25 % of the limit",
    )
    memory_bytes: MachineMemory | None = Field(
        default=None,
        alias="memory",
        description="memory kept for a pod; default what the expected load needs",
    )


class Resources(SpecModel):
    """Resources of the node's container."""

    requests: Requests | None = Field(default=None, description="what a pod asks for")


class Template(SpecModel):
    """Additions to the pods of the fleet. A change replaces the pods, one by one."""

    RULES: ClassVar = (own_keys_refused("labels"), own_keys_refused("annotations"))

    labels: dict[QualifiedName, LabelValue] = key_map("labels added to the pods")
    annotations: dict[QualifiedName, AnnotationValue] = key_map("annotations added to the pods")
    node_selector: dict[QualifiedName, LabelValue] = key_map("labels that a Kubernetes node must have", 16)
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=16, description="taints that the pods bear"
    )
    affinity: Affinity | None = Field(default=None, description="scheduling rules")
    topology_spread: list[TopologySpread] = Field(
        default_factory=list,
        max_length=4,
        description="how the pods are spread; default evenly over machines, as far as it goes",
    )
    priority_class: Annotated[str, StringConstraints(max_length=253)] | None = Field(
        default=None, description="name of the pods' PriorityClass"
    )
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=32,
        description="plain variables for the node's process",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    resources: Resources | None = Field(default=None, description="resources that a pod asks for")
