"""Bounds of the inputs: what no plan can be made from is refused with field, value and bound."""

from __future__ import annotations

from fractions import Fraction

from wsfleet.sizing.errors import SizingError
from wsfleet.sizing.inputs import Inputs
from wsfleet.sizing.machines import MIB
from wsfleet.sizing.text import plain

# Less than this is refused by the node's own settings (WS_MEMORY_LIMIT).
LEAST_MEMORY_BYTES = 32 * MIB


def check_inputs(inputs: Inputs) -> None:
    """Raise SizingError for the first input out of bounds; bounds that depend on results come later."""
    _check_machine(inputs)
    _check_load(inputs)
    _check_choices(inputs)


def _between(field: str, value: int | Fraction, least: int, most: int, unit: str = "") -> None:
    if not least <= value <= most:
        raise SizingError(field, plain(value), f"must be from {least:,} to {most:,}{unit}")


def _check_machine(inputs: Inputs) -> None:
    machine, reserved = inputs.machine, inputs.reserved
    if not 10 <= machine.cpu_millis <= 1_024_000:
        raise SizingError("instance.cpu", f"{machine.cpu_millis / 1000:g}", "must be from 0.01 to 1,024 vCPU")
    if not LEAST_MEMORY_BYTES <= machine.memory_bytes <= 2**50:
        # 8 for 8Gi: no machine has a few thousand bytes.
        meant = f"; meant {machine.memory_bytes}Gi?" if 0 < machine.memory_bytes <= 4096 else ""
        bounds = f"must be from {LEAST_MEMORY_BYTES // MIB}Mi to 1024Ti{meant}"
        raise SizingError("instance.memory", f"{machine.memory_bytes} bytes", bounds)
    if not 1 <= machine.sustained_cpu_millis <= machine.cpu_millis:
        raise SizingError(
            "instance.sustainedCpu",
            f"{machine.sustained_cpu_millis} m",
            f"must be from 1 m to the {machine.cpu_millis} m of the whole machine",
        )
    if not machine.burstable and machine.sustained_cpu_millis < machine.cpu_millis:
        raise SizingError(
            "instance.burstable", "false", "contradicts a sustained CPU below the machine's CPU"
        )
    if machine.network_bits_per_second is not None:
        _between("instance.network", machine.network_bits_per_second, 1000, 10**14, " bits a second")
    if machine.monthly_cost_cents is not None:
        _between("instance.monthlyCost", machine.monthly_cost_cents, 0, 10**10, " cents")
    if not 0 <= reserved.cpu_millis < machine.cpu_millis:
        raise SizingError(
            "instance.reserved.cpu",
            f"{reserved.cpu_millis} m",
            f"must be below the machine's {machine.cpu_millis} m: nothing would be left for the node",
        )
    left = machine.memory_bytes - reserved.memory_bytes
    if reserved.memory_bytes < 0 or left < LEAST_MEMORY_BYTES:
        raise SizingError(
            "instance.reserved.memory",
            f"{reserved.memory_bytes} bytes",
            f"must leave the node at least {LEAST_MEMORY_BYTES // MIB} MB of the machine's "
            f"{machine.memory_bytes // MIB} MB",
        )


def _check_load(inputs: Inputs) -> None:
    load = inputs.load
    _between("load.users", load.users, 1, 10**10)
    if load.most_users < load.users:
        raise SizingError("load.users", f"{load.users}-{load.most_users}", "must name the lower end first")
    _between("load.messagesPerSecond", load.message_rate, 0, 10**6)
    if load.peak_rate < load.message_rate:
        raise SizingError(
            "load.peakMessagesPerSecond",
            f"{float(load.peak_rate):g}",
            f"must not be below the usual rate of {float(load.message_rate):g}",
        )
    _between("load.peakMessagesPerSecond", load.peak_rate, 0, 10**7)
    _between("load.messageBytes", load.message_bytes, 1, 2**24)
    _between("load.bufferedBytes", load.buffer_bytes, 1, 2**25)
    _between("load.publishRate", load.publish_rate, 0, 10**9)
    _between("load.peakPublishRate", load.peak_minute_rate, 0, 10**10)
    _between("load.messagesPerDay", load.daily_messages, 0, 10**15)
    _between("load.channels", load.channels, 1, 10**9)
    _between("load.subscribersPerChannel", load.subscribers_per_channel, 0, 10**9)


def _check_choices(inputs: Inputs) -> None:
    costs, triggers, drain = inputs.costs, inputs.triggers, inputs.drain
    _between("sizing.costs.messageCpu", costs.message_cpu_us, 0, 10**9, " us")
    _between("sizing.costs.intakeCpu", costs.intake_cpu_us, 0, 10**9, " us")
    _between("sizing.costs.idleCpu", costs.idle_cpu_us, 0, 10**9, " us")
    if not 1 <= costs.connection_memory_bytes <= 2**40:
        shown = f"{float(costs.connection_memory_bytes):g} bytes"
        raise SizingError("sizing.costs.connectionMemory", shown, "must be at least 1 byte")
    _between("autoscaling.connections.targetPercent", triggers.connections_percent, 1, 100)
    _between("autoscaling.cpu.targetPercent", triggers.cpu_percent, 1, 100)
    _between("drain.delaySeconds", drain.delay_seconds, 0, 300)
    _between("drain.timeoutSeconds", drain.timeout_seconds, 1, 500)
    if not 0 < drain.rate_per_second <= 100_000:
        raise SizingError(
            "drain.ratePerSecond", f"{float(drain.rate_per_second):g}", "must be above 0, at most 100,000"
        )
    _between("requests.cpuPercent", inputs.request_cpu_percent, 1, 100)
    if inputs.egress_usd_per_gib is not None:
        _between("egressPrice", inputs.egress_usd_per_gib, 0, 1000, " USD a GiB")
