"""The parts of a plan that are about the fleet: scaling, validation tests, alerts, cost."""

from __future__ import annotations

from rich.console import Console

from wsfleet.cli.render_parts import heading, pairs, table
from wsfleet.sizing import Plan
from wsfleet.sizing.fleet import FleetCost, Share, share_of
from wsfleet.sizing.text import count, percent, plain, usd, vcpu
from wsnode.config.expectations import MIB, Range, ValidationTest


def print_fleet(screen: Console, plan: Plan) -> None:
    """Print scaling, validation tests, alerts and cost."""
    _scaling(screen, plan)
    _tests(screen, plan)
    _alerts(screen, plan)
    _cost(screen, plan)


def _scaling(screen: Console, plan: Plan) -> None:
    triggers, load = plan.inputs.triggers, plan.inputs.load
    minutes = plain(triggers.cpu_sustained_seconds / 60, 1)
    screen.print(
        heading(
            "Scaling",
            f"one more above {count(plan.trigger)} connections a node ({triggers.connections_percent} %), "
            f"CPU {triggers.cpu_percent} % for {minutes} min, or rejections",
        )
    )
    shares = [("full", share) for share in plan.shares]
    shares += [
        ("by the triggers", share_of(plan.nodes_for(users), users, plan.capacity))
        for users in dict.fromkeys((plan.settings.max_connections * 3 // 2, load.users, load.most_users))
    ]
    columns = ("", ">users", ">nodes", ">room", ">each", ">CPU each", ">of the available", ">headroom")
    screen.print(table(columns, [_share_row(name, share, plan) for name, share in shares]))


def _share_row(name: str, share: Share, plan: Plan) -> tuple[str, ...]:
    return (
        name,
        count(share.users),
        count(share.nodes),
        count(share.nodes * plan.settings.max_connections),
        count(share.connections_each),
        vcpu(share.cpu_us),
        percent(share.cpu_percent),
        percent(share.headroom_percent),
    )


def _tests(screen: Console, plan: Plan) -> None:
    limit = plan.settings.memory_limit
    screen.print(
        heading("Validation tests", "expected ranges of the sizing document; a node that needs less passes")
    )
    columns = (">", "test", ">connections", ">time", ">CPU %", ">*memory MB", ">goroutines", ">*msg/s")
    rows = [(str(number), *_test_row(test, limit)) for number, test in enumerate(plan.tests, 1)]
    screen.print(table(columns, rows))
    screen.print(pairs((f"{number} passes", test.criteria.text) for number, test in enumerate(plan.tests, 1)))


def _test_row(test: ValidationTest, limit: int) -> tuple[str, ...]:
    memory = "-"
    if test.memory_bytes is not None and test.memory_bytes.high is not None:
        share = test.memory_percent(limit)
        megabytes = Range(test.memory_bytes.low / MIB, test.memory_bytes.high / MIB)
        memory = f"{_span(megabytes)} ({_span(share)} %)"
    return (
        str(test.name),
        count(test.connections),
        f"{test.duration_seconds} s",
        _span(test.cpu_percent),
        memory,
        "-" if test.goroutines is None else count(test.goroutines),
        _span(test.messages_per_second),
    )


def _span(span: Range | None) -> str:
    if span is None:
        return "-"
    return f"{count(span.low)}+" if span.high is None else f"{count(span.low)}-{count(span.high)}"


def _alerts(screen: Console, plan: Plan) -> None:
    screen.print(heading("Alerts"))
    rows = [(alert.severity, alert.name, alert.expression, f"{alert.for_seconds} s") for alert in plan.alerts]
    screen.print(table(("severity", "alert", "*when", ">for"), rows))


def _cost(screen: Console, plan: Plan) -> None:
    users, price = plan.inputs.load.users, plan.inputs.machine.monthly_cost_cents
    rows = [("a node", "price unknown" if price is None else f"{usd(price)} a month")]
    rows.append((f"{count(users)} users", _fleet(plan.cost_for(users))))
    if plan.capacity.burstable:
        rows.append(("sustained CPU", f"{_fleet(plan.sustained_cost_for(users))} (no burst counted on)"))
    cheapest = plan.cheapest_for(users)
    if cheapest is not None:
        rows.append(("cheapest", f"{_fleet(cheapest)} (by sustained CPU, of all known types)"))
    sent = f"{plain(plan.egress.bytes_a_month / 10**12, 1)} TB a node and month at the target load"
    money = plan.egress.usd_a_month
    paid = "price not given (--egress-price)" if money is None else f"{usd(money * 100)}"
    rows.append(("traffic", f"{sent}; {paid}"))
    screen.print(heading("Cost", f"bottleneck: {plan.projections[1].bottleneck}"))
    screen.print(pairs(rows))


def _fleet(cost: FleetCost) -> str:
    nodes = f"{count(cost.nodes)} x {cost.machine}"
    per_thousand = cost.cents_per_thousand_users
    if cost.cents_a_month is None or per_thousand is None:
        return nodes
    return f"{nodes}: {usd(cost.cents_a_month)} a month, {usd(per_thousand)} a 1,000 users"
