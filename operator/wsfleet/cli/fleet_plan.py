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
    from wsfleet.kube.kinds import Object
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
    """Show the plan of a fleet by the sizing rules, and its size under the seed's costs and its own."""

    async def work(session: Session) -> tuple[Object, Plan]:
        from wsfleet.plugin.planning import plan_of
        from wsfleet.plugin.read import fleet_named

        found = await fleet_named(session, fleet)
        return found, plan_of(found)

    found, plan = asked(dict(locals()), work)
    from wsfleet.cli.plan_fleet import made_from, render_fleet_plan

    compared = made_from(found)
    if output is Form.JSON:
        write_json({"plan": plan.to_dict(), "costs": compared.to_dict()})
        return
    from wsfleet.cli.render import render_plan

    render_plan(plan)
    render_fleet_plan(compared)
