"""`kubectl wsfleet`: kubectl runs the program kubectl-wsfleet for it. The same commands as `wsfleet`'s."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys

from wsfleet.cli import build_app, run_app

PLUGIN_COMMANDS = ("status", "top", "fleet_plan", "explain", "drain", "rebalance", "pause")
"""Modules of this package, one or two commands each."""
PLUGIN_NAME = "kubectl wsfleet"
PLUGIN_HELP = "See and steer running fleets of WebSocket nodes: their state, their decisions, their nodes."
_NO_FILES = ":4"  # cobra's ShellCompDirectiveNoFileComp: nothing but these


def main(arguments: list[str] | None = None) -> None:
    """Run a command line of the plugin."""
    run_app(build_app(PLUGIN_COMMANDS, "wsfleet", PLUGIN_HELP), PLUGIN_NAME, arguments)


def complete(arguments: list[str] | None = None) -> None:
    """Tell what the last of the arguments may become: what kubectl runs kubectl_complete-wsfleet for.

    One candidate a line, its help behind a tab, and a last line that says what the shell may add by itself
    (kubectl's convention for completing plugins, which is cobra's).
    """
    given = sys.argv[1:] if arguments is None else arguments
    *before, last = given or [""]
    line = shlex.join(["wsfleet", *before]) + " " + (shlex.quote(last) if last else "")
    os.environ["_WSFLEET_COMPLETE"] = "complete_fish"  # the one of typer's forms that is values and help
    os.environ["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    os.environ["_TYPER_COMPLETE_ARGS"] = line
    offered = io.StringIO()
    with contextlib.redirect_stdout(offered), contextlib.suppress(SystemExit):
        build_app(PLUGIN_COMMANDS, "wsfleet", PLUGIN_HELP)([], prog_name="wsfleet")
    lines = [line for line in offered.getvalue().splitlines() if line]
    sys.stdout.writelines(f"{line}\n" for line in (*lines, _NO_FILES))
