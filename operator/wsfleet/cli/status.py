"""`wsfleet status`: a running fleet with its nodes, or all fleets in short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from wsfleet.cli.cluster_options import (
    EXIT_CODES,
    AllNamespaces,
    Context,
    Kubeconfig,
    MaybeFleet,
    Namespace,
    Output,
    OutputOption,
    asked,
    write_json,
)

if TYPE_CHECKING:
    from wsfleet.plugin.session import Session
    from wsfleet.plugin.view import FleetView


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="status", epilog=EXIT_CODES)(status)


def status(
    fleet: MaybeFleet = None,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a fleet: phase, nodes, connections, conditions, what holds it, and each node's own figures."""
    given = dict(locals())
    if fleet is None:
        _show_all(asked(given, _views), given)
        return
    if all_namespaces:
        raise typer.BadParameter("-A goes without the name of a fleet")

    async def one(session: Session) -> FleetView:
        from wsfleet.plugin.look import look_at

        return await look_at(session, fleet)

    _show(asked(given, one), output)


async def _views(session: Session) -> list[FleetView]:
    from wsfleet.plugin.look import views_of_all

    return await views_of_all(session)


def _show(view: FleetView, output: Output) -> None:
    if output is Output.JSON:
        write_json(view.to_dict())
        return
    from wsfleet.cli.render_status import status_parts
    from wsfleet.cli.screen import show

    wide = output is Output.WIDE
    show(lambda width: status_parts(view, width, wide=wide), wide=wide)


def _show_all(views: list[FleetView], given: dict[str, Any]) -> None:
    if given["output"] is Output.JSON:
        write_json({"fleets": [view.to_dict() for view in views]})
        return
    from wsfleet.cli.cluster_options import note
    from wsfleet.cli.render_status import fleets_table
    from wsfleet.cli.screen import show

    if not views:
        note("no fleets" + ("" if given["all_namespaces"] else " here; -A looks in all namespaces"))
        return
    show(lambda _: [fleets_table(views, namespaces=given["all_namespaces"])])
