"""`kubectl wsfleet plan FLEET`: the plan of a running fleet, by the same rules as `wsfleet plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from wsfleet.sizing import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="plan", epilog=EXIT_CODES)(fleet_plan)


def fleet_plan(
    fleet: Fleet,
    namespace: Namespace = "",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Show the plan that the sizing rules make of a fleet's spec: settings, projections, cost, notes."""

    async def work(session: Session) -> Plan:
        from wsfleet.plugin.planning import plan_of
        from wsfleet.plugin.read import fleet_named

        return plan_of(await fleet_named(session, fleet))

    made = asked(dict(locals()), work)
    if output is Form.JSON:
        write_json(made.to_dict())
        return
    from wsfleet.cli.render import render_plan

    render_plan(made)
