"""The command `wsfleet`: what people and the operator's container call.

A command is a module with `register(app)`; it imports what is heavy inside the function that needs
it, so that `wsfleet --help` and each command start fast.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable

import typer
from typer.exceptions import TyperException

COMMANDS = ("operator", "plan", "simulate", "status", "top", "explain", "drain", "rebalance", "pause")
"""Modules of this package, one or two commands each; a new command is one more name here."""
HELP = "A fleet of WebSocket broadcast nodes on Kubernetes: plan it, run it, see and steer it."


def build_app(commands: Iterable[str] = COMMANDS, name: str = "wsfleet", text: str = HELP) -> typer.Typer:
    """An application with commands, by the names of their modules."""
    app = typer.Typer(
        name=name,
        help=text,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_wsfleet)
    for module in commands:
        importlib.import_module(f"wsfleet.cli.{module}").register(app)
    return app


def _wsfleet() -> None:
    # A callback keeps commands named while there is only one; its docstring would replace the help.
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run a command line of `wsfleet`."""
    run_app(build_app(), "wsfleet", arguments)


def run_app(app: typer.Typer, name: str, arguments: list[str] | None) -> None:
    """Run a command line; bad input ends it with one line on stderr and status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(given or ["--help"], standalone_mode=False, prog_name=name)
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        line = " ".join(message.split()).removeprefix("Invalid value: ").replace("Value error, ", "")
        sys.stderr.write(f"wsfleet: {line}\n")
        sys.exit(getattr(error, "exit_code", 2))
    except typer.Abort:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
