"""From a WsFleet's spec to the inputs of a plan; the only module of sizing that knows the resource."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wsfleet.api import CostValues, WsFleetSpec
from wsfleet.api.spec import Sizing
from wsfleet.sizing.inputs import (
    Costs,
    CostSource,
    Drain,
    Inputs,
    Limits,
    Load,
    Profile,
    Reserved,
    StreamLimits,
    Triggers,
    choose_machine,
    exact,
)
from wsfleet.sizing.machines import Machine


def inputs_from_spec(spec: WsFleetSpec, measured: Costs | None = None) -> tuple[Inputs, dict[str, Any]]:
    """Inputs, and overrides by settings field: the user's, and which stream the spec names.

    `measured` are the costs in force of a fleet that is sized by its own; without them the seed's are.

    Raises:
        SizingError: the instance type is unknown, or CPU is given without memory.
    """
    inputs = Inputs(
        machine=_machine(spec),
        reserved=_reserved(spec),
        load=_load(spec),
        costs=_costs(spec.sizing, measured),
        profile=Profile(spec.profile),
        limits=Limits(spec.sizing.limits),
        triggers=_triggers(spec),
        drain=_drain(spec),
        stream=_stream_limits(spec),
        tls=spec.tls is not None,
    )
    return inputs, _stream(spec) | spec.overrides.settings()


def _machine(spec: WsFleetSpec) -> Machine:
    given = spec.instance
    cost = given.monthly_cost_usd
    return choose_machine(
        given.type,
        cpu_millis=given.cpu_millis,
        memory_bytes=given.memory_bytes,
        network_bits_per_second=given.network_bits_per_second,
        sustained_cpu_millis=given.sustained_cpu_millis,
        burstable=given.burstable,
        monthly_cost_cents=None if cost is None else round(exact(cost) * 100),
    )


def _reserved(spec: WsFleetSpec) -> Reserved:
    given, default = spec.instance.reserved, Reserved()
    return Reserved(
        default.cpu_millis if given.cpu_millis is None else given.cpu_millis,
        default.memory_bytes if given.memory_bytes is None else given.memory_bytes,
    )


def _load(spec: WsFleetSpec) -> Load:
    given, default = spec.load, Load()
    peak = given.peak_messages_per_second
    return Load(
        users=default.users if given.users is None else given.users,
        message_rate=exact(given.messages_per_second),
        peak_message_rate=None if peak is None else exact(peak),
        message_bytes=given.message_bytes,
        publish_rate=exact(given.publish_rate),
        subscribers_per_channel=given.subscribers_per_channel,
    )


def _costs(sizing: Sizing, measured: Costs | None) -> Costs:
    figures = sizing.figures
    if sizing.costs == "Measured":
        return measured or Costs()
    if sizing.costs == "Seed" or figures is None:
        return Costs()
    return Costs(
        message_cpu_us=exact(figures.cpu_micros_per_message),
        intake_cpu_us=exact(figures.cpu_micros_per_published),
        connection_memory_bytes=exact(figures.memory_bytes_per_connection),
        source=CostSource.BY_HAND,
        memory_has_tls=True,
    )


def measured_costs(values: CostValues) -> Costs:
    """The costs of a plan from those in a fleet's status."""
    return Costs(
        message_cpu_us=exact(values.message_cpu_micros),
        intake_cpu_us=exact(values.published_cpu_micros),
        idle_cpu_us=exact(values.idle_cpu_micros),
        connection_memory_bytes=exact(values.memory_per_connection),
        source=CostSource.MEASURED,
        memory_has_tls=True,
    )


def _triggers(spec: WsFleetSpec) -> Triggers:
    scaling, triggers = spec.autoscaling, Triggers()
    if scaling is None:
        return triggers
    return replace(
        triggers,
        connections_percent=scaling.connections.target_percent,
        cpu_percent=scaling.cpu.target_percent,
        cpu_sustained_seconds=scaling.cpu.sustained_seconds,
    )


def _drain(spec: WsFleetSpec) -> Drain:
    drain = Drain(delay_seconds=spec.drain.delay_seconds, timeout_seconds=spec.drain.timeout_seconds)
    budget = spec.reconnects.per_second
    return drain if budget is None else replace(drain, rate_per_second=exact(budget))


def _stream_limits(spec: WsFleetSpec) -> StreamLimits:
    stream = spec.nats.stream
    return StreamLimits(stream.max_age_seconds, stream.max_messages, stream.max_bytes)


def _stream(spec: WsFleetSpec) -> dict[str, Any]:
    stream = spec.nats.stream
    return {
        "nats_url": spec.nats.url,
        "js_stream_name": stream.name,
        "js_stream_subjects": tuple(stream.subjects),
    }
