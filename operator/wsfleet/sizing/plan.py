"""The plan: a node's settings, its pod's resources, what to expect of it, and when to add another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from wsfleet.sizing import rules
from wsfleet.sizing.alerts import Alert, make_alerts
from wsfleet.sizing.alternatives import Alternatives, make_alternatives
from wsfleet.sizing.capacity import Capacity, nodes_for, trigger_connections
from wsfleet.sizing.checks import check_inputs
from wsfleet.sizing.contradictions import seed_notes
from wsfleet.sizing.derive import Derived, derive_settings
from wsfleet.sizing.document import plan_document
from wsfleet.sizing.fleet import (
    Egress,
    FleetCost,
    Share,
    cheapest_fleet,
    egress_of,
    fleet_cost,
    nodes_by_sustained_cpu,
    share_of,
    trigger_cpu_us,
)
from wsfleet.sizing.inputs import Inputs
from wsfleet.sizing.machines import MIB
from wsfleet.sizing.notes import Note, plan_notes
from wsfleet.sizing.overrides import read_overrides
from wsfleet.sizing.projections import (
    Event,
    Pipeline,
    Projection,
    make_ladder,
    make_pipeline,
    make_projections,
)
from wsnode.config import Settings, env_name
from wsnode.config.expectations import ValidationTest, validation_tests

# The seed's "Final Configuration", in its order.
SEED_FIELDS = (
    "cpu_limit",
    "memory_limit",
    "max_connections",
    "worker_pool_size",
    "worker_queue_size",
    "max_goroutines",
    "max_nats_rate",
    "max_broadcast_rate",
    "cpu_reject_threshold",
    "cpu_pause_threshold",
    "js_stream_name",
    "js_consumer_name",
    "js_stream_max_age",
    "js_stream_max_msgs",
    "js_stream_max_bytes",
    "log_level",
    "log_format",
)
_DRAIN_FIELDS = ("drain_delay", "drain_rate", "drain_timeout")

_PLANS_KEPT = 256
_LEAST_REQUEST_BYTES = 128 * MIB  # a Python process with its libraries, before the first connection


@dataclass(frozen=True)
class PodResources:
    """CPU and memory of a pod, as a request or as a limit."""

    cpu_millis: int
    memory_bytes: int


@dataclass(frozen=True)
class CapacityTerms:
    """Connections that each resource alone carries; None where it sets no limit.

    `by_cpu` is by the available CPU (9,000 in the seed), `by_whole_cpu` with a burstable machine's
    bursts (10,000), `by_light_cpu` at a quarter of the message rate (36,000 at 0.5/s).
    """

    by_cpu: int | None
    by_whole_cpu: int | None
    by_light_cpu: int | None
    by_memory: int
    by_network: int | None

    @property
    def bottleneck(self) -> str:
        """The resource that carries the fewest connections."""
        terms = {"CPU": self.by_cpu, "memory": self.by_memory, "network": self.by_network}
        known = {name: term for name, term in terms.items() if term is not None}
        return min(known, key=lambda name: known[name])


@dataclass(frozen=True)
class Plan:
    """What sizing says about one fleet. Every figure follows from `inputs` and `overrides`.

    `settings` is complete and valid; `reasons` has a line for each computed or given field of it.
    """

    inputs: Inputs
    overrides: Mapping[str, Any]
    capacity: Capacity
    derived: Derived
    terms: CapacityTerms
    projections: tuple[Projection, ...]
    ladder: tuple[Event, ...]
    pipeline: Pipeline
    tests: tuple[ValidationTest, ...]
    shares: tuple[Share, ...]
    alternatives: Alternatives
    egress: Egress
    notes: tuple[Note, ...] = ()

    @property
    def settings(self) -> Settings:
        """Complete settings of a node."""
        return self.derived.settings

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why a setting has its value, by field."""
        return self.derived.reasons

    @property
    def trigger(self) -> int:
        """Connections a node at which the fleet grows."""
        return trigger_connections(self.settings.max_connections, self.inputs.triggers.connections_percent)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The seed's alerts with this plan's thresholds."""
        return make_alerts(self.settings, self.trigger, self.inputs.triggers)

    @property
    def pod_limits(self) -> PodResources:
        """Limits of a pod: what the settings let the node use."""
        return PodResources(max(1, round(self.settings.cpu_limit * 1000)), self.settings.memory_limit)

    @property
    def pod_requests(self) -> PodResources:
        """Requests of a pod: a share of the CPU, and the memory of the connections to expect."""
        limits = self.pod_limits
        memory = -int(-self.capacity.memory_bytes(self.expected_connections) // 1)
        wanted = -(-max(memory, _LEAST_REQUEST_BYTES) // MIB) * MIB
        cpu = max(1, limits.cpu_millis * self.inputs.request_cpu_percent // 100)
        return PodResources(cpu, min(limits.memory_bytes, wanted))

    @property
    def expected_connections(self) -> int:
        """Connections of one node at the expected users, evenly spread."""
        users = self.inputs.load.users
        return min(-(-users // self.nodes_for(users)), self.settings.max_connections)

    @property
    def grace_seconds(self) -> int:
        """The pod's termination grace period."""
        return rules.grace_seconds(self.settings.drain_delay, self.settings.drain_timeout)

    def nodes_for(self, users: int) -> int:
        """Nodes for so many users in all, by the connection and the CPU trigger."""
        return nodes_for(users, self.trigger, trigger_cpu_us(self.inputs, self.capacity), self.capacity)

    def sustained_nodes_for(self, users: int) -> int:
        """Nodes for so many users when no CPU burst is counted on."""
        return nodes_by_sustained_cpu(users, self.settings.max_connections, self.inputs, self.capacity)

    def cost_for(self, users: int) -> FleetCost:
        """Cost of the nodes for so many users."""
        return fleet_cost(self.inputs.machine, users, self.nodes_for(users))

    def sustained_cost_for(self, users: int) -> FleetCost:
        """Cost of the nodes for so many users when no CPU burst is counted on."""
        return fleet_cost(self.inputs.machine, users, self.sustained_nodes_for(users))

    def cheapest_for(self, users: int) -> FleetCost | None:
        """The cheapest fleet of any preset for so many users, by sustained CPU."""
        return cheapest_fleet(users, self.inputs)

    def to_env(self) -> dict[str, str]:
        """The seed's environment block: variable -> value, in its order."""
        texts = self.settings.to_env()
        return {env_name(name): texts[env_name(name)] for name in SEED_FIELDS}

    def shown_env(self) -> dict[str, str]:
        """The seed's block, and after it what else was worked out or given by hand: drain, overrides."""
        texts = self.settings.to_env()
        others = [name for name in type(self.settings).model_fields if name in self.reasons]
        return self.to_env() | {
            env_name(name): texts[env_name(name)]
            for name in (*_DRAIN_FIELDS, *others)
            if name not in SEED_FIELDS
        }

    def to_dict(self) -> dict[str, Any]:
        """The whole plan as plain values for JSON: camelCase names that carry their units."""
        return plan_document(self)


