"""A plan for people: sections of small tables, readable at 100 columns and without colour."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from wsfleet.cli.render_fleet import print_fleet
from wsfleet.cli.render_parts import console, heading, pairs, table
from wsfleet.sizing import MACHINES, Plan
from wsfleet.sizing.inputs import CostSource
from wsfleet.sizing.notes import NoteKind
from wsfleet.sizing.projections import Projection, Use, Verdict
from wsfleet.sizing.seed import ASSUMPTIONS
from wsfleet.sizing.text import count, mb, percent, plain, rate_bytes, usd, vcpu
from wsnode.config import env_name

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.OVER: "red"}


def render_machines() -> None:
    """Print the known machine types."""
    rows = (
        (
            machine.name,
            machine.provider,
            plain(machine.cpu_millis / 1000),
            plain(machine.sustained_cpu_millis / 1000),
            mb(machine.memory_bytes),
            "not published"
            if machine.network_bits_per_second is None
            else f"{plain(machine.network_bits_per_second / 10**9)} Gbps",
            usd(machine.monthly_cost_cents or 0),
            machine.remark,
        )
        for machine in MACHINES.values()
    )
    columns = ("type", "of", ">vCPU", ">sustained", ">memory", ">network", ">a month", "*")
    console().print(table(columns, rows))


def render_plan(plan: Plan) -> None:
    """Print the whole plan."""
    screen = console()
    _machine(screen, plan)
    _load(screen, plan)
    _settings(screen, plan)
    _alternatives(screen, plan)
    _projections(screen, plan)
    _ladder(screen, plan)
    print_fleet(screen, plan)
    _assumptions(screen)
    _notes(screen, plan)


def _machine(screen: Console, plan: Plan) -> None:
    machine, reserved, capacity = plan.inputs.machine, plan.inputs.reserved, plan.capacity
    network = machine.network_bits_per_second
    cpu = vcpu(capacity.machine_cpu_us)
    if machine.burstable:
        cpu += f", burstable: {vcpu(capacity.sustained_cpu_us)} sustained"
    network_text = "network not published" if network is None else f"{plain(network / 10**9, 3)} Gbps"
    price = machine.monthly_cost_cents
    cost = "price unknown" if price is None else f"{usd(price)} a month"
    share_cpu = percent(round(capacity.available_cpu_us * 100 / capacity.machine_cpu_us))
    share_memory = percent(round(capacity.available_memory_bytes * 100 / machine.memory_bytes))
    terms = plan.terms
    by = [
        f"CPU {count(terms.by_cpu)}" if terms.by_cpu is not None else "CPU no limit",
        f"memory {count(terms.by_memory)}",
        f"network {count(terms.by_network)}" if terms.by_network is not None else "network no limit",
    ]
    if terms.by_light_cpu is not None:
        by.append(f"CPU at {plain(capacity.message_rate / 4, 2)} msg/s {count(terms.by_light_cpu)}")
    screen.print(heading("Machine", machine.name))
    screen.print(
        pairs(
            (
                ("whole", f"{cpu}; {mb(machine.memory_bytes)}; {network_text}; {cost}"),
                ("reserved", f"{vcpu(reserved.cpu_millis * 1000)}; {mb(reserved.memory_bytes)}"),
                (
                    "for the node",
                    f"{vcpu(capacity.available_cpu_us)} ({share_cpu}); "
                    f"{mb(capacity.available_memory_bytes)} ({share_memory}); network whole",
                ),
                ("carries", f"{', '.join(by)} connections; bottleneck {terms.bottleneck}"),
            )
        )
    )


def _load(screen: Console, plan: Plan) -> None:
    load, costs, capacity = plan.inputs.load, plan.inputs.costs, plan.capacity
    tls = plan.inputs.tls_memory_bytes
    users = (
        count(load.users)
        if load.users == load.most_users
        else f"{count(load.users)}-{count(load.most_users)}"
    )
    mix = ", ".join(f"{kind} {plain(share)}" for kind, share in load.mix)
    rows = [
        (
            "users",
            f"{users}; {plain(load.message_rate, 2)} msg/s each, {plain(load.peak_rate, 2)} at the peak, "
            f"of {load.message_bytes} bytes ({load.buffer_bytes} buffered)" + (f"; mix {mix}" if mix else ""),
        ),
        (
            "published",
            f"{count(load.daily_messages)} a day; {count(load.publish_rate)}/s, peak hour "
            f"{count(load.peak_hour_rate)}/s, peak minute {count(load.peak_minute_rate)}/s",
        ),
        ("channels", f"{count(load.channels)}, {count(load.subscribers_per_channel)} subscribers each"),
        (
            "costs",
            f"{costs.source}: {plain(costs.message_cpu_us, 3)} us a message, "
            f"{mb(costs.connection_memory_bytes)} a connection"
            + (f" and {tls // 1024} KB for TLS" if tls else "")
            + (f", {plain(costs.intake_cpu_us, 3)} us a published message" if costs.intake_cpu_us else "")
            + f"; so {vcpu(capacity.connection_cpu_us)} a connection",
        ),
    ]
    screen.print(heading("Load and costs", f"costs from: {_SOURCES[costs.source]}"))
    screen.print(pairs(rows))


_SOURCES = {
    CostSource.SEED: "Seed (an assumption about another server)",
    CostSource.MEASURED: "Measured (by the fleet's own nodes)",
    CostSource.BY_HAND: "by hand",
}


def _settings(screen: Console, plan: Plan) -> None:
    fields = {env_name(field): field for field in type(plan.settings).model_fields}
    rows = [
        (name, value, plan.reasons.get(fields[name], "as in the sizing document"))
        for name, value in plan.shown_env().items()
    ]
    screen.print(heading("Settings", f"profile {plan.inputs.profile}, limits {plan.inputs.limits}"))
    screen.print(table(("setting", ">value", "*why"), rows))
    requests, limits = plan.pod_requests, plan.pod_limits
    screen.print(
        pairs(
            (
                (
                    "pod",
                    f"requests {requests.cpu_millis} m, {mb(requests.memory_bytes)}; limits "
                    f"{limits.cpu_millis} m, {mb(limits.memory_bytes)}; grace period {plan.grace_seconds} s",
                ),
            )
        )
    )
    _pipeline(screen, plan)


def _pipeline(screen: Console, plan: Plan) -> None:
    line = plan.pipeline
    fill = line.queue_fill_seconds
    filled = (
        ""
        if fill is None
        else f", full after {count(fill)} s ({fill // 60} min) at {count(plan.inputs.load.publish_rate)}/s "
        "if nothing is sent"
    )
    rows = (
        (
            "workers",
            f"{count(line.worker_capacity_per_second)} msg/s, {line.connections_per_worker} connections "
            f"each, {percent(line.worker_percent_at_peak)} used in the peak minute; "
            f"{line.worker_state_kb} KB of state",
        ),
        ("queue", f"{plain(line.queue_bytes / 10**6, 1)} MB{filled}"),
        (
            "broadcast",
            f"{count(line.broadcast_per_second)}/s of what is published, {percent(line.broadcast_percent)} "
            f"of the workers; {count(line.delivered_per_second)}/s at the target load",
        ),
        (
            "goroutines",
            f"{plain(line.goroutine_kb / 1000, 0)} MB of stacks at the limit, "
            f"{percent(line.goroutine_memory_percent)} of the memory",
        ),
    )
    screen.print(pairs(rows))


def _alternatives(screen: Console, plan: Plan) -> None:
    other = plan.alternatives
    rows = [
        (
            str(profile) + (" (this)" if profile == plan.inputs.profile else ""),
            count(settings.max_connections),
            count(settings.worker_pool_size),
            count(settings.worker_queue_size),
            count(settings.max_goroutines),
            f"{settings.cpu_reject_threshold:g} / {settings.cpu_pause_threshold:g}",
        )
        for profile, settings in other.profiles.items()
    ]
    screen.print(heading("Alternatives", "each profile without overrides"))
    columns = ("profile", ">connections", ">workers", ">queue", ">goroutines", ">CPU reject / pause")
    screen.print(table(columns, rows))
    workers = ", ".join(f"{count(size)} ({fanout.value.lower()})" for fanout, size in other.workers.items())
    limits = ", ".join(
        f"{count(limit.max_nats_rate)} ({name}"
        + (f", {count(limit.times_published)} x the rate)" if limit.times_published else ")")
        for name, limit in other.limits.items()
        if limit.max_nats_rate
    )
    line = plan.pipeline
    saved = f"{count(line.lean_queue_size)} saves {plain(line.lean_saving_bytes / 10**6, 1)} MB"
    screen.print(pairs((("workers", workers), ("lean queue", saved), ("NATS limit", limits))))


def _projections(screen: Console, plan: Plan) -> None:
    rows = [_projection_row(item) for item in plan.projections]
    screen.print(heading("Projections", "one node; percent of what is available to it"))
    columns = ("load", ">connections", ">msg/s", ">CPU", ">memory", ">goroutines", ">network", ">growth")
    screen.print(table(columns, rows))


def _projection_row(item: Projection) -> tuple[str | Text, ...]:
    goroutines = item.goroutines
    return (
        item.name,
        count(item.connections),
        plain(item.message_rate, 2),
        _use(vcpu(item.cpu.amount).removesuffix(" vCPU"), item.cpu),
        _use(mb(item.memory.amount), item.memory),
        _use(count(goroutines.amount), goroutines),
        Text("?") if item.network is None else _use(rate_bytes(item.network.amount), item.network),
        f"{plain(item.growth, 1)} x",
    )


def _use(amount: str, use: Use) -> Text:
    mark = {Verdict.OK: "ok", Verdict.WARNING: "warning", Verdict.OVER: "over"}[use.verdict]
    return Text(f"{amount}\n{percent(use.percent)} {mark}", style=_STYLES[use.verdict])


def _ladder(screen: Console, plan: Plan) -> None:
    rate = plain(plan.capacity.message_rate, 2)
    screen.print(heading("Ladder", f"what happens on one node as connections grow, at {rate} msg/s"))
    rows = [
        (count(event.connections), event.text if event.reachable else f"({event.text}: beyond the limit)")
        for event in plan.ladder
    ]
    screen.print(table((">connections", "*event"), rows))


def _assumptions(screen: Console) -> None:
    screen.print(heading("Assumptions", "repeated from the sizing document, not computed"))
    screen.print(pairs((item.section, item.text) for item in ASSUMPTIONS))


def _notes(screen: Console, plan: Plan) -> None:
    marks = {NoteKind.WARNING: "!", NoteKind.SEED: "~", NoteKind.INFO: "-"}
    screen.print(
        heading("Notes", "! to mind   ~ the sizing document (--help) contradicts itself   - to know")
    )
    ordered = sorted(plan.notes, key=lambda note: list(NoteKind).index(note.kind))
    screen.print(pairs((marks[note.kind], note.text) for note in ordered))
