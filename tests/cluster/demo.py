"""``make up``: from nothing to a fleet that runs; each step says what it does and how long it took."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import choice, lifecycle
from tests.cluster.client import Client
from tests.cluster.places import REPOSITORY, Places
from tests.cluster.shell import ClusterError, say

CHART = REPOSITORY / "helm/wsfleet"
SAMPLE = CHART / "samples/fleet.yaml"
RELEASE = "wsfleet"
SYSTEM_NAMESPACE = "wsfleet-system"
FLEET = "odin"
"""The name of the fleet in the sample."""
FLEET_NAMESPACE = "default"


@dataclass
class Demo:
    """What the steps hand on to each other."""

    places: Places
    environ: Mapping[str, str]
    found: Client | None = None

    @property
    def client(self) -> Client:
        if self.found is None:
            raise ClusterError("no cluster was chosen yet")
        return self.found


@dataclass(frozen=True)
class Step:
    """One thing to do; ``act`` returns what came of it, in a few words."""

    title: str
    act: Callable[[Demo], str]
    hint: str = ""
    """What to look at when it fails."""


def have_cluster(demo: Demo) -> str:
    if choice.kind(demo.environ) == "current":
        demo.found = choice.use_current(demo.environ)
        return "the kubeconfig's current context"
    started = lifecycle.up(demo.places)
    return f"{'started' if started else 'was running'} in {demo.places.state}"


def have_images(demo: Demo) -> str:
    if demo.found is None:
        demo.found = choice.local_client(demo.places)
    return ", ".join(demo.client.images.values())


def install(demo: Demo) -> str:
    images = demo.client.images
    values = {
        "operator.image": images["operator"],
        "node.image": images["wsnode"],
        "nats.enabled": "true",
        "nats.image": images["nats"],
    }
    settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    where = ("--namespace", SYSTEM_NAMESPACE, "--create-namespace")
    options = ["--wait", "--timeout", "120s"]
    if demo.client.places is not None:
        options.append("--take-ownership")  # tests may have applied the CRD to this cluster by hand
    demo.client.helm("upgrade", "--install", RELEASE, str(CHART), *where, *options, *settings)
    return f"release {RELEASE} in {SYSTEM_NAMESPACE}"


def apply_fleet(demo: Demo) -> str:
    demo.client.kubectl("apply", "--namespace", FLEET_NAMESPACE, "--filename", str(SAMPLE))
    return str(SAMPLE.relative_to(REPOSITORY))


def await_fleet(demo: Demo) -> str:
    ready = ("--for=condition=Ready", "--timeout=120s")
    demo.client.kubectl(
        "wait", f"wsfleet/{FLEET}", "--namespace", FLEET_NAMESPACE, *ready, timeout_seconds=130
    )
    return FLEET


STEPS: Sequence[Step] = (
    Step("a Kubernetes cluster", have_cluster, "`make down` clears all, then try again"),
    Step("the images of operator, node and NATS", have_images),
    Step("operator and NATS, by Helm", install, f"kubectl -n {SYSTEM_NAMESPACE} describe pods"),
    Step("the sample fleet, by kubectl apply", apply_fleet),
    Step("the fleet is Ready", await_fleet, f"kubectl describe wsf {FLEET}; kubectl get pods,events"),
)


def run(demo: Demo, steps: Sequence[Step] = STEPS) -> None:
    """Do the steps in order. Raises ClusterError that names the step that failed, and where to look."""
    for number, step in enumerate(steps, 1):
        name = f"step {number} of {len(steps)}, {step.title}"
        say(f"{name} …")
        start = time.monotonic()
        try:
            outcome = step.act(demo)
        except ClusterError as error:
            hint = f"\nto look into it: {step.hint}" if step.hint else ""
            raise ClusterError(f"{name}: {error}{hint}") from error
        say(f"{name}: {outcome} ({time.monotonic() - start:.1f} s)")


def main(places: Places) -> None:
    """What ``make up`` runs."""
    demo = Demo(places, os.environ)
    run(demo)
    programs = Path(demo.client.kubectl_path).parent
    print(f"\nTo go on by hand:\n  export KUBECONFIG={demo.client.kubeconfig} PATH={programs}:$PATH")
    print("  kubectl get wsf -w")
