"""`wsfleet simulate`: a trace of traffic against a policy, beside an HPA and one who knows the future."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wsfleet.simulate.run import Comparison
    from wsfleet.simulate.scenarios import Scenario
    from wsfleet.simulate.setup import Setup


class Form(StrEnum):
    """Forms of the output."""

    TABLE = "table"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="simulate")(simulate)


def simulate(
    scenario: Annotated[
        list[str] | None, typer.Option(help="A named trace, see --list (repeat).", metavar="NAME")
    ] = None,
    all_scenarios: Annotated[bool, typer.Option("--all", help="All named traces.")] = False,
    list_scenarios: Annotated[bool, typer.Option("--list", help="List the named traces.")] = False,
    trace: Annotated[
        Path | None,
        typer.Option(help="A CSV file: time (s), connections, messages/s to each.", metavar="FILE"),
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option("-f", "--fleet", help="The policy: a WsFleet in YAML.", metavar="FILE")
    ] = None,
    connections: Annotated[
        int | None,
        typer.Option(help="Highest connections of a named trace.", min=1000, max=10_000_000),
    ] = None,
    min_replicas: Annotated[int | None, typer.Option(help="Least nodes.", min=1, max=10_000)] = None,
    max_replicas: Annotated[int | None, typer.Option(help="Most nodes.", min=1, max=10_000)] = None,
    rate: Annotated[
        float | None, typer.Option(help="Messages a second to each client.", min=0, max=100_000)
    ] = None,
    start_seconds: Annotated[
        float, typer.Option(help="From a pod's creation until it is ready.", min=1, max=3600)
    ] = 10.0,
    fixed_cpu: Annotated[
        float, typer.Option(help="CPU % that a node spends whatever it serves.", min=0, max=90)
    ] = 3.0,
    session_seconds: Annotated[
        float, typer.Option(help="Mean length of a session.", min=10, max=1_000_000)
    ] = 1800.0,
    hpa: Annotated[bool, typer.Option("--hpa/--no-hpa", help="Whether to run the HPA too.")] = True,
    seed: Annotated[int, typer.Option(help="Of all that is left to chance.", min=0)] = 1,
    svg: Annotated[
        Path | None, typer.Option(help="Write a picture of each trace here.", metavar="DIR")
    ] = None,
    output: Annotated[Form, typer.Option("-o", "--output", help="Form of the output.")] = Form.TABLE,
) -> None:
    """Run a model of a fleet through traffic: the operator's own decisions, an HPA's, and an oracle's.

    The model counts clients by node. It runs the functions that the operator runs: scaling, steering,
    drains, rollouts. The oracle knows the trace, holds the same targets and pays the least node-hours.
    For named traces a second table has the figures to reach, and names those that are missed.
    """
    if list_scenarios:
        _list()
        return
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise typer.BadParameter("simulate needs numpy: pip install 'wsfleet[simulate]'") from error
    from dataclasses import replace

    setup = _setup(fleet, start_seconds=start_seconds, fixed_cpu_percent=fixed_cpu)
    clients = replace(setup.clients, session_seconds=session_seconds)
    setup = replace(setup, clients=clients, message_rate=setup.message_rate if rate is None else rate)
    scenarios = _scenarios(setup, scenario or [], all_scenarios, trace, connections, seed)
    setup = _bounded(setup, scenarios, fleet is not None, min_replicas, max_replicas)
    done = [_run(one, setup, seed, hpa) for one in scenarios]
    if svg is not None:
        _draw(done, svg)
    _write(done, seed, output, timed=all_scenarios)


def _list() -> None:
    from wsfleet.simulate.scenarios import SCENARIOS, make_scenario

    for name in SCENARIOS:
        sys.stdout.write(f"{name:18}{make_scenario(name, 1.0).title}\n")


def _setup(fleet: Path | None, **node: float) -> Setup:
    from pydantic import ValidationError

    from wsfleet.simulate.setup import default_spec, setup_from_spec, spec_from_file
    from wsfleet.sizing import SizingError

    try:
        return setup_from_spec(default_spec() if fleet is None else spec_from_file(fleet), **node)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("spec", *first["loc"]))
        raise typer.BadParameter(f"{fleet}: {where}: {first['msg']}") from error
    except SizingError as error:
        raise typer.BadParameter(f"{fleet}: {error}") from error
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error


def _scenarios(
    setup: Setup,
    names: list[str],
    every: bool,
    trace: Path | None,
    connections: int | None,
    seed: int,
) -> list[Scenario]:
    from wsfleet.simulate.scenarios import SCENARIOS, Scenario, make_scenario
    from wsfleet.simulate.traffic import TraceError, read_trace

    if sum((bool(names), every, trace is not None)) != 1:
        raise typer.BadParameter("give one of --scenario NAME, --all, --trace FILE (--list names the traces)")
    try:
        if trace is None:
            chosen = list(SCENARIOS) if every else names
            return [make_scenario(name, setup.message_rate, connections, seed) for name in chosen]
        if connections is not None:
            raise typer.BadParameter("--connections is for named traces; the file says how many")
        read = read_trace(trace, setup.message_rate)
        step = 1.0 if read.seconds <= 4 * 3600 else 5.0
        return [Scenario(name=trace.stem, title=str(trace), trace=read, step_seconds=step)]
    except (TraceError, OSError) as error:
        option = "--trace" if trace is not None else "--scenario"
        raise typer.BadParameter(f"{option} {error}") from error


def _bounded(
    setup: Setup, scenarios: list[Scenario], given: bool, lowest: int | None, highest: int | None
) -> Setup:
    """The bounds of the size: as asked for, as the fleet has them, else wide enough for the traces."""
    policy = setup.policy
    if highest is None:
        highest = policy.max_replicas
        if not given:
            most = max(one.trace.most_connections for one in scenarios)
            highest = max(10, int(3 * most / (policy.max_connections * 0.8)))
    lowest = policy.min_replicas if lowest is None else lowest
    if lowest > highest:
        raise typer.BadParameter(f"--min-replicas {lowest} must not be above --max-replicas {highest}")
    return setup.with_bounds(lowest, highest)


def _run(scenario: Scenario, setup: Setup, seed: int, hpa: bool) -> Comparison:
    """With a bar on stderr where a person watches."""
    from rich.console import Console
    from rich.progress import Progress

    from wsfleet.simulate.run import compare

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(scenario.name, total=1.0)
        return compare(scenario, setup, seed, lambda done: bar.update(task, completed=done), with_hpa=hpa)


def _draw(done: list[Comparison], folder: Path) -> None:
    from wsfleet.simulate.report import picture

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in done:
            (folder / f"{one.scenario.name}.svg").write_text(picture(one), "utf-8")
    except OSError as error:
        raise typer.BadParameter(f"--svg {folder}: {error.strerror}") from error


def _write(done: list[Comparison], seed: int, output: Form, *, timed: bool) -> None:
    """`timed`: a decision's time is among the figures to reach; it is another one in each run."""
    from wsfleet.simulate.targets import decide_target, targets

    found = [*targets(done), *([decide_target()] if timed else [])]
    if output is Form.JSON:
        import json

        from wsfleet.simulate.report import document, reached

        value = {"seed": seed, "scenarios": [document(one) for one in done], "targets": reached(found)}
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return
    from wsfleet.cli.render_simulate import render_comparisons, render_targets

    render_comparisons(done, seed)
    if found:
        render_targets(found)
