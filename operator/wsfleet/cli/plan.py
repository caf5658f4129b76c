"""`wsfleet plan`: size a node and a fleet for a machine and a load."""

from __future__ import annotations

import inspect
import sys
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsfleet.cli import values

if TYPE_CHECKING:
    from wsfleet.sizing import Costs, Inputs, Load, Machine, SizingError

# The option that a field of the spec is given by; overrides go by --set.
_OPTION_BY_FIELD = {
    "instance.type": "--instance",
    "instance.cpu": "--cpu",
    "instance.memory": "--memory",
    "instance.network": "--network",
    "instance.sustainedCpu": "--sustained-cpu",
    "instance.burstable": "--burstable",
    "instance.monthlyCost": "--price",
    "instance.reserved.cpu": "--reserved-cpu",
    "instance.reserved.memory": "--reserved-memory",
    "load.users": "--users",
    "load.messagesPerSecond": "--rate",
    "load.peakMessagesPerSecond": "--peak-rate",
    "load.messageBytes": "--message-bytes",
    "load.bufferedBytes": "--message-bytes",
    "load.publishRate": "--publish-rate",
    "load.peakPublishRate": "--publish-rate",
    "load.messagesPerDay": "--publish-rate",
    "load.channels": "--channels",
    "load.subscribersPerChannel": "--subscribers",
    "load.mix": "--mix",
    "sizing.costs.messageCpu": "--cost-cpu-us",
    "sizing.costs.intakeCpu": "--cost-intake-us",
    "sizing.costs.connectionMemory": "--cost-memory-kb",
    "profile": "--profile",
    "egressPrice": "--egress-price",
}


_OF_A_FLEET = ("namespace", "kubeconfig", "context")


