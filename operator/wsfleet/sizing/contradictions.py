"""Where the seed document contradicts itself, each time with the figures of the plan at hand.

A contradiction is told only where it holds: on another machine or with other costs it may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wsfleet.sizing import rules, seed
from wsfleet.sizing.fleet import trigger_cpu_us
from wsfleet.sizing.inputs import CostSource
from wsfleet.sizing.notes import Note, NoteKind
from wsfleet.sizing.text import count, percent, plain, usd, vcpu

if TYPE_CHECKING:
    from wsfleet.sizing.plan import Plan


def seed_notes(plan: Plan) -> Iterator[Note]:
    """The contradictions that hold for this plan, in the document's order."""
    for group in (_load, _costs, _memory, _burst, _workers, _broadcast, _order, _peak, _tests, _sustained):
        for code, text in group(plan):
            yield Note(code, NoteKind.SEED, text)


_Texts = Iterator[tuple[str, str]]


def _load(plan: Plan) -> _Texts:
    load = plan.inputs.load
    daily = load.daily_messages
    if not daily:
        return
    workday, day = daily / seed.WORKDAY_SECONDS, daily / seed.DAY_SECONDS
    text = (
        f"{count(daily)} messages a day are {plain(workday, 2)}/s over 8 hours, {plain(day, 2)}/s over 24; "
    )
    hour = load.peak_hour_rate * 3600
    if hour > daily:
        text += f"a peak hour at {plain(load.peak_hour_rate, 2)}/s would be {count(hour)} in that hour alone"
        yield "day-and-peak-hour", text


def _costs(plan: Plan) -> _Texts:
    capacity = plan.capacity
    scaled = seed.scaled_cpu_us_per_connection(capacity.message_rate)
    assumed = capacity.connection_cpu_us
    if assumed and scaled > assumed and plan.inputs.costs.source is CostSource.SEED:
        yield (
            "assumed-cost",
            f"The tested {vcpu(seed.test_cpu_us_per_connection())} a connection scaled to "
            f"{count(capacity.message_rate)} messages/s is {vcpu(scaled)}, the rules assume {vcpu(assumed)}: "
            f"{count(scaled / assumed)} times less, an assumption and not a measurement",
        )


def _memory(plan: Plan) -> _Texts:
    capacity, most = plan.capacity, plan.settings.max_connections
    derived, assumed = seed.DERIVED_CLIENT_KB * 1024, plan.inputs.costs.connection_memory_bytes
    if plan.inputs.costs.source is CostSource.SEED and derived > assumed:
        whole = derived + plan.inputs.tls_memory_bytes
        filled = percent(most * whole * 100 / capacity.available_memory_bytes)
        yield (
            "client-memory",
            f"{plain(assumed / 2**20, 3)} MB a connection is called conservative, "
            f"the parts of a client add up to {seed.DERIVED_CLIENT_KB} KB ({plain(derived / 2**20, 3)} MB): "
            f"at that, {count(most)} connections fill {filled} of the memory",
        )
    room = 2 * most
    if plan.terms.by_memory < room:
        yield (
            "room-to-scale",
            f"'Room to scale to {count(most * 3 / 2)}-{count(room)}' ends in memory at "
            f"{count(plan.terms.by_memory)}",
        )


def _burst(plan: Plan) -> _Texts:
    capacity, most, by_cpu = plan.capacity, plan.settings.max_connections, plan.terms.by_cpu
    if by_cpu is None or most <= by_cpu:
        return
    needed = capacity.cpu_us(most)
    available = percent(needed * 100 / capacity.available_cpu_us)
    machine = percent(needed * 100 / capacity.machine_cpu_us)
    yield (
        "above-cpu-limit",
        f"The available CPU carries {count(by_cpu)} connections, the plan takes {count(most)}: that counts "
        f"on bursts, {vcpu(needed)} being {available} of the available and {machine} of the machine",
    )


def _workers(plan: Plan) -> _Texts:
    pipeline, capacity = plan.pipeline, plan.capacity
    ceiling = pipeline.cpu_ceiling_per_second
    if ceiling is not None and pipeline.worker_capacity_per_second > ceiling:
        yield (
            "worker-capacity",
            f"{count(pipeline.worker_capacity_per_second)} messages/s of worker capacity would take "
            f"{vcpu(pipeline.worker_capacity_cpu_us)}; the CPU's ceiling is {count(ceiling)}/s",
        )
    if capacity.message_rate:
        each = 2 * rules.WORKER_MESSAGES_PER_SECOND / capacity.message_rate
        if each > pipeline.connections_per_worker:
            yield (
                "worker-share",
                f"A worker of 2,000 messages/s would serve {count(each)} connections at "
                f"{count(capacity.message_rate)}/s; the plan gives it "
                f"{count(pipeline.connections_per_worker)}",
            )


