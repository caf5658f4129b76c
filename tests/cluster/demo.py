"""``make up``: from nothing to a fleet that runs; each step says what it does and how long it took."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import choice, lifecycle, traffic
from tests.cluster.client import Client
from tests.cluster.places import REPOSITORY, Places
from tests.cluster.release import CHART, NATS_URL, RELEASE, SYSTEM_NAMESPACE, install_chart
from tests.cluster.shell import ClusterError, say

SAMPLE = CHART / "samples/fleet.yaml"
FLEET = "odin"
"""The name of the fleet in the sample."""
FLEET_NAMESPACE = "default"
PLUGIN_FOLDER = Path(sys.executable).parent
"""Where kubectl-wsfleet is: with the Python that runs this."""
REMOVAL = (
    f"kubectl delete --namespace {FLEET_NAMESPACE} wsf/{FLEET} deployment/{traffic.CLIENTS} "
    f"deployment/{traffic.PUBLISHER} && helm uninstall {RELEASE} --namespace {SYSTEM_NAMESPACE}"
)
"""What takes the demo out of a cluster of the user's own."""


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
    install_chart(demo.client)
    return f"release {RELEASE} in {SYSTEM_NAMESPACE}"


def apply_fleet(demo: Demo) -> str:
    where = ("--namespace", FLEET_NAMESPACE)
    demo.client.kubectl("apply", *where, "--filename", str(SAMPLE))
    pinned = demo.client.kubectl_json("get", "wsfleet", FLEET, *where).get("status", {}).get("image")
    image = demo.client.images["wsnode"]
    if pinned and pinned != image:
        # A fleet stays on its image until it is asked to move: a new operator alone rolls nobody.
        asked = f"wsfleet.io/restartedAt={image.rpartition(':')[2]}"
        demo.client.kubectl("annotate", "wsfleet", FLEET, *where, asked, "--overwrite")
        return f"{SAMPLE.relative_to(REPOSITORY)}, and a rollout from {pinned} to the image of this tree"
    return str(SAMPLE.relative_to(REPOSITORY))


def await_fleet(demo: Demo) -> str:
    ready = ("--for=condition=Ready", "--timeout=120s")
    demo.client.kubectl(
        "wait", f"wsfleet/{FLEET}", "--namespace", FLEET_NAMESPACE, *ready, timeout_seconds=130
    )
    return FLEET


def start_traffic(demo: Demo) -> str:
    made = traffic.objects(demo.client.images["wsnode"], FLEET, FLEET_NAMESPACE, NATS_URL)
    demo.client.apply(*made, namespace=FLEET_NAMESPACE)
    return f"{traffic.MESSAGES_PER_SECOND} messages a second to {traffic.CONNECTIONS:,} clients, as they come"


def watch(demo: Demo) -> str:
    return traffic.watch(demo.client, FLEET, FLEET_NAMESPACE)


STEPS: Sequence[Step] = (
    Step("a Kubernetes cluster", have_cluster),
    Step("the images of operator, node and NATS", have_images),
    Step("operator and NATS, by Helm", install, f"kubectl -n {SYSTEM_NAMESPACE} describe pods"),
    Step("the sample fleet, by kubectl apply", apply_fleet),
    Step("the fleet is Ready", await_fleet, f"kubectl describe wsf {FLEET}; kubectl get pods,events"),
    Step("a publisher and clients", start_traffic),
    Step("the fleet grows, since more than 8,000 clients come", watch, "kubectl get pods,events"),
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
    print(farewell(demo))


def farewell(demo: Demo) -> str:
    """What to try next, in lines to copy."""
    local = demo.client.places is not None
    programs = Path(demo.client.kubectl_path).parent
    settings = '{"spec":{"overrides":{"maxConnections":12000}}}'
    tries = [
        ("the fleet, as it changes", "kubectl get wsf -w"),
        ("its nodes, live", f"kubectl wsfleet top {FLEET}"),
        (
            "its state in full, and why it has this size",
            f"kubectl wsfleet status {FLEET}; kubectl wsfleet explain {FLEET}",
        ),
        ("what the clients see", f"kubectl logs -f deployment/{traffic.CLIENTS}"),
        (
            "a limit changed live: no client is closed",
            f"kubectl patch wsf {FLEET} --type=merge -p '{settings}'",
        ),
        (
            "all leave at once: the fleet keeps its size for half an hour, as after an outage "
            f"(kubectl wsfleet explain {FLEET})",
            f"kubectl scale deployment/{traffic.CLIENTS} --replicas=0",
        ),
        (
            "one node replaced: another first, then its clients led away",
            f"kubectl wsfleet drain {FLEET} $(kubectl get pods -l wsfleet.io/fleet={FLEET} "
            "-o jsonpath={.items[0].metadata.name}) --wait",
        ),
        ("a size for your own load", ".venv/bin/wsfleet plan --instance e2-standard-2 --users 100000"),
    ]
    # At the end of PATH: kubectl finds its plugin there, and nothing else of the environment hides yours.
    plugin = f"PATH={programs}:$PATH:{PLUGIN_FOLDER}" if local else f"PATH=$PATH:{PLUGIN_FOLDER}"
    if local:
        by_hand = f"export KUBECONFIG={demo.client.kubeconfig} {plugin}"
        tries.insert(0, ("by hand from here on", by_hand))
        # Asked for when it is run: a Service that is made again has another address.
        address = f"$(kubectl get service {FLEET} -o jsonpath={{.spec.clusterIP}})"
        tries.insert(4, ("a channel, live", f".venv/bin/wsnode tail ws://{address}/ws BTC.trade"))
        tries.append(("the end: all of it removed", "make down"))
    else:
        tries.insert(0, ("kubectl wsfleet, from here on", f"export {plugin}"))
        tries.append(("the end: all of it removed", REMOVAL))
    return "\nTo try next:\n" + "\n".join(f"  # {what}\n  {command}" for what, command in tries)
