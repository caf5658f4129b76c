"""Which cluster to use: ``CLUSTER=local`` (the default) or ``CLUSTER=current``, the kubeconfig's context.

The latter may be someone's production, so it is never chosen by itself: it is named, and must be confirmed,
by hand or (for programs) with ``CONFIRM_CONTEXT=<its name>``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import build, images, lifecycle
from tests.cluster.client import Client
from tests.cluster.places import Places
from tests.cluster.shell import ClusterError, say

KINDS = ("local", "current")


@dataclass(frozen=True)
class Context:
    """A context of a kubeconfig and the server that it leads to."""

    name: str
    server: str

    def __str__(self) -> str:
        return f"the context {self.name} (server {self.server})"


def kind(environ: Mapping[str, str]) -> str:
    """``local`` or ``current``. Raises ClusterError for anything else."""
    chosen = environ.get("CLUSTER") or "local"
    if chosen not in KINDS:
        raise ClusterError(f"CLUSTER={chosen}: allowed are {' and '.join(KINDS)}")
    return chosen


def use(places: Places, environ: Mapping[str, str] = os.environ) -> tuple[Client, bool]:
    """A client of the chosen cluster with the images in place, and whether the cluster was started for it."""
    if kind(environ) == "current":
        return use_current(environ), False
    started = lifecycle.up(places)
    return local_client(places), started


def local_client(places: Places) -> Client:
    """Build the images, load what the nodes lack, and speak to the local cluster, which must run."""
    built = images.build_images(places.cache)
    lifecycle.load(places, built)
    programs = build.folder(places.cache)
    pinned = {one.name: one.pinned for one in built}
    return Client(places.kubeconfig, str(programs / "kubectl"), str(programs / "helm"), pinned, places)


def use_current(environ: Mapping[str, str]) -> Client:
    """A client of the kubeconfig's current context, once all that it takes is there and it is confirmed.

    Raises ClusterError with the context and everything that is missing, at once.
    """
    programs = {name: shutil.which(name) or "" for name in ("kubectl", "helm")}
    ask = input if sys.stdin.isatty() else None
    context, lacking = None, [f"{name} on PATH" for name, path in programs.items() if not path]
    if programs["kubectl"]:
        try:
            context = current_context(programs["kubectl"])
        except ClusterError as error:
            lacking.insert(0, f"a kubeconfig with a current context: {error}")
    lacking += missing(context, environ, ask is not None)
    if lacking:
        would = f"would use {context}, and needs" if context else "needs"
        raise ClusterError(f"CLUSTER=current {would}:\n" + "\n".join(f"  - {one}" for one in lacking))
    assert context is not None
    confirm(context, environ, ask)
    say(f"using {context}")
    # A copy with this one context: a switch in another terminal must not lead the rest of the run elsewhere.
    copy = Path(tempfile.mkdtemp(prefix="wsfleet-")) / "kubeconfig"
    copy.touch(mode=0o600)
    copy.write_text(_ask(programs["kubectl"], "config", "view", "--minify", "--flatten"))
    return Client(copy, programs["kubectl"], programs["helm"], pullable_images(environ))


def current_context(kubectl: str) -> Context:
    """The kubeconfig's current context. Raises ClusterError where there is none."""
    name = _ask(kubectl, "config", "current-context").strip()
    path = "jsonpath={.clusters[0].cluster.server}"
    return Context(name, _ask(kubectl, "config", "view", "--minify", "-o", path).strip())


def missing(context: Context | None, environ: Mapping[str, str], can_ask: bool) -> list[str]:
    """What has to be set before a context is used: images, and a word that it is the right one."""
    lacking = []
    try:
        pullable_images(environ)
    except ClusterError as error:
        lacking.append(str(error))
    if context is not None:
        try:
            confirm(context, environ, (lambda _: context.name) if can_ask else None)
        except ClusterError as error:
            lacking.append(str(error))
    return lacking


def confirm(context: Context, environ: Mapping[str, str], ask: Callable[[str], str] | None) -> None:
    """Have the context confirmed. Raises ClusterError if not; ``ask`` is None where nobody can answer."""
    given = environ.get("CONFIRM_CONTEXT")
    if given == context.name:
        return
    if given:
        raise ClusterError(f"CONFIRM_CONTEXT={given}, but the kubeconfig leads to {context}")
    if ask is None:
        raise ClusterError(f"nobody to ask whether {context} is meant: set CONFIRM_CONTEXT={context.name}")
    if ask(f"This will install into {context}.\nType the context's name to go on: ").strip() != context.name:
        raise ClusterError("not confirmed: nothing was done")


def pullable_images(environ: Mapping[str, str]) -> dict[str, str]:
    """The images that a foreign cluster can pull. Raises ClusterError that names what is not set."""
    variables = {name: f"IMAGE_{name.upper()}" for name in images.NAMES}
    unset = [variable for variable in variables.values() if not environ.get(variable)]
    if unset:
        raise ClusterError(
            f"images that the cluster can pull; not set: {', '.join(unset)}. "
            "Build them with the Dockerfile (or `make images`), push them, and name them in these variables"
        )
    return {name: environ[variable] for name, variable in variables.items()}


def _ask(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout
