"""One node as a person sees it: its pod, what it says of itself, and the state in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from wsfleet.kube.errors import ForbiddenError
from wsfleet.kube.kinds import Object
from wsfleet.plugin.read import Answers
from wsfleet.plugin.reading import at, items, mapping, text
from wsfleet.resources import names
from wsfleet.scaling.samples import DrainState
from wsfleet.scaling.words import counted
from wsfleet.scrape import NodeFigures, ScrapeError
from wsfleet.status import epoch_seconds

# While a container waits for one of these, it is on its way.
_NORMAL_WAITS = ("ContainerCreating", "PodInitializing")
NOT_ALLOWED = "you may not get pods/proxy"
"""The silence of a node that the user may not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A pod of the fleet. A figure that its node did not tell is None, and `silence` says why."""

    uid: str
    pod: str
    shape: str | None
    machine: str | None
    state: str
    """In words: serving, draining (120 left), starting, …"""
    ready: bool
    serving: bool
    """Whether the Service sends new clients to it, by its label."""
    leaving: bool
    """Whether it is on its way out: terminating, draining or chosen to go."""
    terminating: bool
    age_seconds: float | None
    connections: int | None = None
    max_connections: int | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    version: str | None = None
    settings_hash: str | None = None
    silence: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For programs; the names stay."""
        return {
            "pod": self.pod,
            "shape": self.shape,
            "machine": self.machine,
            "state": self.state,
            "ready": self.ready,
            "serving": self.serving,
            "leaving": self.leaving,
            "connections": self.connections,
            "maxConnections": self.max_connections,
            "cpuPercent": self.cpu_percent,
            "memoryBytes": self.memory_bytes,
            "version": self.version,
            "settingsHash": self.settings_hash,
            "ageSeconds": None if self.age_seconds is None else int(self.age_seconds),
            "silence": self.silence,
        }


def nodes_from(pods: Iterable[Object], answers: Answers, now: float) -> tuple[Node, ...]:
    """The nodes by name; pods that have ended are left out, as the operator does."""
    present = [pod for pod in pods if text(pod, "status", "phase") not in ("Succeeded", "Failed")]
    made = [node_from(pod, answers.get(str(at(pod, "metadata", "uid"))), now) for pod in present]
    return tuple(sorted(made, key=lambda node: node.pod))


def node_from(pod: Object, answer: NodeFigures | ScrapeError | None, now: float) -> Node:
    """One node; `now` is in epoch seconds."""
    figures = answer if isinstance(answer, NodeFigures) else None
    created = epoch_seconds(text(pod, "metadata", "creationTimestamp"))
    labels, annotations = mapping(pod, "metadata", "labels"), mapping(pod, "metadata", "annotations")
    terminating = at(pod, "metadata", "deletionTimestamp") is not None
    draining = figures is not None and figures.draining
    ready = any(
        one.get("type") == "Ready" and one.get("status") == "True"
        for one in items(pod, "status", "conditions")
    )
    node = Node(
        uid=str(at(pod, "metadata", "uid")),
        pod=text(pod, "metadata", "name") or "?",
        shape=text(labels, names.SHAPE_LABEL),
        machine=text(pod, "spec", "nodeName"),
        state=_state(pod, figures, ready),
        ready=ready,
        serving=labels.get(names.SERVING_LABEL) == names.SERVING,
        terminating=terminating,
        leaving=terminating or draining or names.VICTIM_ANNOTATION in annotations,
        age_seconds=None if created is None else max(0.0, now - created),
        silence=_silence(pod, answer),
    )
    return node if figures is None else _with_figures(node, figures)


def _with_figures(node: Node, figures: NodeFigures) -> Node:
    return replace(
        node,
        connections=figures.connections,
        max_connections=figures.max_connections,
        cpu_percent=figures.cpu_percent,
        memory_bytes=figures.memory_bytes,
        version=figures.version or None,
        settings_hash=figures.settings_hash,
    )


def _silence(pod: Object, answer: NodeFigures | ScrapeError | None) -> str | None:
    """Why a node that should speak gave no figures."""
    if isinstance(answer, NodeFigures) or text(pod, "status", "phase") != "Running":
        return None
    if answer is None:
        return "no answer in time"
    if isinstance(answer.__cause__, ForbiddenError):
        return NOT_ALLOWED
    return " ".join(str(answer).split()) or "no answer"


def _state(pod: Object, figures: NodeFigures | None, ready: bool) -> str:
    """The most telling thing about a node, first what takes it away."""
    annotations, labels = mapping(pod, "metadata", "annotations"), mapping(pod, "metadata", "labels")
    if at(pod, "metadata", "deletionTimestamp") is not None:
        return f"terminating{_left(figures)}"
    if text(pod, "status", "phase") != "Running":
        return _before_running(pod)
    if (failing := _waits(pod)) is not None:
        return failing
    if figures is not None and figures.draining:
        return _draining(figures)
    if names.VICTIM_ANNOTATION in annotations:
        return "chosen to go"
    if names.REPLACE_ANNOTATION in annotations:
        return "to be replaced"
    if not ready:
        return "not ready"
    if figures is not None and figures.shed_remaining:
        return f"shedding ({figures.shed_remaining:,} left)"
    if labels.get(names.SERVING_LABEL) != names.SERVING:
        return "steered away"
    if figures is not None and figures.feed_connected is False:
        return "serving, without NATS"
    return "serving, feed paused" if figures is not None and figures.feed_paused else "serving"


def _before_running(pod: Object) -> str:
    for one in items(pod, "status", "conditions"):
        if one.get("type") == "PodScheduled" and one.get("reason") == "Unschedulable":
            return "unschedulable"
    return _waits(pod) or "starting"


def _waits(pod: Object) -> str | None:
    """What its container waits for, where that is out of the ordinary: ImagePullBackOff, CrashLoopBackOff."""
    for container in items(pod, "status", "containerStatuses"):
        reason = text(container, "state", "waiting", "reason")
        if reason is not None and reason not in _NORMAL_WAITS:
            return reason
    return None


def _draining(figures: NodeFigures) -> str:
    if figures.drain_state == DrainState.DRAINED:
        return "drained"
    if figures.drain_state == DrainState.DELAY:
        return f"draining soon{_left(figures)}"
    return f"draining{_left(figures)}"


def _left(figures: NodeFigures | None) -> str:
    if figures is None:
        return ""
    left = figures.drain_remaining if figures.draining else None
    if left is None:
        left = figures.connections
    return "" if not left else f" ({left:,} left)"


def silent(nodes: Iterable[Node]) -> str | None:
    """How many nodes gave no figures, why the first of them, and what to do; None if all spoke."""
    listed = list(nodes)
    quiet = [node for node in listed if node.silence is not None]
    if not quiet:
        return None
    line = f"no figures from {counted(len(quiet), 'node')}; {quiet[0].pod}: {quiet[0].silence}"
    ready = [node for node in listed if node.ready]
    if ready and all(node.silence not in (None, NOT_ALLOWED) for node in ready):
        # They serve, and the operator hears them; so what is cut is the way from the API server.
        line += "; does their NetworkPolicy let the API server in (the chart's networkPolicy.adminPeers)?"
    return line
