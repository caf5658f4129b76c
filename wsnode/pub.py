"""`wsnode pub`, the command over `publish`."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from typing import Annotated

import typer

from wsnode import publish
from wsnode.config.quantities import parse_duration
from wsnode.terminal import leave, load_or_leave

_DEFAULT_RATE = 10.0
_FAILED = 1
_BAD_LINES_SHOWN = 20


def pub_command(
    source: Annotated[
        str | None, typer.Argument(help="- reads standard input; a pipe is read, unless samples are wanted.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, help="Messages a second, by default 10; 0 is as fast as can be.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=1_000_000, help="Channels of sample prices.")] = 10,
    payload_bytes: Annotated[
        int, typer.Option("--bytes", min=0, max=2**20, help="Least size of a sample's payload.")
    ] = 0,
    count: Annotated[int | None, typer.Option(min=0, help="Messages after which to end.")] = None,
    duration: Annotated[str | None, typer.Option(help="Time after which to end, such as 30s.")] = None,
    channel: Annotated[
        str | None, typer.Option(help="Channel of all lines read, which are then JSON alone.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sample prices.")] = 1,
    url: Annotated[str | None, typer.Option(help="Broker; by default NATS_URL.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line of progress each second.")] = False,
) -> None:
    """Publish sample prices, or lines `SUBJECT-or-CHANNEL JSON`, into the node's stream."""
    settings = load_or_leave(os.environ).settings
    try:
        seconds = None if duration is None else float(parse_duration(duration))
    except ValueError as error:
        leave(f"--duration {duration!r}: {error}")
    if source not in (None, "-"):
        leave(f"{source!r}: must be - or left out")
    prefix = settings.js_stream_subjects[0].removesuffix(">")
    tally = publish.Tally()
    sampled = rate is not None or count is not None or seconds is not None
    if source == "-" or channel is not None or (not sampled and _input_is_piped()):
        messages = publish.from_lines(publish.read_lines(sys.stdin.fileno()), channel, prefix, tally)
        pace = publish.Pace(rate or 0.0, count, seconds)
    else:
        prices = publish.sample_prices(publish.sample_channels(channels), prefix, payload_bytes, seed)
        messages = publish.from_samples(prices)
        pace = publish.Pace(_DEFAULT_RATE if rate is None else rate, count, seconds)
    run = publish.publish(
        url or settings.nats_url,
        publish.paced(messages, pace),
        tally,
        credentials=settings.nats_credentials_file,
        report=None if quiet else lambda tally: typer.echo(tally.line(), err=True),
    )
    try:
        asyncio.run(run)
    except publish.PublishError as error:
        leave(str(error), code=_FAILED)
    except KeyboardInterrupt:
        pass
    for problem in tally.bad_lines[:_BAD_LINES_SHOWN]:
        typer.echo(f"wsnode: left out {problem}", err=True)
    typer.echo(tally.line(), err=True)
    raise typer.Exit(_FAILED if tally.failed or tally.bad_lines else 0)


def _input_is_piped() -> bool:
    """Whether standard input is a pipe or a file, not a terminal or /dev/null."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
