"""The commands of `wsnode`. What is large is imported by the command that needs it."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from wsnode import early_signals
from wsnode.terminal import leave, load_or_leave, table

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from wsnode.certificates import Pair
    from wsnode.config import Settings
    from wsnode.config.sources import Loaded

logger = logging.getLogger("wsnode.commands")

# Commands of modules that `serve` does without: name -> module with a function `<name>_command`.
_LAZY_COMMANDS = {
    "load": "wsnode.load",
    "pub": "wsnode.pub",
    "stream": "wsnode.stream",
    "tail": "wsnode.tail",
    "validate": "wsnode.validate",
}


class _Group(TyperGroup):
    """Imports the module of a lazy command only when that command (or the list of all) is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted({*super().list_commands(ctx), *_LAZY_COMMANDS})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _LAZY_COMMANDS:
            return super().get_command(ctx, cmd_name)
        function = getattr(importlib.import_module(_LAZY_COMMANDS[cmd_name]), f"{cmd_name}_command")
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        single.command(name=cmd_name)(function)
        return typer.main.get_command(single)


app = typer.Typer(
    name="wsnode",
    cls=_Group,
    help="A WebSocket broadcast node, and what goes with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _before_each(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if context.invoked_subcommand != "serve":
        early_signals.release()
    if show_version:
        from wsnode.version import version

        typer.echo(version())
        raise typer.Exit


@app.command()
def serve(
    embedded_nats: Annotated[
        bool, typer.Option("--embedded-nats", help="Start a nats-server of its own, for development.")
    ] = False,
) -> None:
    """Serve clients until SIGTERM, which drains first. All settings come from the environment."""
    environ = dict(os.environ)
    loaded = load_or_leave(environ)
    from wsnode import logs

    settings = loaded.settings
    logs.configure(settings.log_level, settings.log_format, settings.node_name)
    _warn_of_misspelt(environ)
    if not embedded_nats:
        raise typer.Exit(_run_node(environ, loaded))
    from wsnode.embedded import EmbeddedNats, EmbeddedNatsError, wanted_port

    nats = EmbeddedNats(wanted_port(settings.nats_url))
    early_signals.add_cleanup(nats.stop)
    try:
        nats.spawn()
        importlib.import_module("wsnode.admin")  # while the broker starts
        environ["NATS_URL"] = nats.wait()
        hint = f"NATS_URL={nats.url} wsnode pub"
        logger.info("embedded nats-server runs", extra=logs.fields(url=nats.url, publish=hint))
        raise typer.Exit(_run_node(environ, load_or_leave(environ)))
    except EmbeddedNatsError as error:
        leave(str(error))
    finally:
        nats.stop()


@app.command()
def config(
    output: Annotated[
        Literal["table", "env", "json"], typer.Option("--output", "-o", help="Form of the output.")
    ] = "table",
) -> None:
    """Print all settings in force: value, where it comes from, and whether it changes live."""
    from wsnode.config import LIVE_FIELDS, Settings, env_name
    from wsnode.config.sources import masked_env, suspicious_names

    loaded = load_or_leave(os.environ)
    for name, meant in suspicious_names(os.environ).items():
        typer.echo(f"wsnode: {name} is no setting and has no effect (meant: {meant}?)", err=True)
    values = masked_env(loaded.settings)
    if output == "env":
        typer.echo("\n".join(f"{name}={value}" for name, value in values.items()))
        return
    rows = [
        {
            "name": env_name(field),
            "value": values[env_name(field)],
            "source": loaded.origins[field],
            "live": field in LIVE_FIELDS,
            "meaning": info.description or "",
        }
        for field, info in Settings.model_fields.items()
    ]
    if output == "json":
        typer.echo(json.dumps(rows, indent=2))
        return
    shown = [{**row, "live": "live" if row["live"] else "fixed"} for row in rows]
    typer.echo(table(shown))


@app.command()
def metrics(
    output: Annotated[
        Literal["table", "markdown", "json"], typer.Option("--output", "-o", help="Form of the output.")
    ] = "table",
) -> None:
    """Print the metrics of a node, with their meaning."""
    from wsnode.metrics import METRICS

    rows = [{"name": m.name, "kind": m.kind, "label": m.label or "", "meaning": m.help} for m in METRICS]
    if output == "json":
        typer.echo(json.dumps(rows, indent=2))
    elif output == "markdown":
        typer.echo("| name | kind | label | meaning |\n| --- | --- | --- | --- |")
        for row in rows:
            typer.echo(f"| `{row['name']}` | {row['kind']} | {row['label']} | {row['meaning']} |")
    else:
        typer.echo(table(rows))


def _serving(environ: Mapping[str, str], loaded: Loaded) -> Coroutine[Any, Any, int]:
    """The node to run; what it does without is not imported."""
    pair = _pair_or_leave(loaded.settings)
    processes = loaded.settings.process_count(len(os.sched_getaffinity(0)))
    if processes > 1:
        from wsnode.processes.serving import serve as serve_with_workers

        return serve_with_workers(loaded, environ, processes, pair)
    from wsnode.server import serve as serve_alone

    return serve_alone(loaded, environ, pair)


def _pair_or_leave(settings: Settings) -> Pair | None:
    """The certificate, where TLS is spoken; with bad files the command ends with code 2."""
    if not settings.tls_cert_file:
        return None
    from wsnode.certificates import CertificateError, read_pair

    try:
        return read_pair(settings)
    except CertificateError as error:
        leave(str(error))


def _run_node(environ: Mapping[str, str], loaded: Loaded) -> int:
    serving = _serving(environ, loaded)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serving)
    return uvloop.run(serving)


def _warn_of_misspelt(environ: Mapping[str, str]) -> None:
    from wsnode.config.sources import suspicious_names
    from wsnode.logs import fields

    for name, meant in suspicious_names(environ).items():
        logger.warning(f"{name} is no setting and has no effect", extra=fields(meant=meant))
