"""`wsfleet explain`: why a fleet has the size it has, from its last decisions with their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wsfleet.cli.cluster_options import (
    EXIT_CODES,
    Context,
    Fleet,
    Form,
    FormOption,
    Kubeconfig,
    Namespace,
    asked,
    write_json,
)

if TYPE_CHECKING:
    from wsfleet.plugin.session import Session
    from wsfleet.plugin.view import FleetView


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="explain", epilog=EXIT_CODES)(explain)


def explain(
    fleet: Fleet,
    namespace: Namespace = "",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    last: Annotated[int, typer.Option("--last", help="Decisions to show, newest first.", min=1, max=10)] = 5,
    output: FormOption = Form.TABLE,
) -> None:
    """Say in sentences why a fleet has its size: what holds it, and the last decisions with their figures."""

    async def work(session: Session) -> FleetView:
        import time

        from wsfleet.plugin.read import fleet_named
        from wsfleet.plugin.view import view_of

        return view_of(await fleet_named(session, fleet), None, time.time())

    view = asked(dict(locals()), work)
    from wsfleet.plugin.sentences import decision_sentences, size_sentences

    shown = view.decisions[:last]
    if output is Form.JSON:
        decisions = [{**one.to_dict(), "sentences": decision_sentences(one)} for one in shown]
        document = {"name": view.name, "namespace": view.namespace, "desired": view.desired}
        write_json(
            {**document, "now": size_sentences(view), "holds": list(view.holds), "decisions": decisions}
        )
        return
    from wsfleet.cli.render_explain import explain_parts
    from wsfleet.cli.screen import show

    show(lambda _: explain_parts(view, shown))