def _broadcast(plan: Plan) -> _Texts:
    pipeline, load, capacity = plan.pipeline, plan.inputs.load, plan.capacity
    if pipeline.broadcast_per_second != pipeline.delivered_per_second:
        yield (
            "delivery-rate",
            f"{count(load.publish_rate)}/s x {count(load.subscribers_per_channel)} subscribers are "
            f"{count(pipeline.broadcast_per_second)} deliveries/s, "
            f"{count(plan.settings.max_connections)} users x {count(capacity.message_rate)}/s are "
            f"{count(pipeline.delivered_per_second)}/s: the plan goes by the second",
        )
    delivered = load.peak_minute_rate * load.subscribers_per_channel
    if delivered > load.peak_minute_rate:
        yield (
            "queue-utilisation",
            f"{count(load.peak_minute_rate)}/s against {count(pipeline.worker_capacity_per_second)}/s "
            f"({percent(pipeline.worker_percent_at_peak)}) sets what is published against what is delivered; "
            f"{count(delivered)} deliveries/s are "
            f"{percent(delivered * 100 / pipeline.worker_capacity_per_second)}",
        )
    grown = load.broadcast_rate * seed.GROWTH
    if grown * capacity.message_cpu_us > capacity.available_cpu_us:
        yield (
            "thousandfold",
            f"'1000x growth' to {count(load.publish_rate * seed.GROWTH)}/s would be {count(grown)} "
            f"deliveries/s: {vcpu(grown * capacity.message_cpu_us)}",
        )


def _order(plan: Plan) -> _Texts:
    capacity, settings, triggers = plan.capacity, plan.settings, plan.inputs.triggers
    grows = capacity.connections_by_cpu(trigger_cpu_us(plan.inputs, capacity))
    if grows is None or grows >= plan.trigger:
        return
    reject = settings.cpu_reject_threshold
    rejects = capacity.connections_by_cpu(capacity.available_cpu_us * int(reject * 1000) // 100_000)
    yield (
        "connection-trigger-late",
        f"At {count(capacity.message_rate)} messages/s CPU reaches {triggers.cpu_percent} % at "
        f"{count(grows)} connections, rejection ({reject:g} %) at {count(rejects or 0)}, its limit at "
        f"{count(plan.terms.by_cpu or 0)}: the connection trigger at {count(plan.trigger)} is never first",
    )


def _peak(plan: Plan) -> _Texts:
    peak, capacity = plan.projections[-1], plan.capacity
    if capacity.burstable and peak.cpu.amount > capacity.machine_cpu_us:
        yield (
            "peak-beyond-burst",
            f"'Bursting handles spikes' does not hold at the peak: {vcpu(peak.cpu.amount)} "
            f"({percent(peak.cpu.percent)} of the available), the machine has "
            f"{vcpu(capacity.machine_cpu_us)}",
        )


def _tests(plan: Plan) -> _Texts:
    full, overload, capacity = plan.tests[2], plan.tests[3], plan.capacity
    reject, cpu = plan.settings.cpu_reject_threshold, full.cpu_percent
    if cpu.high is not None and cpu.high > reject:
        yield (
            "test-3-and-4",
            f"Test 3 ({count(full.connections)}) expects {cpu.low:g}-{cpu.high:g} % CPU and no rejection at "
            f"{reject:g} %; test 4 ({count(overload.connections)}) expects rejection by CPU and yet "
            f"{count(overload.final_connections)} connections",
        )
    rates = full.messages_per_second
    if rates is not None and rates.high is not None and cpu.high is not None:
        low, high = (
            int(rate) * capacity.message_cpu_us * 100 / capacity.available_cpu_us
            for rate in (rates.low, rates.high)
        )
        if low > cpu.high:
            yield (
                "test-rates",
                f"Test 3's {count(rates.low)}-{count(rates.high)} messages/s would take {percent(low)[:-2]}-"
                f"{percent(high)} CPU at the plan's costs, not {cpu.low:g}-{cpu.high:g} %",
            )


def _sustained(plan: Plan) -> _Texts:
    machine = plan.inputs.machine
    if not plan.capacity.burstable:
        return
    users = plan.settings.max_connections * 3 // 2
    own, cheapest = plan.sustained_cost_for(users), plan.cheapest_for(users)
    money = "" if own.cents_a_month is None else f", {usd(own.cents_a_month)} a month"
    other = ""
    if cheapest is not None and cheapest.cents_a_month is not None:
        other = f"; cheapest: {cheapest.nodes} x {cheapest.machine}, {usd(cheapest.cents_a_month)}"
    yield (
        "sustained-cpu",
        f"{machine.name} sustains {vcpu(plan.capacity.sustained_cpu_us)} of "
        f"{vcpu(plan.capacity.machine_cpu_us)}: by that, {count(users)} users need {own.nodes} "
        f"nodes{money}, not {plan.nodes_for(users)}{other}",
    )
