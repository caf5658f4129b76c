"""`wsnode tail`: a channel's messages on standard output, everything else on standard error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer

from wsnode.client import (
    CaughtUp,
    Client,
    ClientError,
    Connected,
    Disconnected,
    Event,
    FeedChanged,
    Message,
    Missed,
    Subscribed,
    Told,
)
from wsnode.load_options import LoadError, expand_channels, seconds_of
from wsnode.protocol.sse import parse_last_event_id
from wsnode.terminal import CaOption, InsecureOption
from wsnode.trust import TrustError, client_context


def tail_command(
    url: Annotated[
        str,
        typer.Argument(help="ws:// or wss:// URL of a node or a fleet's Service; several, comma-separated"),
    ],
    channels: Annotated[
        list[str],
        typer.Argument(help="channels, as BTC.trade; S{0..9}.trade stands for ten; BTC.*, *.trade, *"),
    ],
    resume: Annotated[
        str, typer.Option(help="go on from here: EPOCH-SEQ, as this command says at its end")
    ] = "",
    last: Annotated[bool, typer.Option("--last", help="each channel's newest message first")] = False,
    conflate: Annotated[
        bool, typer.Option("--conflate", help="only the newest of each channel where this end is slow")
    ] = False,
    delta: Annotated[bool, typer.Option("--delta", help="let patches travel in place of data")] = False,
    deflate: Annotated[bool, typer.Option("--deflate", help="offer compression")] = False,
    count: Annotated[int, typer.Option("-n", "--count", help="leave after so many messages; 0 is never")] = 0,
    duration: Annotated[str | None, typer.Option(help="leave after this time, as 30s")] = None,
    reconnect: Annotated[bool, typer.Option(help="come back after a close or a failed open")] = True,
    ca: CaOption = "",
    insecure: InsecureOption = False,
    output: Annotated[
        str, typer.Option("-o", "--output", help="pretty, or json: a message a line")
    ] = "pretty",
) -> None:
    """Print a channel's messages as they come; gaps and reconnects are told on standard error."""
    try:
        if output not in ("pretty", "json"):
            raise ClientError(f"output {output!r}: must be pretty or json")
        if count < 0:
            raise ClientError(f"count {count}: must not be below 0")
        seconds = 0.0 if duration is None else seconds_of("duration", duration)
        names = expand_channels(",".join(channels), patterns=True)
        lost = False

        def heard(event: Event) -> None:
            nonlocal lost
            # Not by a close of the server's: it was never there, or went without a word.
            lost = isinstance(event, Disconnected) and event.delay_seconds is None and event.code is None
            _say(describe(event))

        client = Client(
            url.split(","),
            names,
            resume=_point_of(resume),
            last=last,
            conflate=conflate,
            delta=delta,
            deflate=deflate,
            reconnect=reconnect,
            tls=client_context(ca, insecure=insecure) if ca or insecure else None,
            on_event=heard,
        )
        show = pretty_line if output == "pretty" else json_line
        asyncio.run(_follow(client, show, count, seconds))
        _say_point(client)
        if lost:
            raise typer.Exit(1)
    except (ClientError, LoadError, TrustError) as exc:
        _say(f"wsnode tail: {exc}")
        raise typer.Exit(2) from exc
    except BrokenPipeError:
        # The reader of a pipe has had enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _point_of(text: str) -> dict[str, Any] | None:
    told = parse_last_event_id(text)
    if text and told is None:
        raise ClientError(f"resume {text!r}: expected EPOCH-SEQ")
    return {"epoch": told[0], "seq": told[1]} if told is not None else None


def _say_point(client: Client) -> None:
    """One sequence for all names: the lowest. What was shown of the others comes again."""
    point = client.point
    if point is not None:
        lowest = min([point["channels"].get(name, point["seq"]) for name in client.channels])
        _say(f"-- to go on from here: --resume {point['epoch']}-{lowest}")


def pretty_line(message: Message) -> str:
    """One message for a person: time, channel, sequence, what it says."""
    when = datetime.fromtimestamp(message.ts / 1000, UTC).strftime("%H:%M:%S.%f")[:-3] if message.ts else "-"
    kind = "" if message.type == "price:update" else f" {message.type}"
    skipped = f" ({message.skipped} skipped)" if message.skipped else ""
    body = orjson.dumps(message.data).decode()
    return f"{when} {message.channel}{kind} #{message.seq}{skipped} {body}"


def json_line(message: Message) -> str:
    """The message as it came; one that came as a patch, as it would have come in full."""
    if not message.patched:
        return message.raw
    whole = {"seq": message.seq, "ts": message.ts, "type": message.type, "channel": message.channel}
    return orjson.dumps({**whole, "prev": message.prev, "data": message.data}).decode()


def describe(event: Event) -> str:
    """An event for a person, in one line."""
    match event:
        case Connected(_, node, epoch):
            return f"-- connected to {node or 'a server'} (epoch {epoch or 'unknown'})"
        case Subscribed(channels, seq, resumed):
            return f"-- {'resumed' if resumed else 'subscribed to'} {', '.join(channels)}; live after #{seq}"
        case CaughtUp(channel, seq):
            return f"-- {channel} is caught up at #{seq}"
        case Missed(name, _, 0, why):
            return f"-- gap on {name}: {why}, what was missed can't be told"
        case Missed(name, first, last, why):
            return f"-- gap on {name}: missed something of #{first} to #{last}: {why}"
        case Disconnected(why, _, delay):
            return f"-- {why}; " + ("not coming back" if delay is None else f"again in {delay:.1f} s")
        case FeedChanged(connected):
            return "-- the node has its feed again" if connected else "-- the node has lost its feed"
        case Told(code, text):
            return f"-- the server says {code}: {text}"


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
            print(show(message), flush=True)
            printed += 1
            if printed == count:
                return
