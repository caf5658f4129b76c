"""`wsfleet operator`: run the operator, in a pod or from outside a cluster."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="operator")(operator)


def operator(
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Look after fleets of this namespace only; can be given more than once."),
    ] = None,
    node_image: Annotated[
        str | None, typer.Option(help="Image of fleets that name none (WSFLEET_NODE_IMAGE).")
    ] = None,
    kubeconfig: Annotated[
        str | None, typer.Option(help="Run from outside a cluster, with this kubeconfig.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    liveness: Annotated[
        str | None, typer.Option(help="Address of the liveness endpoint (WSFLEET_LIVENESS).")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics, 0 for none.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or text (WSFLEET_LOG_FORMAT).")] = None,
    log_level: Annotated[str | None, typer.Option(help="Least level logged (WSFLEET_LOG_LEVEL).")] = None,
) -> None:
    """Run the operator until it is stopped; settings also come from variables WSFLEET_*."""
    # In a container this is process 1, to which the kernel gives no signal that has no handler; and what
    # follows takes seconds. Once it has begun to look at anything, it has handlers of its own.
    signal.signal(signal.SIGTERM, _end_at_once)
    import asyncio

    from wsfleet.app import Operator
    from wsfleet.handlers import run
    from wsfleet.kube.login import Login, LoginError
    from wsfleet.logs import configure_logging
    from wsfleet.options import OperatorOptions, OptionsError
    from wsfleet.scrape import raise_descriptor_limit

    login = Login(kubeconfig=kubeconfig, context=context)
    # Pod addresses are seldom reachable from outside; where they are, the variable says so.
    via_proxy = None if login.inside or "WSFLEET_ADMIN_VIA_PROXY" in os.environ else True
    try:
        options = OperatorOptions.from_env(
            os.environ,
            namespaces=tuple(namespace or ()),
            node_image=node_image,
            liveness=liveness,
            metrics_port=metrics_port,
            log_format=log_format,
            log_level=log_level,
            admin_via_proxy=via_proxy,
        )
    except OptionsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(2) from error
    configure_logging(options.log_level, options.log_format)
    raise_descriptor_limit()
    try:
        asyncio.run(login.configuration())
    except LoginError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    working = run(Operator(options, login))
    try:
        import uvloop
    except ImportError:
        asyncio.run(working)
    else:
        uvloop.run(working)  # of ten thousand answers in five seconds it makes half the work


def _end_at_once(_signal: int, _frame: FrameType | None) -> None:
    """Told to stop before anything has begun."""
    os._exit(0)