def make_plan(inputs: Inputs, overrides: Mapping[str, Any] | None = None) -> Plan:
    """The plan for checked inputs and overrides (by field, camelCase name or variable).

    The last ones are kept: an operator that starts makes a thousand, of which many are alike.

    Raises:
        SizingError: an input or override that no plan can be made from; it names field and bound.
    """
    # As they are written, too: 1 equals True, and a setting may take one and refuse the other.
    given = tuple((name, repr(value), value) for name, value in (overrides or {}).items())
    try:
        hash(given)
    except TypeError:
        return _plan_of.__wrapped__(inputs, given)
    return _plan_of(inputs, given)


@lru_cache(maxsize=_PLANS_KEPT)
def _plan_of(inputs: Inputs, overrides: tuple[tuple[str, str, Any], ...]) -> Plan:
    check_inputs(inputs)
    given = read_overrides({name: value for name, _, value in overrides})
    capacity = Capacity.of(inputs)
    derived = derive_settings(inputs, capacity, given)
    settings = derived.settings
    plan = Plan(
        inputs=inputs,
        overrides=given,
        capacity=capacity,
        derived=derived,
        terms=_terms(capacity),
        projections=make_projections(settings, capacity),
        ladder=make_ladder(settings, capacity, inputs.triggers),
        pipeline=make_pipeline(settings, capacity, inputs.load),
        tests=validation_tests(
            settings, message_rate=capacity.message_rate, peak_message_rate=capacity.peak_rate
        ),
        shares=_shares(settings.max_connections, capacity),
        alternatives=make_alternatives(inputs, capacity, settings.max_connections),
        egress=egress_of(settings.max_connections, capacity, inputs.egress_usd_per_gib),
    )
    return replace(plan, notes=(*plan_notes(plan), *seed_notes(plan)))


def _terms(capacity: Capacity) -> CapacityTerms:
    light = capacity.message_rate / 4
    return CapacityTerms(
        by_cpu=capacity.connections_by_cpu(capacity.available_cpu_us),
        by_whole_cpu=capacity.connections_by_cpu(capacity.whole_cpu_us),
        by_light_cpu=capacity.connections_by_cpu(capacity.available_cpu_us, light),
        by_memory=capacity.connections_by_memory(),
        by_network=capacity.connections_by_network(capacity.message_rate),
    )


def _shares(most: int, capacity: Capacity) -> tuple[Share, ...]:
    """The seed's scaling math: two full nodes, and three for the users of two."""
    return (share_of(2, 2 * most, capacity), share_of(3, 2 * most, capacity))
