"""One process's view of the lease, against the scripted API server and in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.scripted_api import ScriptedApi
from wsfleet.kube.errors import NotLeadingError
from wsfleet.kube.login import Login
from wsfleet.leadership import Leadership

SECONDS = 2.0


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as api:
        api.put("leases", {"metadata": {"name": "x", "namespace": "games"}})
        yield api


def candidate(api: ScriptedApi, folder: Path, name: str, lost: list[str]) -> Leadership:
    login = Login(kubeconfig=str(api.kubeconfig(folder, name)))
    return Leadership(login, "games", "x", name, seconds=SECONDS, lost=lost.append)


async def until(holds: object) -> None:
    for _ in range(2000):
        if holds():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 20 s")


async def test_one_leads_and_the_next_one_after_its_release(api: ScriptedApi, tmp_path: Path) -> None:
    lost: list[str] = []
    first, second = (candidate(api, tmp_path, name, lost) for name in ("a", "b"))
    await first.start()
    await first.wait()
    await second.start()
    assert first.held
    first.check()
    assert first.term > 0
    with pytest.raises(NotLeadingError):
        second.check()
    assert second.term == 0
    before = first.term
    await first.release()
    with pytest.raises(NotLeadingError):
        first.check()
    await asyncio.wait_for(second.wait(), 20)
    assert second.term == before + 1
    await second.release()
    assert lost == []


async def test_doubt_stops_all_writes_until_the_api_server_confirms(api: ScriptedApi, tmp_path: Path) -> None:
    lost: list[str] = []
    leader = candidate(api, tmp_path, "a", lost)
    await leader.start()
    await leader.wait()
    leader.doubt()
    with pytest.raises(NotLeadingError):
        leader.check()
    await until(lambda: leader.held)
    assert lost == []
    await leader.release()


async def test_doubt_about_a_lease_that_is_anothers_is_the_end(api: ScriptedApi, tmp_path: Path) -> None:
    lost: list[str] = []
    leader = candidate(api, tmp_path, "a", lost)
    await leader.start()
    await leader.wait()
    api.patch("leases", "games", "x", {"spec": {"holderIdentity": "b", "leaseTransitions": 2**30}})
    leader.doubt()
    await until(lambda: lost)
    assert lost[0] == "the lease is held by b"
    with pytest.raises(NotLeadingError):
        leader.check()
    api.away = True
    await leader.release()


async def test_a_hung_loop_loses_the_lease(api: ScriptedApi, tmp_path: Path) -> None:
    lost: list[str] = []
    leader = candidate(api, tmp_path, "a", lost)
    await leader.start()
    await leader.wait()
    assert leader._beats is not None
    leader._beats.cancel()  # the API server is in this loop too: so it must not really hang
    await until(lambda: lost)
    assert lost[0] == "the loop hangs"
    await leader.release()


async def test_a_lease_deleted_by_hand_is_made_anew_with_its_number(api: ScriptedApi, tmp_path: Path) -> None:
    lost: list[str] = []
    leader = candidate(api, tmp_path, "a", lost)
    await leader.start()
    await leader.wait()
    api.remove("leases", "games", "x")
    await until(lambda: api.get("leases", "games", "x"))
    lease = api.get("leases", "games", "x")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == leader.identity
    assert lease["spec"]["leaseTransitions"] == leader.term
    assert lost == []
    await leader.release()
