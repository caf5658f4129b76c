"""The command `wsfleet`: what people and the operator's container call.

A command is a module with `register(app)`; it imports what is heavy inside the function that needs
it, so that `wsfleet --help` and each command start fast.
"""

from __future__ import annotations

import importlib
import sys

import typer
from typer.exceptions import TyperException

COMMANDS = ("operator", "plan", "simulate")
"""Modules of this package, one a command; a new command is one more name here."""


def build_app() -> typer.Typer:
    """The application with all commands."""
    app = typer.Typer(
        name="wsfleet",
        help="A fleet of WebSocket broadcast nodes on Kubernetes: plan it, run it.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_wsfleet)
    for name in COMMANDS:
        importlib.import_module(f"wsfleet.cli.{name}").register(app)
    return app


def _wsfleet() -> None:
    # A callback keeps commands named while there is only one; its docstring would replace the help.
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run a command line; bad input ends it with one line on stderr and status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = build_app()(given or ["--help"], standalone_mode=False, prog_name="wsfleet")
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        line = " ".join(message.split()).removeprefix("Invalid value: ").replace("Value error, ", "")
        sys.stderr.write(f"wsfleet: {line}\n")
        sys.exit(getattr(error, "exit_code", 2))
    except typer.Abort:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
