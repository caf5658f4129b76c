"""`wsfleet top`: a fleet's nodes, or all fleets, live."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsfleet.cli.cluster_options import (
    EXIT_CODES,
    AllNamespaces,
    Context,
    Form,
    FormOption,
    Kubeconfig,
    MaybeFleet,
    Namespace,
    asked,
    note,
    say,
    write_json,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from wsfleet.plugin.session import Session
    from wsfleet.plugin.view import FleetView


class Sort(StrEnum):
    """What comes first."""

    CONNECTIONS = "connections"
    CPU = "cpu"
    AGE = "age"
    NAME = "name"


Every = Annotated[float, typer.Option("--every", help="Seconds between refreshes.", min=0.5, max=3600)]
Views = list["FleetView"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="top", epilog=EXIT_CODES)(top)


def top(
    fleet: MaybeFleet = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    every: Every = 2.0,
    sort: Annotated[Sort, typer.Option("--sort", help="What comes first.")] = Sort.CONNECTIONS,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Show the nodes of a fleet as they change, or all fleets; as JSON one object a refresh."""
    given = dict(locals())
    if fleet is not None and all_namespaces:
        raise typer.BadParameter("-A goes without the name of a fleet")

    async def work(session: Session) -> None:
        await _run(_look(session, fleet), Shown(given, fleet is None), once, every)

    try:
        asked(given, work)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _look(session: Session, fleet: str | None) -> Callable[[], Awaitable[Views]]:
    async def look() -> Views:
        from wsfleet.plugin.look import look_at, views_of_all

        return await views_of_all(session) if fleet is None else [await look_at(session, fleet)]

    return look


class Shown:
    """How a refresh is shown: in place on a terminal, else one below the other."""

    def __init__(self, given: dict[str, Any], many: bool) -> None:
        self._namespaces: bool = given["all_namespaces"]
        self._order = str(given["sort"])
        self._as_json = given["output"] is Form.JSON
        self._many = many
        self._live: Live | None = None
        if not self._as_json and not given["once"] and sys.stdout.isatty():
            from rich.live import Live

            from wsfleet.cli.screen import terminal

            self._live = Live(console=terminal(), auto_refresh=False, screen=True)
        self._refreshed = False

    def __enter__(self) -> Shown:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self, views: Views) -> None:
        """Show what was seen just now."""
        from wsfleet.plugin.sorting import sorted_fleets, sorted_nodes

        found = sorted_fleets(views, self._order) if self._many else [sorted_nodes(views[0], self._order)]
        if self._as_json:
            time = datetime.now().astimezone().isoformat(timespec="seconds")
            shown = {"fleets": [one.to_dict() for one in found]} if self._many else found[0].to_dict()
            write_json({"time": time, **shown}, line=True)
        elif self._live is not None:
            from rich.console import Group

            self._live.update(Group(*self._parts(found, self._live.console.width)), refresh=True)
        else:
            self._below(found)

    def trouble(self, message: str) -> None:
        """The API server did not answer: what was seen stays, and the next refresh may work again."""
        if self._live is None:
            note(f"wsfleet: {message}")
            return
        from rich.console import Group
        from rich.text import Text

        self._live.update(Group(self._live.renderable, Text(f"! {message}", style="yellow")), refresh=True)

    def _below(self, views: Views) -> None:
        from wsfleet.cli.screen import show

        if self._refreshed:
            say("")
        self._refreshed = True
        show(lambda width: self._parts(views, width))

    def _parts(self, views: Views, width: int | None) -> list[RenderableType]:
        from wsfleet.cli.render_top import fleets_parts, nodes_parts

        clock = datetime.now().strftime("%H:%M:%S")
        if self._many:
            return list(fleets_parts(views, clock, namespaces=self._namespaces))
        return list(nodes_parts(views[0], clock, width))


async def _run(look: Callable[[], Awaitable[Views]], shown: Shown, once: bool, every: float) -> None:
    """Refresh until interrupted; only the first look may fail by an API server that does not answer."""
    from wsfleet.kube.errors import UnavailableError

    views = await look()
    with shown:
        shown.refresh(views)
        while not once:
            await asyncio.sleep(every)
            try:
                shown.refresh(await look())
            except UnavailableError as exc:
                shown.trouble(f"no answer from the API server: {exc.message}")
