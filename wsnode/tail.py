"""`wsnode tail`: a channel's messages on standard output, everything else on standard error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from wsnode.client import (
    Client,
    ClientError,
    Connected,
    Disconnected,
    Event,
    FeedChanged,
    Message,
    Subscribed,
    Told,
)
from wsnode.gapcheck import Finding, Verdict
from wsnode.load_options import LoadError, expand_channels, seconds_of


def tail_command(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of a node or of a fleet's Service")],
    channels: Annotated[
        list[str], typer.Argument(help="channels, as BTC.trade; S{0..9}.trade stands for ten")
    ],
    count: Annotated[int, typer.Option("-n", "--count", help="leave after so many messages; 0 is never")] = 0,
    duration: Annotated[str | None, typer.Option(help="leave after this time, as 30s")] = None,
    reconnect: Annotated[bool, typer.Option(help="come back after a close or a failed open")] = True,
    output: Annotated[
        str, typer.Option("-o", "--output", help="pretty, or json: the lines as they came")
    ] = "pretty",
) -> None:
    """Print a channel's messages as they come; gaps and reconnects are told on standard error."""
    try:
        if output not in ("pretty", "json"):
            raise ClientError(f"output {output!r}: must be pretty or json")
        if count < 0:
            raise ClientError(f"count {count}: must not be below 0")
        seconds = 0.0 if duration is None else seconds_of("duration", duration)
        names = expand_channels(",".join(channels))
        lost = False

        def heard(event: Event) -> None:
            nonlocal lost
            # Not by a close of the server's: it was never there, or went without a word.
            lost = isinstance(event, Disconnected) and event.delay_seconds is None and event.code is None
            _say(describe(event))

        client = Client(url, names, reconnect=reconnect, on_event=heard)
        show = pretty_line if output == "pretty" else _raw_line
        asyncio.run(_follow(client, show, count, seconds))
        if lost:
            raise typer.Exit(1)
    except (ClientError, LoadError) as exc:
        _say(f"wsnode tail: {exc}")
        raise typer.Exit(2) from exc
    except BrokenPipeError:
        # The reader of a pipe has had enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def pretty_line(message: Message) -> str:
    """One message for a person: time, channel, sequence, what it says."""
    when = datetime.fromtimestamp(message.ts / 1000, UTC).strftime("%H:%M:%S.%f")[:-3] if message.ts else "-"
    kind = "" if message.type == "price:update" else f" {message.type}"
    body = orjson.dumps(message.content.get("data")).decode()
    return f"{when} {message.channel}{kind} #{message.seq} {body}"


def describe(event: Event) -> str:
    """An event for a person, in one line."""
    match event:
        case Connected(node, epoch, comparable):
            note = "" if comparable else "; another stream than before: what was missed can't be told"
            return f"-- connected to {node or 'a server'} (epoch {epoch or 'unknown'}){note}"
        case Subscribed(channels, seq):
            return f"-- subscribed to {', '.join(channels)}; live after #{seq}"
        case Disconnected(why, _, delay):
            return f"-- {why}; " + ("not coming back" if delay is None else f"again in {delay:.1f} s")
        case FeedChanged(connected):
            return "-- the node has its feed again" if connected else "-- the node has lost its feed"
        case Told(code, text):
            return f"-- the server says {code}: {text}"


def describe_finding(finding: Finding) -> str:
    """A fault in the sequence for a person, in one line."""
    if finding.missing is not None:
        low, high = finding.missing
        where = "while away" if finding.verdict is Verdict.MISSED_AWAY else "on a live connection"
        return f"-- gap on {finding.channel}: missed something of #{low} to #{high} {where}"
    return f"-- {finding}"


def _raw_line(message: Message) -> str:
    return message.raw


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _follow(client: Client, show: Callable[[Message], str], count: int, duration: float) -> None:
    """Print until there was enough, or the user leaves."""
    left = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, left.set)
    printing = asyncio.create_task(_print(client, show, count))
    leaving = asyncio.create_task(left.wait())
    try:
        await asyncio.wait((printing, leaving), timeout=duration or None, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (printing, leaving):
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    if not printing.cancelled():
        printing.result()


async def _print(client: Client, show: Callable[[Message], str], count: int) -> None:
    printed = 0
    async with contextlib.aclosing(aiter(client)) as messages:
        async for message in messages:
            if message.finding is not None:
                _say(describe_finding(message.finding))
            print(show(message), flush=True)
            printed += 1
            if printed == count:
                return