class Output(StrEnum):
    """Forms of the output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    ENV = "env"


class ProfileName(StrEnum):
    """Names of `sizing.Profile`, here so that `--help` need not import sizing."""

    CONSERVATIVE = "Conservative"
    BALANCED = "Balanced"
    AGGRESSIVE = "Aggressive"


class LimitsName(StrEnum):
    """Names of `sizing.Limits`."""

    TESTING = "Testing"
    CONSERVATIVE = "Conservative"
    MODERATE = "Moderate"
    AGGRESSIVE = "Aggressive"


class FanoutName(StrEnum):
    """Names of `sizing.Fanout`."""

    LIGHT = "Light"
    MIDDLE = "Middle"
    HEAVY = "Heavy"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="plan")(plan)


def _option(name: str, text: str, parser: Any, metavar: str) -> Any:
    return typer.Option(name, help=text, parser=parser, metavar=metavar, show_default=False)


def plan(
    instance: Annotated[
        str | None, typer.Option(help="Machine type, see --list-instances; e2-small if no figures are given.")
    ] = None,
    list_instances: Annotated[bool, typer.Option("--list-instances", help="List the known types.")] = False,
    cpu: Annotated[
        Any, _option("--cpu", "CPU of the machine, over the type's.", values.cpu_millis, "VCPU")
    ] = None,
    memory: Annotated[Any, _option("--memory", "Memory, such as 2Gi.", values.memory_bytes, "SIZE")] = None,
    network: Annotated[
        Any, _option("--network", "Network, such as 1G (bit/s).", values.bits_per_second, "RATE")
    ] = None,
    burstable: Annotated[
        bool | None, typer.Option("--burstable/--dedicated", help="Whether CPU is lent in bursts.")
    ] = None,
    sustained_cpu: Annotated[
        Any, _option("--sustained-cpu", "CPU that it gives for hours.", values.cpu_millis, "VCPU")
    ] = None,
    price: Annotated[Any, _option("--price", "Price a month.", values.decimal, "USD")] = None,
    reserved_cpu: Annotated[
        Any, _option("--reserved-cpu", "CPU kept for the system (0.2).", values.cpu_millis, "VCPU")
    ] = None,
    reserved_memory: Annotated[
        Any, _option("--reserved-memory", "Memory kept for the system (256Mi).", values.memory_bytes, "SIZE")
    ] = None,
    users: Annotated[
        Any, _option("--users", "Users at once, or a range (20000-40000).", values.users, "N[-M]")
    ] = None,
    rate: Annotated[
        Any, _option("--rate", "Messages a second to one user (2).", values.decimal, "RATE")
    ] = None,
    peak_rate: Annotated[
        Any, _option("--peak-rate", "The same in bursts (twice the rate).", values.decimal, "RATE")
    ] = None,
    mix: Annotated[
        Any,
        _option("--mix", "Rates from a mix: casual=60,active=35,trader=5 (%).", values.shares, "SHARES"),
    ] = None,
    message_bytes: Annotated[
        Any, _option("--message-bytes", "Bytes of a message on the wire (400).", values.whole, "N")
    ] = None,
    publish_rate: Annotated[
        Any, _option("--publish-rate", "Messages published a second (12).", values.decimal, "RATE")
    ] = None,
    subscribers: Annotated[
        Any, _option("--subscribers", "Users that one message goes to (200).", values.whole, "N")
    ] = None,
    channels: Annotated[Any, _option("--channels", "Channels in use (100).", values.whole, "N")] = None,
    profile: Annotated[
        ProfileName, typer.Option(help="How full a node is run.", case_sensitive=False)
    ] = ProfileName.BALANCED,
    limits: Annotated[
        LimitsName, typer.Option(help="Rate limits of a node.", case_sensitive=False)
    ] = LimitsName.TESTING,
    fanout: Annotated[
        FanoutName, typer.Option(help="Load of the fan-out workers.", case_sensitive=False)
    ] = FanoutName.MIDDLE,
    lean_queue: Annotated[bool, typer.Option("--lean-queue", help="50 waiting messages a worker.")] = False,
    cost_cpu_us: Annotated[
        Any, _option("--cost-cpu-us", "CPU a delivered message, in us (100).", values.decimal, "US")
    ] = None,
    cost_intake_us: Annotated[
        Any, _option("--cost-intake-us", "CPU a published message, in us (0).", values.decimal, "US")
    ] = None,
    cost_memory_kb: Annotated[
        Any, _option("--cost-memory-kb", "Memory a connection, in KB of 1024 (102.4).", values.decimal, "KB")
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="TLS is ended in the nodes: 16 KB more a connection.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting by hand: maxConnections=12000 (repeat).", metavar="NAME=VALUE"),
    ] = None,
    egress_price: Annotated[
        Any, _option("--egress-price", "Price of traffic, USD a GiB.", values.decimal, "USD")
    ] = None,
    fleet: Annotated[
        str | None,
        typer.Option(help="A running fleet: its size under the seed's costs and its own.", metavar="NAME"),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("-n", "--namespace", help="Its namespace; default the context's.")
    ] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="How to reach its cluster.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the output.")] = Output.TABLE,
) -> None:
    """Size a node and a fleet: settings with reasons, projections, order of events, cost, and notes.

    Without options: the machine, load and costs of the sizing document. That is what the rules were taken
    from: a written plan for one e2-small and 20,000 to 40,000 users, with its assumptions and a measured
    test. Where it contradicts itself, the notes say so.
    """
    given = dict(locals())
    from wsfleet.sizing import SizingError, make_plan

    if list_instances:
        from wsfleet.cli.render import render_machines

        render_machines()
        return
    if fleet is not None:
        _plan_fleet(fleet, given)
        return
    for name in _OF_A_FLEET:
        if given[name] is not None:
            raise typer.BadParameter(f"--{name} is for a running fleet: give --fleet NAME too")
    try:
        made = make_plan(_inputs(given), dict(_setting(text) for text in overrides or ()))
    except SizingError as error:
        raise typer.BadParameter(_one_line(error)) from error
    _write(made, output)


def _plan_fleet(name: str, given: dict[str, Any]) -> None:
    """Plan a running fleet: its own spec says everything else."""
    from wsfleet.cli.plan_fleet import plan_fleet, render_fleet_plan

    output = given["output"]
    if output is Output.ENV:
        raise typer.BadParameter("-o env can't be given with --fleet; table, json and yaml can")
    defaults = {one.name: one.default for one in inspect.signature(plan).parameters.values()}
    for option, value in given.items():
        if option not in ("fleet", "output", *_OF_A_FLEET) and value != defaults[option]:
            shown = "--set" if option == "overrides" else f"--{option.replace('_', '-')}"
            raise typer.BadParameter(f"{shown} can't be given with --fleet: the fleet's own spec says it")
    made = plan_fleet(name, given["namespace"], given["kubeconfig"], given["context"])
    if output is Output.TABLE:
        render_fleet_plan(made)
    else:
        _write_document(made.to_dict(), output)


def _setting(text: str) -> tuple[str, str]:
    try:
        return values.pair(text)
    except ValueError as error:
        raise typer.BadParameter(f"--set {error}") from error


def _one_line(error: SizingError) -> str:
    root = error.field.partition(".")[0]
    option = "--set" if root == "overrides" else _OPTION_BY_FIELD.get(error.field, error.field)
    name = error.field.partition(".")[2]
    shown = f"{name}={error.value}" if root == "overrides" and name else error.value
    return " ".join(part for part in (option, str(shown), error.allowed) if part)


def _inputs(given: dict[str, Any]) -> Inputs:
    from wsfleet.sizing import Fanout, Inputs, Limits, Profile, Reserved

    reserved = Reserved()
    return Inputs(
        machine=_machine(given),
        reserved=Reserved(
            reserved.cpu_millis if given["reserved_cpu"] is None else given["reserved_cpu"],
            reserved.memory_bytes if given["reserved_memory"] is None else given["reserved_memory"],
        ),
        load=_load(given),
        costs=_costs(given),
        profile=Profile(given["profile"].value),
        limits=Limits(given["limits"].value),
        fanout=Fanout(given["fanout"].value),
        lean_queue=given["lean_queue"],
        egress_usd_per_gib=given["egress_price"],
        tls=given["tls"],
    )


def _machine(given: dict[str, Any]) -> Machine:
    from wsfleet.sizing import choose_machine

    price = given["price"]
    return choose_machine(
        given["instance"],
        cpu_millis=given["cpu"],
        memory_bytes=given["memory"],
        network_bits_per_second=given["network"],
        sustained_cpu_millis=given["sustained_cpu"],
        burstable=given["burstable"],
        monthly_cost_cents=None if price is None else round(price * 100),
    )


def _load(given: dict[str, Any]) -> Load:
    from wsfleet.sizing import SEED_LOAD, Load, SizingError, mixed_rates

    rate, peak, shares = given["rate"], given["peak_rate"], given["mix"]
    if shares is not None:
        if rate is not None or peak is not None:
            raise SizingError("load.mix", "", "cannot be given together with --rate or --peak-rate")
        rate, peak = mixed_rates(shares)
    users, most = given["users"] or (SEED_LOAD.users, SEED_LOAD.users_most)

    def or_default(name: str, default: Any) -> Any:
        return default if given[name] is None else given[name]

    return Load(
        users=users,
        users_most=most,
        message_rate=SEED_LOAD.message_rate if rate is None else rate,
        peak_message_rate=peak,
        message_bytes=or_default("message_bytes", SEED_LOAD.message_bytes),
        publish_rate=or_default("publish_rate", SEED_LOAD.publish_rate),
        subscribers_per_channel=or_default("subscribers", SEED_LOAD.subscribers_per_channel),
        channels=or_default("channels", SEED_LOAD.channels),
        mix=tuple((shares or {}).items()),
    )


def _costs(given: dict[str, Any]) -> Costs:
    from wsfleet.sizing import Costs, CostSource

    cpu, intake, memory = (given[name] for name in ("cost_cpu_us", "cost_intake_us", "cost_memory_kb"))
    seed = Costs()
    if cpu is None and intake is None and memory is None:
        return seed
    return Costs(
        message_cpu_us=seed.message_cpu_us if cpu is None else cpu,
        connection_memory_bytes=seed.connection_memory_bytes if memory is None else memory * 1024,
        intake_cpu_us=Fraction(0) if intake is None else intake,
        source=CostSource.BY_HAND,
        memory_has_tls=memory is not None,
    )


def _write(made: Any, output: Output) -> None:
    if output is Output.TABLE:
        from wsfleet.cli.render import render_plan

        render_plan(made)
    elif output is Output.ENV:
        sys.stdout.writelines(f"{name}={value}\n" for name, value in made.shown_env().items())
    else:
        _write_document(made.to_dict(), output)


def _write_document(document: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        import json

        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        import yaml

        sys.stdout.write(yaml.safe_dump(document, sort_keys=False, width=100))
