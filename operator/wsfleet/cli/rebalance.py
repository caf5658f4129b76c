"""`wsfleet rebalance`: spread a fleet's connections over its nodes now."""

from __future__ import annotations

from collections.abc import Callable
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
    TimeoutOption,
    WaitOption,
    asked,
    note,
    say,
    write_json,
)

if TYPE_CHECKING:
    from wsfleet.plugin.progress import Progress
    from wsfleet.plugin.session import Session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="rebalance", epilog=EXIT_CODES)(rebalance)


def rebalance(
    fleet: Fleet,
    wait: WaitOption = False,
    timeout: TimeoutOption = 900,
    namespace: Namespace = "",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Spread the connections evenly, once, within the fleet's budget of closes."""
    tell = note if output is Form.JSON else say

    async def work(session: Session) -> Progress | None:
        import time

        from wsfleet.plugin.asks import ask_rebalance

        await ask_rebalance(session, fleet, time.time())
        tell(f"{fleet}: a rebalance is asked for")
        return await _watched(session, fleet, timeout, tell) if wait else None

    done = asked(dict(locals()), work)
    if output is Form.JSON:
        state = None if done is None else done.text
        write_json({"fleet": fleet, "asked": True, "done": done is not None, "state": state})
    elif done is None:
        say(
            "The operator steers new clients first and closes the rest at a pace; --wait tells how it goes on"
        )


async def _watched(
    session: Session, name: str, timeout_seconds: float, tell: Callable[[str], None]
) -> Progress:
    from wsfleet.plugin.look import look_at
    from wsfleet.plugin.progress import spreading
    from wsfleet.plugin.waiting import wait_until_done

    async def look() -> Progress:
        view = await look_at(session, name)
        return spreading(view.nodes or (), view.tolerance_percent, view.rebalance)

    # Twice: a single look may fall between a node's drain and what follows it.
    return await wait_until_done(look, tell, timeout_seconds, steady_looks=2)
