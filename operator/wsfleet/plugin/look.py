"""One look at fleets: read, then made into views."""

from __future__ import annotations

import time

from wsfleet.kube.errors import ForbiddenError
from wsfleet.kube.kinds import Object
from wsfleet.plugin.errors import explained
from wsfleet.plugin.nodes import nodes_from
from wsfleet.plugin.read import fleet_named, fleets_in, nodes_of
from wsfleet.plugin.session import Session
from wsfleet.plugin.view import FleetView, view_of


async def look_at(session: Session, name: str) -> FleetView:
    """A fleet with its nodes."""
    return await _with_nodes(session, await fleet_named(session, name))


async def _with_nodes(session: Session, fleet: Object) -> FleetView:
    """Without its nodes where the user may not list pods: what the operator says is shown all the same."""
    try:
        pods, answers = await nodes_of(session, fleet)
    except ForbiddenError as exc:
        return view_of(fleet, None, time.time(), (f"no nodes shown: {explained(exc, session.server)}",))
    now = time.time()
    return view_of(fleet, nodes_from(pods, answers, now), now)


async def views_of_all(session: Session) -> list[FleetView]:
    """All fleets in scope, by what their operator says of them: no node is asked."""
    now = time.time()
    return [view_of(fleet, None, now) for fleet in await fleets_in(session)]
