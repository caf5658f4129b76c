"""A plan as plain values, for JSON and for a resource's status: nothing that the table shows is missing."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from wsfleet.sizing.fleet import FleetCost, Share
from wsfleet.sizing.projections import Projection, Use
from wsfleet.sizing.seed import ASSUMPTIONS
from wsnode.config import override_name
from wsnode.config.expectations import Range, ValidationTest

if TYPE_CHECKING:
    from wsfleet.sizing.plan import Plan

_Document = dict[str, Any]
_MICRO = 1_000_000


def plan_document(plan: Plan) -> _Document:
    """The whole plan: names are camelCase and end in their unit, CPU in vCPU, memory in bytes."""
    return {
        "machine": _machine(plan),
        "load": _load(plan),
        "costs": _costs(plan),
        "profile": str(plan.inputs.profile),
        "limits": str(plan.inputs.limits),
        "capacity": _capacity(plan),
        "settings": settings_values(plan),
        "reasons": {override_name(field): reason for field, reason in plan.reasons.items()},
        "env": plan.to_env(),
        "pod": _pod(plan),
        "alternatives": _alternatives(plan),
        "pipeline": _pipeline(plan),
        "projections": [projection_document(item) for item in plan.projections],
        "ladder": [
            {"connections": event.connections, "event": event.text, "reachable": event.reachable}
            for event in plan.ladder
        ],
        "scaling": _scaling(plan),
        "validationTests": [_test(test) for test in plan.tests],
        "alerts": [
            {"name": a.name, "severity": a.severity, "expression": a.expression, "forSeconds": a.for_seconds}
            for a in plan.alerts
        ],
        "cost": _cost(plan),
        "assumptions": [{"section": item.section, "text": item.text} for item in ASSUMPTIONS],
        "notes": [{"code": n.code, "kind": str(n.kind), "text": n.text} for n in plan.notes],
    }


def settings_values(plan: Plan) -> _Document:
    """Every setting by its camelCase name, save for the node's name, which is not the plan's to say."""
    values = plan.settings.model_dump(mode="json", exclude={"node_name"})
    return {override_name(field): value for field, value in values.items()}


def number(value: Fraction | int | float | None, digits: int = 6) -> int | float | None:
    """A fraction as an integer where it is one, else rounded."""
    if value is None:
        return None
    exact = Fraction(value)
    return int(exact) if exact.denominator == 1 else round(float(exact), digits)


def _vcpu(microseconds: Fraction | int | None) -> int | float | None:
    return None if microseconds is None else number(Fraction(microseconds) / _MICRO)


def _machine(plan: Plan) -> _Document:
    machine, reserved, capacity = plan.inputs.machine, plan.inputs.reserved, plan.capacity
    return {
        "name": machine.name,
        "provider": machine.provider,
        "vcpu": number(Fraction(machine.cpu_millis, 1000)),
        "sustainedVcpu": number(Fraction(machine.sustained_cpu_millis, 1000)),
        "burstable": machine.burstable,
        "memoryBytes": machine.memory_bytes,
        "networkBitsPerSecond": machine.network_bits_per_second,
        "monthlyCostUsd": number(_usd(machine.monthly_cost_cents)),
        "reservedVcpu": number(Fraction(reserved.cpu_millis, 1000)),
        "reservedMemoryBytes": reserved.memory_bytes,
        "availableVcpu": _vcpu(capacity.available_cpu_us),
        "availableMemoryBytes": capacity.available_memory_bytes,
    }


def _load(plan: Plan) -> _Document:
    load = plan.inputs.load
    return {
        "users": load.users,
        "usersMost": load.most_users,
        "messagesPerSecond": number(load.message_rate),
        "peakMessagesPerSecond": number(load.peak_rate),
        "messageBytes": load.message_bytes,
        "bufferedBytes": load.buffer_bytes,
        "messagesPerDay": number(load.daily_messages),
        "publishRate": number(load.publish_rate),
        "peakHourPublishRate": number(load.peak_hour_rate),
        "peakMinutePublishRate": number(load.peak_minute_rate),
        "channels": load.channels,
        "subscribersPerChannel": load.subscribers_per_channel,
        "mix": {kind: number(share) for kind, share in load.mix},
    }


def _costs(plan: Plan) -> _Document:
    costs = plan.inputs.costs
    return {
        "source": str(costs.source),
        "messageCpuMicroseconds": number(costs.message_cpu_us),
        "intakeCpuMicroseconds": number(costs.intake_cpu_us),
        "idleCpuMicrosecondsPerSecond": number(costs.idle_cpu_us),
        "connectionMemoryBytes": number(costs.connection_memory_bytes, 1),
        "connectionVcpu": _vcpu(plan.capacity.connection_cpu_us),
        **({"tlsConnectionMemoryBytes": plan.inputs.tls_memory_bytes} if plan.inputs.tls else {}),
    }


def _capacity(plan: Plan) -> _Document:
    terms = plan.terms
    return {
        "connectionsByAvailableCpu": terms.by_cpu,
        "connectionsByWholeCpu": terms.by_whole_cpu,
        "connectionsByCpuAtLightLoad": terms.by_light_cpu,
        "connectionsByMemory": terms.by_memory,
        "connectionsByNetwork": terms.by_network,
        "bottleneck": terms.bottleneck,
    }


def _pod(plan: Plan) -> _Document:
    return {
        "requests": {
            "cpuMillis": plan.pod_requests.cpu_millis,
            "memoryBytes": plan.pod_requests.memory_bytes,
        },
        "limits": {"cpuMillis": plan.pod_limits.cpu_millis, "memoryBytes": plan.pod_limits.memory_bytes},
        "terminationGraceSeconds": plan.grace_seconds,
    }


def _alternatives(plan: Plan) -> _Document:
    fields = (
        "max_connections",
        "worker_pool_size",
        "worker_queue_size",
        "max_goroutines",
        "cpu_reject_threshold",
        "cpu_pause_threshold",
    )
    return {
        "profiles": {
            str(profile): {override_name(field): number(getattr(settings, field)) for field in fields}
            for profile, settings in plan.alternatives.profiles.items()
        },
        "workersByFanout": {str(fanout): workers for fanout, workers in plan.alternatives.workers.items()},
        "limits": {
            str(name): {
                "maxNatsRate": limits.max_nats_rate,
                "maxBroadcastRate": limits.max_broadcast_rate,
                "timesPublished": limits.times_published,
            }
            for name, limits in plan.alternatives.limits.items()
        },
    }


def _pipeline(plan: Plan) -> _Document:
    line = plan.pipeline
    return {
        "connectionsPerWorker": line.connections_per_worker,
        "workerStateKilobytes": line.worker_state_kb,
        "workerCapacityPerSecond": line.worker_capacity_per_second,
        "workerUtilisationPercent": number(line.worker_percent_at_peak),
        "workerCapacityVcpu": _vcpu(line.worker_capacity_cpu_us),
        "queueBytes": line.queue_bytes,
        "queueFillSeconds": line.queue_fill_seconds,
        "leanQueueSize": line.lean_queue_size,
        "leanQueueSavingBytes": line.lean_saving_bytes,
        "broadcastPerSecond": number(line.broadcast_per_second),
        "broadcastUtilisationPercent": number(line.broadcast_percent),
        "deliveredPerSecond": number(line.delivered_per_second),
        "cpuCeilingPerSecond": number(line.cpu_ceiling_per_second),
        "goroutineKilobytes": line.goroutine_kb,
        "goroutineMemoryPercent": number(line.goroutine_memory_percent),
    }


def projection_document(item: Projection) -> _Document:
    """One projection: amount, percent and verdict of each resource."""
    return {
        "name": item.name,
        "connections": item.connections,
        "messagesPerSecond": number(item.message_rate),
        "cpu": {"vcpu": _vcpu(item.cpu.amount)} | _use(item.cpu),
        "memory": {"bytes": number(item.memory.amount, 0)} | _use(item.memory),
        "goroutines": {"count": number(item.goroutines.amount)} | _use(item.goroutines),
        "network": None
        if item.network is None
        else {"bytesPerSecond": number(item.network.amount)} | _use(item.network),
        "growth": number(item.growth, 3),
        "bottleneck": item.bottleneck,
        "verdict": str(item.verdict),
    }


def _use(use: Use) -> _Document:
    return {"percent": number(use.percent, 3), "verdict": str(use.verdict)}


def _scaling(plan: Plan) -> _Document:
    triggers, users = plan.inputs.triggers, plan.inputs.load.users
    return {
        "connectionsPerNode": plan.trigger,
        "connectionsPercent": triggers.connections_percent,
        "cpuPercent": triggers.cpu_percent,
        "cpuSustainedSeconds": triggers.cpu_sustained_seconds,
        "nodes": plan.nodes_for(users),
        "nodesForMostUsers": plan.nodes_for(plan.inputs.load.most_users),
        "sustainedNodes": plan.sustained_nodes_for(users),
        "shares": [_share(share) for share in plan.shares],
    }


def _share(share: Share) -> _Document:
    return {
        "nodes": share.nodes,
        "users": share.users,
        "connectionsEach": share.connections_each,
        "vcpuEach": _vcpu(share.cpu_us),
        "cpuPercent": number(share.cpu_percent, 3),
        "machinePercent": number(share.machine_percent, 3),
        "headroomPercent": number(share.headroom_percent, 3),
    }


def _test(test: ValidationTest) -> _Document:
    return {
        "name": str(test.name),
        "connections": test.connections,
        "durationSeconds": test.duration_seconds,
        "cpuPercent": _range(test.cpu_percent),
        "memoryBytes": _range(test.memory_bytes),
        "goroutines": test.goroutines,
        "messagesPerSecond": _range(test.messages_per_second),
        "finalConnections": test.final_connections,
        "pass": test.criteria.text,
    }


def _range(span: Range | None) -> _Document | None:
    return None if span is None else {"low": number(span.low), "high": number(span.high)}


def _usd(cents: Fraction | int | None) -> Fraction | None:
    return None if cents is None else Fraction(cents) / 100


def _cost(plan: Plan) -> _Document:
    users, machine = plan.inputs.load.users, plan.inputs.machine
    cheapest = plan.cheapest_for(users)
    return {
        "usdPerNodeMonth": number(_usd(machine.monthly_cost_cents)),
        "fleet": _fleet(plan.cost_for(users)),
        "fleetBySustainedCpu": _fleet(plan.sustained_cost_for(users)),
        "cheapestPreset": None if cheapest is None else _fleet(cheapest),
        "egressBytesPerNodeMonth": number(plan.egress.bytes_a_month),
        "egressUsdPerNodeMonth": number(plan.egress.usd_a_month, 2),
    }


def _fleet(cost: FleetCost) -> _Document:
    return {
        "machine": cost.machine,
        "users": cost.users,
        "nodes": cost.nodes,
        "usdPerMonth": number(_usd(cost.cents_a_month)),
        "usdPerThousandUsers": number(_usd(cost.cents_per_thousand_users), 4),
    }
