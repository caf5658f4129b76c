"""What all commands about running fleets share: options, the way to the cluster, errors as exit codes."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from wsfleet.plugin.session import Session

T = TypeVar("T")

COMPLETION_SECONDS = 3.0
EXIT_CODES = (
    "Exit codes: 0 done; 1 failed; 2 bad usage; 3 no such fleet, pod or resource; 4 not allowed; "
    "5 no cluster; 6 --wait ran out of time."
)


class Output(StrEnum):
    """Forms of the output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


class Form(StrEnum):
    """Forms of the output of what has no wide table."""

    TABLE = "table"
    JSON = "json"


def completed_fleets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of fleets that begin so, for the shell; none where the cluster can't be asked quickly."""
    given = ctx.params

    async def found() -> list[str]:
        from wsfleet.kube.kinds import name_of
        from wsfleet.plugin.read import fleets_in
        from wsfleet.plugin.session import session

        async with asyncio.timeout(COMPLETION_SECONDS), session(_where(given)) as one:
            return [name_of(fleet) for fleet in await fleets_in(one)]

    return _begins(found, incomplete)


def completed_pods(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the fleet's pods that begin so, for the shell."""
    given = ctx.params

    async def found() -> list[str]:
        from wsfleet.kube.kinds import name_of
        from wsfleet.plugin.read import fleet_named, pods_of
        from wsfleet.plugin.session import session

        async with asyncio.timeout(COMPLETION_SECONDS), session(_where(given)) as one:
            fleet = await fleet_named(one, str(given.get("fleet")))
            return [name_of(pod) for pod in await pods_of(one, fleet)]

    return _begins(found, incomplete)


def _begins(found: Callable[[], Awaitable[list[str]]], incomplete: str) -> list[str]:
    async def ask() -> list[str]:
        return await found()

    try:
        names = asyncio.run(ask())
    except Exception:  # a shell that completes must not be written into, whatever is wrong
        return []
    return [name for name in names if name.startswith(incomplete)]


Namespace = Annotated[
    str,
    typer.Option(
        "-n", "--namespace", help="Namespace of the fleet; the context's own if none.", show_default=False
    ),
]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="The kubeconfig to use (else KUBECONFIG).")
]
AllNamespaces = Annotated[bool, typer.Option("-A", "--all-namespaces", help="The fleets of all namespaces.")]
Fleet = Annotated[
    str, typer.Argument(metavar="FLEET", help="Name of the fleet.", autocompletion=completed_fleets)
]
MaybeFleet = Annotated[
    str | None,
    typer.Argument(
        metavar="[FLEET]", help="Name of the fleet; all if none.", autocompletion=completed_fleets
    ),
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="Form of the output.")]
FormOption = Annotated[Form, typer.Option("-o", "--output", help="Form of the output.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is done, and tell how it goes on.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", help="Seconds to wait at most, with --wait.", min=1, max=86_400)
]


def _where(given: dict[str, Any]) -> Any:
    from wsfleet.plugin.session import Where

    # What the library has to say of a kubeconfig comes as an error, too.
    logging.getLogger("kubernetes").setLevel(logging.CRITICAL)
    return Where(
        namespace=given.get("namespace") or "",
        context=given.get("context"),
        kubeconfig=given.get("kubeconfig"),
        all_namespaces=bool(given.get("all_namespaces")),
    )


def asked(given: dict[str, Any], work: Callable[[Session], Awaitable[T]]) -> T:
    """Do `work` with a session for the options `given`; a failure ends the command with its exit code."""
    try:
        import rich  # noqa: F401  (what shows it comes with the same extra)

        from wsfleet.plugin.errors import PluginError
        from wsfleet.plugin.session import session
    except ModuleNotFoundError as error:
        fail(f"{error.name} is missing here: install wsfleet[operator], not wsfleet alone", 1, error)

    async def run() -> T:
        async with session(_where(given)) as one:
            return await work(one)

    try:
        return asyncio.run(run())
    except PluginError as error:
        fail(str(error), error.exit_code, error)


def fail(message: str, exit_code: int, cause: BaseException | None = None) -> NoReturn:
    """End the command with a line on stderr."""
    sys.stderr.write(f"wsfleet: {message}\n")
    raise typer.Exit(exit_code) from cause


def say(line: str) -> None:
    """A line for people, at once: what waits tells how it goes on."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """A line beside the output, which programs read."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def write_json(document: Any, *, line: bool = False) -> None:
    """JSON on standard output; `line` on one line, as a stream of objects has it."""
    text = json.dumps(document, allow_nan=False, indent=None if line else 2)
    say(text)
