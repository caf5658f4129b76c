"""What a reader of a plan should know: where it is tight, and where its rules contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wsfleet.sizing.capacity import MOST_CONNECTIONS
from wsfleet.sizing.fleet import trigger_cpu_us
from wsfleet.sizing.inputs import CostSource
from wsfleet.sizing.overrides import overruled
from wsfleet.sizing.own_memory import MEMORY_REJECT_PERCENT, own_memory_bytes
from wsfleet.sizing.text import count, mb, plain, usd, vcpu

if TYPE_CHECKING:
    from wsfleet.sizing.plan import Plan

# Ports one proxy address has for connections to one node (Linux ip_local_port_range 32768-60999).
EPHEMERAL_PORTS = 28_000
# kube-proxy's defaults, --conntrack-min and --conntrack-max-per-core.
_CONNTRACK_LEAST = 131_072
_CONNTRACK_PER_VCPU = 32_768
_CONNTRACK_PERCENT = 80


class NoteKind(StrEnum):
    """What a note is about."""

    WARNING = "warning"  # something to change or to know before running this plan
    SEED = "seed"  # the seed document contradicts itself here, with the figures
    INFO = "info"


@dataclass(frozen=True)
class Note:
    """One remark; `code` is stable, for programs."""

    code: str
    kind: NoteKind
    text: str


def plan_notes(plan: Plan) -> Iterator[Note]:
    """Remarks on this machine, load and choice of settings."""
    yield _costs(plan)
    if plan.inputs.tls:
        yield _tls(plan)
    yield from _capacity_notes(plan)
    yield _own_memory(plan)
    for text in overruled(plan.inputs, plan.overrides):
        yield _warning("override-wins", text)
    yield from _drain_notes(plan)
    yield from _network_notes(plan)
    yield from _pod_notes(plan)
    if plan.inputs.machine.remark:
        machine = plan.inputs.machine
        yield Note("machine", NoteKind.INFO, f"{machine.name}: {machine.remark}")


def _warning(code: str, text: str) -> Note:
    return Note(code, NoteKind.WARNING, text)


def _costs(plan: Plan) -> Note:
    costs = plan.inputs.costs
    figures = f"{plain(costs.message_cpu_us)} us a message, {mb(costs.connection_memory_bytes)} a connection"
    if costs.source is CostSource.SEED:
        text = f"Costs: Seed ({figures}), an assumption about another server; measure your own fleet's"
    else:
        text = f"Costs: {costs.source} ({figures})"
    if costs.remark:
        # A spec that asks for measured costs, and has to be told which ones it got.
        return _warning("costs", f"{text}; {costs.remark}")
    return Note("costs", NoteKind.INFO, text)


def _tls(plan: Plan) -> Note:
    each = f"{plain(plan.capacity.connection_memory_bytes / 1024, 1)} KB"
    added = plan.inputs.tls_memory_bytes
    if added:
        text = f"takes about {added // 1024} KB more a connection (measured): planned {each}"
    else:
        text = f"has its memory in the {each} a connection, which are taken as measured or given"
    return Note("tls", NoteKind.INFO, f"TLS ended in the node {text}")


def _capacity_notes(plan: Plan) -> Iterator[Note]:
    settings, capacity, terms = plan.settings, plan.capacity, plan.terms
    most, by_rule = settings.max_connections, plan.derived.rule_connections
    if most > by_rule and "max_connections" in plan.overrides:
        yield _warning(
            "override-above-rule",
            f"WS_MAX_CONNECTIONS is given as {count(most)}; the rules say {count(by_rule)}",
        )
    if most > terms.by_memory:
        yield _warning(
            "memory",
            f"{count(most)} connections need {mb(capacity.memory_bytes(most))} of "
            f"{mb(capacity.available_memory_bytes)}: memory runs out at {count(terms.by_memory)}",
        )
    at_peak = capacity.connections_by_network(capacity.peak_rate)
    if at_peak is not None and most > at_peak:
        yield _warning("network", f"at the peak rate the network carries {count(at_peak)} connections")
    if by_rule == MOST_CONNECTIONS:
        yield _warning(
            "most-connections", f"the node's settings end at {count(MOST_CONNECTIONS)} connections"
        )
    if capacity.message_rate == 0:
        yield Note(
            "no-messages", NoteKind.INFO, "Without messages CPU and network set no limit: memory decides"
        )
    if capacity.network_bytes_per_second is None:
        yield _warning("network-unknown", "the machine's network is not published: it sets no limit here")
    trigger_us = trigger_cpu_us(plan.inputs, capacity)
    if capacity.connection_cpu_us and capacity.fixed_cpu_us >= trigger_us:
        yield _warning(
            "cpu-not-scalable",
            f"reading the feed takes {vcpu(capacity.fixed_cpu_us)} on every node, all that the CPU trigger "
            f"allows ({vcpu(trigger_us)}): more nodes do not lower it",
        )
    yield from _changed_limits(plan)


def _own_memory(plan: Plan) -> Note:
    """The seed counts connections alone; rejection for memory counts everything."""
    settings, cores = plan.settings, -(-plan.inputs.machine.cpu_millis // 1000)
    processes, own = settings.process_count(cores), own_memory_bytes(settings, cores)
    programs = "1 process" if processes == 1 else f"{processes} processes and their supervisor"
    text = (
        f"Beside its connections a node takes up to {mb(own)}: {programs}, each with "
        f"{mb(settings.js_stream_max_bytes)} of the stream at most"
    )
    together = own + plan.capacity.memory_bytes(settings.max_connections)
    if together * 100 <= settings.memory_limit * MEMORY_REJECT_PERCENT:
        return Note("own-memory", NoteKind.INFO, text)
    return _warning(
        "own-memory",
        f"{text}; with {count(settings.max_connections)} connections {mb(together)}, and above "
        f"{MEMORY_REJECT_PERCENT} % of {mb(settings.memory_limit)} new connections are refused",
    )


def _changed_limits(plan: Plan) -> Iterator[Note]:
    changed = [name for name in ("cpu_limit", "memory_limit") if name in plan.overrides]
    if changed:
        names = " and ".join("WS_" + name.upper() for name in changed)
        yield _warning(
            "limits-overridden",
            f"{names} given by hand: the projections go by the machine, the pod by what is given",
        )


def _drain_notes(plan: Plan) -> Iterator[Note]:
    settings, derived = plan.settings, plan.derived
    needed, timeout = derived.drain_seconds, settings.drain_timeout
    pace = f"{count(settings.max_connections)} connections at {count(settings.drain_rate)} closes a second"
    if timeout > derived.wanted_drain_timeout:
        yield _warning(
            "drain-timeout-raised",
            f"draining {pace} after {settings.drain_delay:g} s takes {count(needed)} s: the timeout is "
            f"raised from {derived.wanted_drain_timeout:g} s to {timeout:g} s "
            f"(grace period {plan.grace_seconds} s)",
        )
    if needed > timeout:
        least = -(-settings.max_connections // max(1, int(timeout - settings.drain_delay)))
        yield _warning(
            "drain-hurries",
            f"draining {pace} would take {count(needed)} s, more than {timeout:g} s: the node closes faster "
            f"towards the end; a rate of {count(least)} a second would do",
        )


def _network_notes(plan: Plan) -> Iterator[Note]:
    most = plan.settings.max_connections
    if most > EPHEMERAL_PORTS:
        yield _warning(
            "ephemeral-ports",
            f"one proxy address can hold about {count(EPHEMERAL_PORTS)} connections to a node, the limit is "
            f"{count(most)}: give proxies several addresses or wider port ranges",
        )
    table = max(_CONNTRACK_LEAST, _CONNTRACK_PER_VCPU * plan.inputs.machine.cpu_millis // 1000)
    if most * 100 > table * _CONNTRACK_PERCENT:
        yield _warning(
            "conntrack",
            f"{count(most)} connections take more than {_CONNTRACK_PERCENT} % of the {count(table)} entries "
            "of connection tracking (kube-proxy's default): raise nf_conntrack_max on the machine",
        )
    if plan.egress.bytes_a_month:
        usd_text = "" if plan.egress.usd_a_month is None else f", {usd(plan.egress.usd_a_month * 100)}"
        yield Note(
            "egress",
            NoteKind.INFO,
            f"Traffic is not in the machine's price: {plain(plan.egress.bytes_a_month / 10**12, 1)} TB a "
            f"month a node at the target load{usd_text}",
        )


def _pod_notes(plan: Plan) -> Iterator[Note]:
    machine, limits, requests = plan.inputs.machine, plan.pod_limits, plan.pod_requests
    cpu, memory = machine.allocatable_cpu_millis, machine.allocatable_memory_bytes
    if cpu is None or memory is None:
        return
    if requests.cpu_millis > cpu or requests.memory_bytes > memory:
        yield _warning(
            "pod-unschedulable",
            f"the pod asks for {requests.cpu_millis} m and {mb(requests.memory_bytes)}, Kubernetes leaves "
            f"{cpu} m and {mb(memory)} of an {machine.name}: lower what is asked for, or take a larger "
            "machine",
        )
    elif limits.cpu_millis > cpu or limits.memory_bytes > memory:
        yield _warning(
            "pod-limits-above-allocatable",
            f"GKE leaves {cpu} m and {mb(memory)} of an {machine.name} for pods: a pod that asked for its "
            f"limits ({limits.cpu_millis} m, {mb(limits.memory_bytes)}) would stay Pending, so it asks for "
            f"{requests.cpu_millis} m and {mb(requests.memory_bytes)}; what it uses above is not promised",
        )
