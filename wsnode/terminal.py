"""What the commands share: settings or a clear end, and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import typer

from wsnode.config import SettingsError
from wsnode.config.sources import Loaded, load_from_environment

BAD_USE = 2

# Of all commands that are clients of a node.
CaOption = Annotated[
    str, typer.Option(help="PEM file with what is trusted under wss://; else the system's authorities")
]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="any certificate will do under wss://")]


def leave(*problems: str, code: int = BAD_USE) -> NoReturn:
    """Ends the command: one line a problem on standard error, and the exit code."""
    for problem in problems:
        typer.echo(f"wsnode: {problem}", err=True)
    raise typer.Exit(code)


def load_or_leave(environ: Mapping[str, str]) -> Loaded:
    """Settings of the environment and its file; with a bad one the command ends with code 2."""
    try:
        return load_from_environment(environ)
    except SettingsError as error:
        leave(*error.problems)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows in columns as wide as they need; the last one is not padded."""
    names = list(rows[0])
    lines = [[name.upper() for name in names]] + [[str(row[name]) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]])
        for line in lines
    )
