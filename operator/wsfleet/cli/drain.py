"""`wsfleet drain`: have one node of a fleet replaced, its clients led away at the fleet's pace."""

from __future__ import annotations

from collections.abc import Callable
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
    TimeoutOption,
    WaitOption,
    asked,
    completed_pods,
    note,
    say,
    write_json,
)

if TYPE_CHECKING:
    from wsfleet.kube.kinds import Object
    from wsfleet.plugin.progress import Progress
    from wsfleet.plugin.session import Session

Pod = Annotated[str, typer.Argument(metavar="POD", help="Name of the pod.", autocompletion=completed_pods)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="drain", epilog=EXIT_CODES)(drain)


def drain(
    fleet: Fleet,
    pod: Pod,
    wait: WaitOption = False,
    timeout: TimeoutOption = 900,
    namespace: Namespace = "",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Replace one node: a new one is ready first, then its clients are led away, then its pod goes."""
    tell = note if output is Form.JSON else say

    async def work(session: Session) -> Progress | None:
        import time

        from wsfleet.plugin.asks import ask_replace

        found, asked_for = await ask_replace(session, fleet, pod, time.time())
        tell(f"{pod}: its replacement is asked for")
        return await _watched(session, found, asked_for, timeout, tell) if wait else None

    done = asked(dict(locals()), work)
    if output is Form.JSON:
        state = None if done is None else done.text
        write_json({"fleet": fleet, "pod": pod, "asked": True, "done": done is not None, "state": state})
    elif done is None:
        say("The operator brings up another node first; --wait tells how it goes on, as does status")


async def _watched(
    session: Session, fleet: Object, pod: Object, timeout_seconds: float, tell: Callable[[str], None]
) -> Progress:
    import time

    from wsfleet.kube.kinds import name_of
    from wsfleet.plugin.nodes import nodes_from
    from wsfleet.plugin.progress import replacing
    from wsfleet.plugin.read import fleet_named, nodes_of
    from wsfleet.plugin.reading import whole
    from wsfleet.plugin.waiting import wait_until_done

    async def look() -> Progress:
        now = await fleet_named(session, name_of(fleet))
        pods, answers = await nodes_of(session, now)
        nodes = nodes_from(pods, answers, time.time())
        return replacing(nodes, pod["metadata"]["uid"], name_of(pod), whole(now, "status", "desiredReplicas"))

    return await wait_until_done(look, tell, timeout_seconds)
