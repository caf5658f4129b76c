"""Traffic for the sample fleet: a publisher and clients as pods of the node's own image, and a view of them.

Pods, not processes of this machine: so it is the same on a cluster of the user's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.cluster.client import Client
from tests.cluster.liveview import FLEET_LABEL, View, line, picture, view_of
from tests.cluster.shell import ClusterError, say

PUBLISHER, CLIENTS = "odin-publisher", "odin-clients"
CONNECTIONS = 8100
"""A hundred above the 8,000 at which one e2-small is called 80 % full, so that the fleet grows."""
CONNECTIONS_PER_SECOND = 300
"""Handshakes are the dearest thing a node does; nodes, clients and broker may share two cores here."""
CHANNELS = 10
MESSAGES_PER_SECOND = 10
VIEW_SECONDS = 180
"""The view ends by itself then, whatever was reached."""
STEADY_SECONDS = 20
"""How long the grown fleet is shown."""


def _deployment(name: str, image: str, arguments: list[str], cpu: str, memory: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "wsfleet-demo"}
    container = {
        "name": "traffic",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["wsnode", *arguments],
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "containers": [container],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 2,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def objects(image: str, fleet: str, namespace: str, nats_url: str) -> list[dict[str, Any]]:
    """The publisher and the clients of a fleet, as Deployments."""
    from wsnode.publish import sample_channels  # here, since `make down` runs without the environment

    publish = ["pub", "--url", nats_url, "--rate", str(MESSAGES_PER_SECOND), "--channels", str(CHANNELS)]
    load = ["load", f"ws://{fleet}.{namespace}/ws", "--connections", str(CONNECTIONS)]
    load += [
        "--rate",
        str(CONNECTIONS_PER_SECOND),
        "--channels",
        ",".join(sample_channels(CHANNELS)),
        "--check",
    ]
    return [
        _deployment(PUBLISHER, image, publish, "20m", "96Mi"),
        _deployment(CLIENTS, image, load, "100m", "256Mi"),
    ]


def look(client: Client, fleet: str, namespace: str) -> View:
    """The fleet as it is now, and the last line that the clients printed."""
    where = ("--namespace", namespace)
    found = client.kubectl_json("get", "wsfleet", fleet, *where)
    pods = client.kubectl_json("get", "pods", *where, "--selector", f"{FLEET_LABEL}={fleet}")["items"]
    said = client.kubectl("logs", f"deployment/{CLIENTS}", *where, "--tail=1", check=False)
    return view_of(found, pods, said)


def watch(client: Client, fleet: str, namespace: str) -> str:
    """Show the fleet until it has grown and stood for a while; what was reached, in a few words.

    Ctrl-C ends the view, not the fleet.
    """
    glance: Callable[[], View] = lambda: look(client, fleet, namespace)  # noqa: E731
    try:
        seen = _on_terminal(fleet, glance) if sys.stdout.isatty() else _in_lines(glance)
    except KeyboardInterrupt:
        return "left by Ctrl-C; the fleet goes on"
    if not _grown(seen):
        return (
            f"still {seen.ready} node(s) ready after {VIEW_SECONDS} s: kubectl describe wsf {fleet} says why"
        )
    return f"{seen.ready} nodes ready, {seen.connections:,} connections"


def _grown(view: View) -> bool:
    return view.ready >= 2 and view.connections >= CONNECTIONS


def _views(glance: Callable[[], View], steady_seconds: float = STEADY_SECONDS) -> Iterator[View]:
    """Views, one a second, until the fleet has been grown for a while or the time is up."""
    started, grown_at = time.monotonic(), None
    while (now := time.monotonic()) - started < VIEW_SECONDS:
        try:
            view = glance()
        except ClusterError as error:
            say(f"no answer: {error}")
            time.sleep(1)
            continue
        yield view
        if grown_at is None and _grown(view):
            grown_at = now
        if grown_at is not None and now - grown_at >= steady_seconds:
            return
        time.sleep(1)


def _on_terminal(fleet: str, glance: Callable[[], View]) -> View:
    from rich.live import Live

    view = glance()
    with Live(picture(fleet, view), refresh_per_second=2) as live:
        for view in _views(glance):
            live.update(picture(fleet, view))
    return view


def _in_lines(glance: Callable[[], View]) -> View:
    view, told = glance(), None
    # Of a fleet that has grown before there is no more to tell than one line.
    steady_seconds = 0.0 if _grown(view) else STEADY_SECONDS
    for view in _views(glance, steady_seconds):
        if view.key != told:
            say(line(view))
            told = view.key
    return view
