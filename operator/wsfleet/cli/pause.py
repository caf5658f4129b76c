"""`wsfleet pause` and `wsfleet resume`: hold a fleet's size, and let it follow its load again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    from collections.abc import Callable

    from wsfleet.kube.kinds import Object
    from wsfleet.plugin.session import Session

ScaleIn = Annotated[bool, typer.Option("--scale-in", help="Only the removal of nodes.")]
ScaleOut = Annotated[bool, typer.Option("--scale-out", help="Only the adding of nodes.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="pause", epilog=EXIT_CODES)(pause)
    app.command(name="resume", epilog=EXIT_CODES)(resume)


def pause(
    fleet: Fleet,
    scale_in: ScaleIn = False,
    scale_out: ScaleOut = False,
    namespace: Namespace = "",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Hold a fleet's size: decisions go on being made and shown, and are not carried out."""
    given = dict(locals())

    async def work(session: Session) -> Object:
        from wsfleet.plugin import asks

        return await asks.pause(session, fleet, _marks(scale_in, scale_out, alone="all"))

    _tell(asked(given, work), output, _paused)


def resume(
    fleet: Fleet,
    scale_in: ScaleIn = False,
    scale_out: ScaleOut = False,
    namespace: Namespace = "",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Let a fleet follow its load again: take away all pauses set by annotation, or the ones named."""
    given = dict(locals())

    async def work(session: Session) -> Object:
        from wsfleet.plugin import asks

        return await asks.resume(session, fleet, _marks(scale_in, scale_out, alone="every"))

    _tell(asked(given, work), output, _resumed)


def _marks(scale_in: bool, scale_out: bool, alone: str) -> list[str]:
    """The annotations that are meant; without an option the one of all scaling, or every one there is."""
    from wsfleet.resources import names

    named = [names.PAUSED_SCALE_IN_ANNOTATION] * scale_in + [names.PAUSED_SCALE_OUT_ANNOTATION] * scale_out
    if named:
        return named
    every = [names.PAUSED_SCALE_IN_ANNOTATION, names.PAUSED_SCALE_OUT_ANNOTATION]
    return [names.PAUSED_ANNOTATION, *(every if alone == "every" else ())]


def _tell(fleet: Object, output: Form, lines: Callable[[Any, str], list[str]]) -> None:
    from wsfleet.plugin.holding import Pauses

    metadata, pauses = fleet["metadata"], Pauses.of(fleet)
    if output is Form.JSON:
        document = {"name": metadata["name"], "namespace": metadata["namespace"]}
        write_json({**document, "paused": pauses.to_dict()})
        return
    for line in lines(pauses, metadata["name"]):
        say(line)


def _paused(pauses: Any, name: str) -> list[str]:
    goes_on = {
        (True, False): "Scale-out goes on",
        (False, True): "Scale-in goes on",
    }.get((pauses.scale_in, pauses.scale_out))
    whole = pauses.scaling or pauses.by_spec or goes_on is None
    lines = [f"{name}: {sentence}" for sentence in pauses.sentences()]
    lines.append(
        ("" if whole else f"{goes_on}. ")
        + "Decisions go on being made and shown (status, explain); rollouts and replacements are not held. "
        f"kubectl wsfleet resume {name} ends it"
    )
    return lines


def _resumed(pauses: Any, name: str) -> list[str]:
    if not pauses.any:
        return [f"{name}: nothing is paused; its size follows its load"]
    lines = [f"{name}: still, {sentence}" for sentence in pauses.sentences()]
    if pauses.by_spec:
        lines.append(
            "The spec is yours, and is not written from here: kubectl patch wsfleet "
            f'{name} --type=merge -p \'{{"spec":{{"autoscaling":{{"paused":false}}}}}}\''
        )
    return lines
