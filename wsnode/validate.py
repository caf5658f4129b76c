"""`wsnode validate`: the document's validation tests (seed, "Validation Tests") against any address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from wsnode.config import Settings
from wsnode.config.expectations import TestName
from wsnode.load_options import LoadError, LoadOptions, expand_channels, seconds_of
from wsnode.publish import sample_channels
from wsnode.terminal import CaOption, InsecureOption, leave
from wsnode.validate_criteria import Outcome, Report, judge
from wsnode.validate_picture import picture
from wsnode.validate_plan import Plan, ValidateError, Wishes, make_plan, test_name
from wsnode.validate_progress import progress_for
from wsnode.validate_report import json_report, text_report
from wsnode.validate_run import AdminPort, Publisher, Runner, Trust, admin_port, check_reachable
from wsnode.validate_samples import NodeFigures, Run

_DEFAULT_CHANNELS = 10
"""As many as `wsnode pub` fills unasked; at 2 messages a second for each client that is the document's
measured test: 20 messages a second in all."""


def validate_command(
    test: Annotated[str, typer.Argument(help="light, target, capacity or overload")],
    url: Annotated[str, typer.Argument(help="ws://HOST[:PORT]/PATH of a node or of a fleet's Service")],
    admin: Annotated[
        str | None, typer.Option(help="the node's admin port, as http://HOST:9102; else only clients judge")
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option(help="broker to publish sample prices to, as nats://HOST:4222; else others' traffic"),
    ] = None,
    connections: Annotated[
        int | None, typer.Option("-c", "--connections", help="clients, instead of the test's")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="time they are held, as 20s, instead of the test's")
    ] = None,
    rate: Annotated[float, typer.Option("-r", "--rate", help="new connections a second")] = 200.0,
    message_rate: Annotated[float, typer.Option(help="messages a second for each client")] = 2.0,
    channels: Annotated[
        str | None, typer.Option(help="comma-separated; by default the ten of `wsnode pub`")
    ] = None,
    channels_each: Annotated[
        int, typer.Option(help="channels of one client, taken from the list in turn")
    ] = 1,
    picture_file: Annotated[
        Path | None, typer.Option("--picture", help="write the figures over time to this SVG file")
    ] = None,
    ca: CaOption = "",
    insecure: InsecureOption = False,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json")] = "table",
) -> None:
    """Run a validation test against a node: 0 when it passes, 1 when not, 2 when it could not be run."""
    try:
        if output not in ("table", "json"):
            raise ValidateError(f"output {output!r}: must be table or json")
        if picture_file is not None and not picture_file.parent.is_dir():
            raise ValidateError(f"picture {str(picture_file)!r}: no such directory")
        wishes = Wishes(
            connections=connections,
            duration_seconds=None if duration is None else seconds_of("duration", duration),
            ramp_per_second=rate,
            message_rate=message_rate,
            channels=tuple(sample_channels(_DEFAULT_CHANNELS))
            if channels is None
            else expand_channels(channels),
            channels_each=channels_each,
        )
        # What the load client would refuse is told before anything is asked of the node.
        trust = Trust(ca, insecure)
        LoadOptions(url, 1, rate, wishes.channels, channels_each, ca=ca, insecure=insecure)
        asked = _Asked(test_name(test), url, admin, publish, wishes, trust)
        plan, run = asyncio.run(_run(asked))
    except (ValidateError, LoadError) as exc:
        leave(f"validate: {exc}")
    report = judge(plan, run)
    if output == "json":
        typer.echo(json.dumps(json_report(plan, run, report, url), indent=2))
    else:
        typer.echo(text_report(plan, run, report, url))
    if picture_file is not None:
        _draw(picture_file, plan, run, report, url)
    raise typer.Exit(0 if report.outcome in (Outcome.PASSED, Outcome.PASSED_IN_PART) else 1)


@dataclass(frozen=True, slots=True)
class _Asked:
    test: TestName
    url: str
    admin: str | None
    publish: str | None
    wishes: Wishes
    trust: Trust


async def _run(asked: _Asked) -> tuple[Plan, Run]:
    async with contextlib.AsyncExitStack() as stack:
        port: AdminPort | None = None
        before: NodeFigures | None = None
        settings: Settings | None = None
        notes: list[str] = []
        if asked.admin is not None:
            port = await stack.enter_async_context(admin_port(asked.admin))
            before, settings, problem = await port.first()
            notes += [problem] if problem is not None else []
        plan = make_plan(asked.test, asked.wishes, settings)
        await check_reachable(asked.url)
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, enough.set)
        publisher = None if asked.publish is None else Publisher(asked.publish, plan)
        progress = progress_for(plan, sys.stderr)
        stack.callback(progress.end)
        runner = Runner(plan, asked.url, port, before, publisher, enough, progress.show, notes, asked.trust)
        return plan, await runner.run()


def _draw(path: Path, plan: Plan, run: Run, report: Report, url: str) -> None:
    try:
        path.write_text(picture(plan, run, report, url), encoding="utf-8")
    except OSError as exc:
        leave(f"validate: picture {str(path)!r}: {exc.strerror}")
    typer.echo(f"picture: {path}", err=True)
