"""The way to the API server: pages, preconditions, apply, errors, and copies that stay current."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.cluster import Client
from wsfleet.kube import client as client_module
from wsfleet.kube.client import KubeClient
from wsfleet.kube.discovery import is_served, missing_fields
from wsfleet.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from wsfleet.kube.kinds import CONFIGMAP, PODMONITOR, REPLICASET, WSFLEET, name_of
from wsfleet.kube.login import Login
from wsfleet.kube.reflector import Reflector

pytestmark = pytest.mark.cluster

LABELS = {"app.kubernetes.io/managed-by": "wsfleet"}
SELECTOR = "app.kubernetes.io/managed-by=wsfleet"


def configmap(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "data": data,
    }


@pytest.fixture
async def kube(cluster: Client) -> AsyncIterator[KubeClient]:
    client = await Login(kubeconfig=str(cluster.kubeconfig)).connect()
    yield client
    await client.close()


async def eventually(what: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_list_comes_in_pages_and_whole(
    kube: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE_SIZE", 2)
    for number in range(5):
        await kube.create(configmap(namespace, f"c{number}"))
    pages = [page async for page in kube.pages(CONFIGMAP, namespace, selector=SELECTOR)]
    assert [[name_of(one) for one in page.items] for page in pages] == [["c0", "c1"], ["c2", "c3"], ["c4"]]


async def test_apply_keeps_the_fields_of_others_and_takes_back_ours(kube: KubeClient, namespace: str) -> None:
    await kube.apply(configmap(namespace, "a", ours="1"))
    await kube.merge_patch(CONFIGMAP, namespace, "a", {"data": {"theirs": "x", "ours": "2"}})
    written = await kube.apply(configmap(namespace, "a", ours="1"))
    assert written["data"] == {"ours": "1", "theirs": "x"}
    again = await kube.apply(configmap(namespace, "a"))
    assert again["data"] == {"theirs": "x"}


async def test_an_apply_for_an_object_that_was_replaced_is_refused(kube: KubeClient, namespace: str) -> None:
    first = await kube.apply(configmap(namespace, "a"))
    await kube.delete(CONFIGMAP, namespace, "a", uid=first["metadata"]["uid"])
    await kube.apply(configmap(namespace, "a"))
    stale = configmap(namespace, "a", ours="1")
    stale["metadata"]["uid"] = first["metadata"]["uid"]
    with pytest.raises(ConflictError):
        await kube.apply(stale)
    with pytest.raises(ConflictError):
        await kube.delete(CONFIGMAP, namespace, "a", uid=first["metadata"]["uid"])


async def test_replicas_are_written_only_to_the_set_that_was_looked_at(
    kube: KubeClient, namespace: str
) -> None:
    pod = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "x", "image": "x"}], "nodeSelector": {"no": "where"}},
    }
    created = await kube.create(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": "r", "namespace": namespace},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": pod},
        }
    )
    stale = created["metadata"]["resourceVersion"]
    patched = await kube.merge_patch(REPLICASET, namespace, "r", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(ConflictError):
        await kube.scale(namespace, "r", 2, resource_version=stale)
    for _ in range(10):  # its controller writes too
        current = await kube.get(REPLICASET, namespace, "r")
        assert int(current["metadata"]["resourceVersion"]) >= int(patched["metadata"]["resourceVersion"])
        with contextlib.suppress(ConflictError):
            await kube.scale(namespace, "r", 2, resource_version=current["metadata"]["resourceVersion"])
            break
    assert (await kube.get(REPLICASET, namespace, "r"))["spec"]["replicas"] == 2


async def test_refusals_are_told_apart(kube: KubeClient, namespace: str) -> None:
    with pytest.raises(NotFoundError, match=r"configmaps .a. not found"):
        await kube.get(CONFIGMAP, namespace, "a")
    await kube.create(configmap(namespace, "a"))
    with pytest.raises(AlreadyExistsError):
        await kube.create(configmap(namespace, "a"))
    with pytest.raises(InvalidError):
        await kube.create(configmap(namespace, "Not A Name"))
    with pytest.raises(UnavailableError):
        await kube.read_path("/apis", timeout=0.000001)


async def test_a_reflector_follows_and_finds_by_index(kube: KubeClient, namespace: str) -> None:
    changes: list[str] = []
    await kube.create(configmap(namespace, "a", fleet="odin"))
    reflector = Reflector(
        kube,
        CONFIGMAP,
        namespace,
        selector=SELECTOR,
        index=lambda obj: (namespace, (obj.get("data") or {}).get("fleet", "")),
        changed=lambda obj: changes.append(name_of(obj)),
    )
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(reflector.synced.wait(), 10)
    assert [name_of(one) for one in reflector.indexed((namespace, "odin"))] == ["a"]
    await kube.create(configmap(namespace, "b", fleet="thor"))
    await kube.merge_patch(CONFIGMAP, namespace, "a", {"data": {"fleet": "thor"}})
    await eventually(lambda: len(reflector.indexed((namespace, "thor"))) == 2)
    assert reflector.indexed((namespace, "odin")) == []
    await kube.delete(CONFIGMAP, namespace, "a")
    await eventually(lambda: reflector.get(namespace, "a") is None)
    assert changes == ["a", "b", "a", "a"]
    assert reflector.silent_seconds < 10
    assert reflector.lists == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_just_written_is_not_overwritten_by_older_news(
    kube: KubeClient, namespace: str
) -> None:
    reflector = Reflector(kube, CONFIGMAP, namespace)
    old = await kube.create(configmap(namespace, "a", value="1"))
    new = await kube.merge_patch(CONFIGMAP, namespace, "a", {"data": {"value": "2"}})
    reflector.put(new)
    reflector.put(old)
    found = reflector.get(namespace, "a")
    assert found is not None
    assert found["data"] == {"value": "2"}


async def test_a_watch_from_too_long_ago_says_so(kube: KubeClient, namespace: str) -> None:
    # The API server remembers fleets from when their CRD came; a young one still knows all of ConfigMaps.
    watch = kube.watch(WSFLEET, namespace, selector="", resource_version="1", seconds=5)
    try:
        events = [event async for event in watch]
    except ExpiredError:
        return  # told by the status of the answer; else in the stream
    assert events[-1]["type"] == "ERROR"
    assert events[-1]["object"]["code"] == 410


async def test_discovery_knows_what_is_served_and_what_a_schema_lacks(lab: Client, kube: KubeClient) -> None:
    assert await is_served(kube, WSFLEET)
    assert not await is_served(kube, PODMONITOR)
    nats: dict[str, Any] = {"url": {}, "tlsName": {}}
    wanted = {"properties": {"spec": {"properties": {"nats": {"properties": nats}}}}}
    assert await missing_fields(kube, wanted) == ["spec.nats.tlsName"]
