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
    say,
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
    import time

    from wsfleet.plugin.reasons import decision_reason, size_reasons

    now = time.time()
    reasons = size_reasons(view, last, now)
    if output is Form.JSON:
        decisions = [
            {**one.to_dict(), "sentence": decision_reason(one, now)} for one in view.decisions[:last]
        ]
        document = {"name": view.name, "namespace": view.namespace, "desired": view.desired}
        write_json({**document, "reasons": list(reasons), "holds": list(view.holds), "decisions": decisions})
        return
    say(f"{view.name}  namespace {view.namespace}")
    for line in reasons:
        say(line)
