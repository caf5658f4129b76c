"""`wsnode stream`: the stream as it is, and changed to what the settings ask.

The node only ever creates a missing stream: one that is there may be others' too, and a lower limit
loses messages. Changing it is somebody's decision, and this command is how it is carried out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from wsnode.broker import connected, phrase
from wsnode.config import Settings
from wsnode.config.sources import mask_addresses
from wsnode.jetstream import JetStreamApi, JetStreamError, wanted_stream
from wsnode.stream_changes import Comparison, Difference, compare
from wsnode.terminal import leave, load_or_leave, table

_FAILED, _DIFFERS = 1, 3
_REQUEST_SECONDS = 10


def stream_command(
    what: Annotated[
        Literal["show", "apply"],
        typer.Argument(help="show: what differs; apply: change the stream, or create a missing one."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Also what loses messages, unasked.")] = False,
    url: Annotated[str | None, typer.Option(help="Broker; by default NATS_URL.")] = None,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="Form of the output.")
    ] = "text",
) -> None:
    """The JetStream stream against what the settings ask of it.

    Ends with 0 when the stream is (now) as asked, 1 when the broker can't be reached or refuses, 2 for wrong
    use, and 3 when the stream differs: shown only, not agreed to, or not to be changed.
    """
    settings = load_or_leave(os.environ).settings
    if url is not None:
        settings = settings.model_copy(update={"nats_url": url})
    try:
        asyncio.run(_run(settings, what, yes=yes, as_json=output == "json"))
    except JetStreamError as error:
        leave(str(error), code=_FAILED)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _run(settings: Settings, what: str, *, yes: bool, as_json: bool) -> None:
    # Of several troubles the first is told: the library's last is only that no server is left.
    troubles: list[Exception] = []
    begun = False
    try:
        async with connected(settings, troubles.append, lambda: None) as client:
            begun = True
            api = JetStreamApi(client, settings.js_stream_name)
            async with asyncio.timeout(_REQUEST_SECONDS):
                info = await api.stream_answer()
            found = compare(settings, info, datetime.now(UTC)) if info is not None else None
            if what == "apply":
                await _apply(settings, api, found, yes=yes, as_json=as_json)
            else:
                _tell(settings, found, changed=False, as_json=as_json)
    except (typer.Exit, JetStreamError):
        raise
    except Exception as error:  # the library raises its own, OSError, and asyncio's
        if begun:
            leave(f"the broker does not answer: {phrase(error)}", code=_FAILED)
        cause = troubles[0] if troubles else error
        leave(f"no broker at {mask_addresses(settings.nats_url)}: {phrase(cause)}", code=_FAILED)
    if what == "show" and (found is None or found.differences):
        raise typer.Exit(_DIFFERS)


async def _apply(
    settings: Settings, api: JetStreamApi, found: Comparison | None, *, yes: bool, as_json: bool
) -> None:
    if found is None:
        await api.create_stream(wanted_stream(settings))
        _tell(settings, None, changed=True, as_json=as_json)
        return
    if not found.differences:
        _tell(settings, found, changed=False, as_json=as_json)
        return
    refused, loses = found.of("impossible"), found.of("loses")
    told = bool(refused or (loses and not yes))
    if told:
        _tell(settings, found, changed=False, as_json=as_json)
    if refused:
        leave(f"nothing was changed: {_list(refused)}", code=_DIFFERS)
    if told and not _asks(as_json):
        leave("nothing was changed: messages would be lost; --yes agrees to that", code=_DIFFERS)
    if told and not await asyncio.to_thread(_agreed):
        leave("nothing was changed", code=_DIFFERS)
    await api.update_stream(found.config)
    if told:
        typer.echo(f"stream {settings.js_stream_name} changed")
    else:
        _tell(settings, found, changed=True, as_json=as_json)


def _asks(as_json: bool) -> bool:
    """Whether somebody is there who can be asked."""
    return not as_json and sys.stdin.isatty()


def _agreed() -> bool:
    typer.echo("Change the stream? What is lost can't be had back. [y/N] ", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _list(refused: list[Difference]) -> str:
    return "; ".join(f"{one.name} is {one.found}, not {one.wanted}: {one.note}" for one in refused)


def _tell(settings: Settings, found: Comparison | None, *, changed: bool, as_json: bool) -> None:
    name = settings.js_stream_name
    if as_json:
        typer.echo(json.dumps(_document(settings, found, changed=changed), indent=2))
        return
    if found is None:
        typer.echo(f"stream {name} created" if changed else f"there is no stream {name}; a node creates it")
        return
    if not found.differences:
        typer.echo(f"stream {name} is as the settings ask")
        return
    rows = [
        {"setting": one.name, "is": one.found, "asked": one.wanted, "change": one.change, "note": one.note}
        for one in found.differences
    ]
    typer.echo(table(rows))
    if changed:
        typer.echo(f"stream {name} changed")


def _document(settings: Settings, found: Comparison | None, *, changed: bool) -> Mapping[str, Any]:
    differences = found.differences if found is not None else ()
    return {
        "stream": settings.js_stream_name,
        "exists": found is not None or changed,
        "changed": changed,
        "differences": [
            {
                "setting": one.name,
                "is": one.found,
                "asked": one.wanted,
                "change": one.change,
                "note": one.note,
            }
            for one in differences
        ],
    }
