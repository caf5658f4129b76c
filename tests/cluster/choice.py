"""Which cluster to use: ``CLUSTER=local`` (the default) or ``CLUSTER=current``, the kubeconfig's context.

The latter may be someone's production, so it is never chosen by itself: it is named, and must be confirmed,
by hand or (for programs) with ``CONFIRM_CONTEXT=<its name>``.
"""

from __future__ import annotations

import atexit
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
    """A client of the kubeconfig's current context, once it is confirmed and its images are named."""
    kubectl, helm = _programs(environ)
    chosen = pullable_images(environ)
    name = _ask(kubectl, "config", "current-context").strip()
    path = "jsonpath={.clusters[0].cluster.server}"
    server = _ask(kubectl, "config", "view", "--minify", "-o", path).strip()
    context = Context(name, server)
    confirm(context, environ, input if sys.stdin.isatty() else None)
    # A copy with this one context: a switch in another terminal must not lead the rest of the run elsewhere.
    folder = Path(tempfile.mkdtemp(prefix="wsfleet-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # it holds credentials
    copy = folder / "kubeconfig"
    copy.touch(mode=0o600)
    copy.write_text(_ask(kubectl, "config", "view", "--minify", "--flatten"))
    return Client(copy, kubectl, helm, chosen)


def confirm(context: Context, environ: Mapping[str, str], ask: Callable[[str], str] | None) -> None:
    """Have the context confirmed. Raises ClusterError if not; ``ask`` is None where nobody can answer."""
    named = f"the context {context.name} (server {context.server})"
    given = environ.get("CONFIRM_CONTEXT")
    if given == context.name:
        say(f"using {named}, confirmed by CONFIRM_CONTEXT")
        return
    if given:
        raise ClusterError(f"CONFIRM_CONTEXT={given}, but the kubeconfig leads to {named}")
    if ask is None:
        raise ClusterError(
            f"CLUSTER=current would use {named}; confirm it with CONFIRM_CONTEXT={context.name}"
        )
    if ask(f"This will install into {named}.\nType the context's name to go on: ").strip() != context.name:
        raise ClusterError("not confirmed: nothing was done")


def pullable_images(environ: Mapping[str, str]) -> dict[str, str]:
    """The images that a foreign cluster can pull. Raises ClusterError that names what is not set."""
    variables = {name: f"IMAGE_{name.upper()}" for name in images.NAMES}
    missing = [variable for variable in variables.values() if not environ.get(variable)]
    if missing:
        raise ClusterError(
            f"CLUSTER=current needs images that the cluster can pull; not set: {', '.join(missing)}. "
            "Build them with the Dockerfile (or `make images`), push them, and name them in these variables"
        )
    return {name: environ[variable] for name, variable in variables.items()}


def _programs(environ: Mapping[str, str]) -> tuple[str, str]:
    """kubectl and helm. Raises ClusterError that names all that lacks, the images too."""
    found = {name: shutil.which(name) for name in ("kubectl", "helm")}
    lacking = [f"{name} on PATH" for name, path in found.items() if not path]
    if lacking:
        try:
            pullable_images(environ)
        except ClusterError as error:
            lacking.append(str(error).removeprefix("CLUSTER=current needs "))
        raise ClusterError(f"CLUSTER=current needs {', '.join(lacking)}")
    return found["kubectl"] or "", found["helm"] or ""


def _ask(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout
