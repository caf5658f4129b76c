"""How a reflector takes what an API server seldom says: bookmarks, ends, errors, silence."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from wsfleet.kube import client as client_module
from wsfleet.kube import reflector as reflector_module
from wsfleet.kube.client import KubeClient, Page
from wsfleet.kube.kinds import POD, Kind, name_of
from wsfleet.kube.reflector import Key, Reflector

Event = dict[str, Any]


def pod(name: str, version: int) -> Event:
    return {"metadata": {"name": name, "namespace": "games", "resourceVersion": str(version)}}


def bookmark(version: int) -> Event:
    return {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": str(version)}}}


class Api:
    """An API server with one list and a script of watches; a watch without a script stays open."""

    def __init__(self) -> None:
        self.items: list[Event] = []
        self.version = 1
        self.lists = 0
        self.watched_from: list[str] = []
        self.script: list[list[Event]] = []
        self.go = asyncio.Event()
        """Scripts wait for it."""
        self.go.set()
        self.refuses = False
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.refuses:
            return web.json_response({"message": "you may not"}, status=403)
        if "watch" not in request.query:
            self.lists += 1
            return web.json_response(
                {"items": self.items, "metadata": {"resourceVersion": str(self.version)}}
            )
        self.watched_from.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if not self.script:
            await asyncio.sleep(60)
        await self.go.wait()
        for event in self.script.pop(0):
            text = json.dumps(event).encode() + b"\n"
            await response.write(text[:10])  # events come in pieces as they like
            await response.write(text[10:])
        return response


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_get("/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.port = runner.addresses[0][1]
    yield api
    await runner.cleanup()


@pytest.fixture
async def reflector(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reflector]:
    monkeypatch.setattr(reflector_module, "_BACKOFF_SECONDS", (0.01, 0.05))
    client = KubeClient(ApiClient(Configuration(host=f"http://127.0.0.1:{api.port}")))
    reflector = Reflector(client, POD)
    task = asyncio.create_task(reflector.run())
    yield reflector
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.close()


async def eventually(what: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def names(reflector: Reflector) -> list[str]:
    return sorted(name_of(one) for one in reflector.all())


async def test_a_bookmark_moves_the_place_to_go_on_from_and_nothing_else(
    api: Api, reflector: Reflector
) -> None:
    api.items = [pod("a", 1)]
    api.script = [[{"type": "ADDED", "object": pod("b", 5)}, bookmark(9)]]
    await eventually(lambda: len(api.watched_from) == 2)
    assert api.watched_from == ["1", "9"]
    assert api.lists == 1
    assert names(reflector) == ["a", "b"]


async def test_a_place_that_is_too_old_leads_to_a_new_list_without_what_is_gone(
    api: Api, reflector: Reflector
) -> None:
    api.items = [pod("a", 1), pod("b", 2)]
    api.go.clear()
    api.script = [[{"type": "ERROR", "object": {"code": 410, "message": "too old"}}]]
    await eventually(lambda: names(reflector) == ["a", "b"])
    api.items, api.version = [pod("b", 2), pod("c", 7)], 8
    api.go.set()
    await eventually(lambda: names(reflector) == ["b", "c"])
    await eventually(lambda: api.watched_from[-1] == "8")


@pytest.mark.parametrize(
    "nonsense",
    [
        {"type": "ERROR", "object": {"code": 500, "message": "etcd is away"}},
        {"type": "ADDED", "object": {}},
        {"kind": "Status"},
    ],
)
async def test_an_error_in_the_stream_is_survived(api: Api, reflector: Reflector, nonsense: Event) -> None:
    api.script = [[nonsense], [nonsense]]
    await eventually(lambda: api.lists == 3)
    api.items = [pod("a", 3)]
    await eventually(lambda: len(api.watched_from) == 3)
    assert reflector.stuck_seconds < 5


async def test_a_silent_watch_is_opened_again_where_it_was(
    api: Api, reflector: Reflector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_WATCH_SILENCE_SECONDS", 0.1)
    api.items = [pod("a", 1)]
    await eventually(lambda: len(api.watched_from) >= 3)
    assert set(api.watched_from) == {"1"}
    assert api.lists == 1
    assert reflector.silent_seconds < 5


async def test_a_refused_list_is_tried_and_no_copy(api: Api, reflector: Reflector) -> None:
    api.refuses = True
    await asyncio.wait_for(reflector.tried.wait(), 5)
    assert reflector.refused
    assert not reflector.synced.is_set()
    assert math.isinf(reflector.silent_seconds)
    api.refuses = False
    await asyncio.wait_for(reflector.synced.wait(), 5)
    assert not reflector.refused
    assert reflector.silent_seconds < 5


class Told(KubeClient):
    """An empty list, and one watch that tells of `events`."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events = events
        self.over = asyncio.Event()

    async def pages(self, kind: Kind, namespace: str | None = None, *, selector: str = "") -> Any:
        yield Page([], "1")

    async def watch(self, kind: Kind, namespace: str | None, **_: Any) -> Any:
        for event in self.events:
            yield event
        self.over.set()
        await asyncio.Event().wait()


def fleet_pod(name: str, fleet: str, version: int) -> Event:
    found = pod(name, version)
    found["metadata"]["labels"] = {"fleet": fleet}
    return found


def version_of(obj: Event) -> int:
    return int(obj["metadata"]["resourceVersion"])


def by_fleet(obj: Event) -> Key | None:
    fleet = obj["metadata"]["labels"]["fleet"]
    return ("games", fleet) if fleet else None


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["ADDED", "MODIFIED", "DELETED", "put", "late put", "asked"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["odin", "thor", ""]),
    ),
    max_size=40,
)


@given(CHANGES)
def test_an_index_holds_what_the_objects_say_in_order_of_name(changes: list[tuple[str, str, str]]) -> None:
    there: dict[str, Event] = {}
    wrong: list[str] = []

    def check() -> None:
        for fleet in ("odin", "thor"):
            wanted = [one for _, one in sorted(there.items()) if one["metadata"]["labels"]["fleet"] == fleet]
            if reflector.indexed(("games", fleet)) != wanted:
                wrong.append(fleet)

    def events() -> Iterator[Event]:
        for version, (change, name, fleet) in enumerate(changes, 2):
            told = fleet_pod(name, fleet, version)
            if change == "asked":
                reflector.indexed(("games", fleet)).clear()  # who asks may do with it what he likes
            elif change == "put":
                reflector.put(told)
                there[name] = told
            elif change == "late put":  # what a write returned, after the watch has told of it
                reflector.put(fleet_pod(name, fleet, version_of(there.get(name, told))))
                there.setdefault(name, told)
            else:
                yield {"type": change, "object": told}
                if change == "DELETED":
                    there.pop(name, None)
                else:
                    there[name] = told
            check()

    async def follow() -> None:
        task = asyncio.create_task(reflector.run())
        await client.over.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    client = Told(events())
    reflector = Reflector(client, POD, index=by_fleet)
    asyncio.run(follow())
    assert not wrong
