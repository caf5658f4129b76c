"""Who does not lead changes nothing: the guards on the way to the API server and to the nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from tests.support.scripted_api import ScriptedApi
from wsfleet.kube.errors import NotLeadingError
from wsfleet.kube.kinds import SERVICE
from wsfleet.kube.login import Login
from wsfleet.scrape import DirectTransport, NodeAdmin, ScrapeError, Target

SERVICE_OBJECT = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "odin", "namespace": "games"}}


def refuse() -> None:
    raise NotLeadingError("write")


async def test_no_write_reaches_the_api_server_and_reading_goes_on(tmp_path: Path) -> None:
    async with ScriptedApi() as api:
        api.put("services", {"metadata": {"name": "odin", "namespace": "games"}})
        client = await Login(kubeconfig=str(api.kubeconfig(tmp_path, "op"))).connect(guard=refuse)
        assert (await client.get(SERVICE, "games", "odin"))["metadata"]["name"] == "odin"
        for attempt in (
            client.create(SERVICE_OBJECT),
            client.apply(SERVICE_OBJECT),
            client.merge_patch(SERVICE, "games", "odin", {"spec": {}}),
            client.scale("games", "odin", 1, resource_version="1"),
            client.delete(SERVICE, "games", "odin"),
        ):
            with pytest.raises(NotLeadingError, match="the lease is not held"):
                await attempt
        assert api.writes == []
        await client.close()


LATER = "X-Wsfleet-Term=4: an operator with the later term 5 was here"


async def node(status: int, heard: list[str], error: str = LATER) -> tuple[web.AppRunner, int]:
    async def answer(request: web.Request) -> web.Response:
        heard.append(f"{request.method} {request.path}")
        return web.json_response({"error": error}, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


TARGET = Target("u", "games", "odin-1", "127.0.0.1")


async def test_no_command_reaches_a_node_and_figures_still_come() -> None:
    heard: list[str] = []
    runner, port = await node(200, heard)
    admin = NodeAdmin(DirectTransport(port, guard=refuse))
    with pytest.raises(NotLeadingError):
        await admin.drain(TARGET, "token")
    with pytest.raises(NotLeadingError):
        await admin.cancel_drain(TARGET, "token")
    assert set(await admin.scrape([TARGET])) == {"u"}
    assert heard == ["GET /status"]
    await admin.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "error", "doubts"),
    [(409, LATER, 1), (409, "the node is stopping", 0), (403, LATER, 0), (500, LATER, 0)],
)
async def test_a_node_that_heard_a_later_leader_casts_doubt(status: int, error: str, doubts: int) -> None:
    told: list[None] = []
    runner, port = await node(status, [], error)
    admin = NodeAdmin(DirectTransport(port), term=lambda: 4, outdated=lambda: told.append(None))
    with pytest.raises(ScrapeError):
        await admin.drain(TARGET, "token")
    assert len(told) == doubts
    await admin.close()
    await runner.cleanup()
