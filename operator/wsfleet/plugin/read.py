"""Fleets, their pods and their nodes' own figures, read once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from wsfleet.kube.errors import KubeError, NotFoundError
from wsfleet.kube.kinds import POD, WSFLEET, Object, name_of, namespace_of
from wsfleet.plugin.errors import NoSuchError, is_unserved
from wsfleet.plugin.reading import mapping, text
from wsfleet.plugin.session import Session
from wsfleet.resources import names
from wsfleet.scrape import NodeAdmin, NodeFigures, ProxyTransport, ScrapeError, Target

_NODE_SECONDS = 3.0
_ROUND_SECONDS = 6.0
_NODES_AT_ONCE = 64
_NAMES_SHOWN = 5

Answers = dict[str, NodeFigures | ScrapeError]
"""By pod UID what a node said, or why it said nothing."""


async def fleet_named(session: Session, name: str) -> Object:
    """One fleet.

    Raises:
        NoSuchError: none of this name here; says which there are, and where one of this name is.
    """
    try:
        return await session.client.get(WSFLEET, session.namespace, name)
    except NotFoundError as exc:
        if is_unserved(exc):
            raise
        raise NoSuchError(await _instead(session, name)) from exc


async def fleets_in(session: Session) -> list[Object]:
    """All fleets of the namespace, or of all, by namespace and name."""
    found = [one async for page in session.client.pages(WSFLEET, session.scope) for one in page.items]
    return sorted(found, key=lambda one: (namespace_of(one), name_of(one)))


async def pods_of(session: Session, fleet: Object) -> list[Object]:
    """The fleet's pods, those that end included; not those that other controllers gave its label."""
    namespace, name = namespace_of(fleet), name_of(fleet)
    pages = session.client.pages(POD, namespace, selector=names.selector_text(name))
    return [pod async for page in pages for pod in page.items if belongs(pod, name)]


def belongs(pod: Object, fleet: str) -> bool:
    """Whether a pod is a node of the fleet: its label says so, and one of the fleet's ReplicaSets made it."""
    labels = mapping(pod, "metadata", "labels")
    if labels.get(names.FLEET_LABEL) != fleet:
        return False
    shape = str(labels.get(names.SHAPE_LABEL) or "")
    owners = pod["metadata"].get("ownerReferences") or ()
    made_by = [one.get("name") for one in owners if one.get("kind") == "ReplicaSet" and one.get("controller")]
    return made_by == [names.replicaset_name(fleet, shape)]


async def ask_nodes(session: Session, pods: Iterable[Object]) -> Answers:
    """What the nodes say of themselves, through the API server; none of them can delay the rest for long."""
    admin = NodeAdmin(
        ProxyTransport(session.client),
        timeout=_NODE_SECONDS,
        round_seconds=_ROUND_SECONDS,
        concurrency=_NODES_AT_ONCE,
    )
    return await admin.ask([target for pod in pods if (target := _target(pod)) is not None])


def _target(pod: Object) -> Target | None:
    """A node that can be asked."""
    address = text(pod, "status", "podIP")
    if address is None or text(pod, "status", "phase") != "Running":
        return None
    metadata = pod["metadata"]
    return Target(metadata["uid"], metadata["namespace"], metadata["name"], address)


async def nodes_of(session: Session, fleet: Object) -> tuple[list[Object], Answers]:
    """The fleet's pods and what their nodes say."""
    pods = await pods_of(session, fleet)
    return pods, await ask_nodes(session, pods)


async def _instead(session: Session, name: str) -> str:
    """Why no fleet was found, and what may have been meant."""
    here = [name_of(one) for one in await fleets_in(session)]
    line = f"no fleet {name} in namespace {session.namespace}"
    near = difflib.get_close_matches(name, here, 1)
    if near:
        return f"{line}; did you mean {near[0]}?"
    elsewhere = await _namespaces_with(session, name)
    if elsewhere:
        return f"{line}; there is one in namespace {_listed(elsewhere)} (-n)"
    return f"{line}; there {_are(here)}"


async def _namespaces_with(session: Session, name: str) -> list[str]:
    """Other namespaces that have a fleet of this name; none where one may not look."""
    try:
        pages = session.client.pages(WSFLEET, None)
        found = [one async for page in pages for one in page.items]
    except KubeError:
        return []
    return sorted(namespace_of(one) for one in found if name_of(one) == name)


def _are(found: list[str]) -> str:
    if not found:
        return "is none"
    return f"{'is' if len(found) == 1 else 'are'} {_listed(found)}"


def _listed(found: list[str]) -> str:
    rest = len(found) - _NAMES_SHOWN
    return ", ".join(found[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
