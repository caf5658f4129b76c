"""Pokes become looks: never two of one fleet at once, and never one fleet's fault another's delay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from wsfleet.kube.reflector import Key
from wsfleet.workers import Look, Workers

A, B = ("games", "a"), ("games", "b")


class Failures:
    def __init__(self) -> None:
        self.seen: list[tuple[Key, str]] = []

    def note(self, key: Key, exc: Exception) -> None:
        self.seen.append((key, type(exc).__name__))


Make = Callable[[Look, float], Awaitable[tuple[Workers, Failures]]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Workers] = []

    async def build(look: Look, seconds: float) -> tuple[Workers, Failures]:
        failures = Failures()
        workers = Workers(look, seconds, failures.note)
        made.append(workers)
        return workers, failures

    yield build
    for workers in made:
        await workers.close()


async def test_pokes_while_looking_lead_to_one_more_look(make: Make) -> None:
    looks, go = [], asyncio.Event()

    async def look(key: Key) -> None:
        looks.append(key)
        await go.wait()

    workers, _ = await make(look, 10)
    workers.add(A)
    await asyncio.sleep(0.01)
    for _ in range(100):
        workers.poke(A)
    assert looks == [A]
    go.set()
    await asyncio.sleep(0.5)
    assert looks == [A, A]


async def test_a_hanging_fleet_delays_no_other_and_is_given_up(make: Make) -> None:
    looks = []

    async def look(key: Key) -> None:
        looks.append(key)
        if key == A:
            await asyncio.Event().wait()

    workers, failures = await make(look, 0.3)
    workers.add(A)
    workers.add(B)
    await asyncio.sleep(0.05)
    assert looks == [A, B]
    await asyncio.sleep(0.5)
    assert failures.seen == [(A, "TimeoutError")]


async def test_a_failing_look_is_retried_after_a_pause_that_a_changed_spec_ends(make: Make) -> None:
    looks = []

    async def look(key: Key) -> None:
        looks.append(key)
        raise ValueError("broken")

    workers, failures = await make(look, 10)
    workers.add(A)
    await asyncio.sleep(0.05)
    workers.poke(A)
    await asyncio.sleep(0.3)
    assert len(looks) == 1, "a poke does not end the pause"
    workers.add(A)
    await asyncio.sleep(0.05)
    assert len(looks) == 2
    assert failures.seen[0] == (A, "ValueError")


async def test_a_look_may_ask_for_another(make: Make) -> None:
    looks = []

    async def look(key: Key) -> float | None:
        looks.append(key)
        return 0.01 if len(looks) < 3 else None

    workers, _ = await make(look, 10)
    workers.add(A)
    await asyncio.sleep(1.0)
    assert looks == [A, A, A]


async def test_a_fleet_that_is_gone_is_looked_at_no_more(make: Make) -> None:
    looks = []

    async def look(key: Key) -> None:
        looks.append(key)

    workers, _ = await make(look, 10)
    workers.add(A)
    await asyncio.sleep(0.05)
    workers.remove(A)
    workers.poke(A)
    await asyncio.sleep(0.3)
    assert looks == [A]
    assert workers.keys() == []


async def test_a_failure_that_cannot_be_told_does_not_end_the_worker() -> None:
    looks = []

    async def look(key: Key) -> None:
        looks.append(key)
        raise ValueError("broken")

    def failed(key: Key, exc: Exception) -> None:
        raise KeyError("no words")

    workers = Workers(look, 10, failed)
    workers.add(A)
    await asyncio.sleep(0.05)
    workers.add(A)
    await asyncio.sleep(0.05)
    assert looks == [A, A]
    assert workers.dead() == []
    await workers.close()


async def test_a_worker_that_has_ended_is_named(make: Make) -> None:
    async def look(key: Key) -> None:
        raise asyncio.CancelledError

    workers, _ = await make(look, 10)
    workers.add(A)
    await asyncio.sleep(0.05)
    assert workers.dead() == ["fleet games/a"]


async def test_looks_that_begin_together_leave_turns_to_the_loop() -> None:
    turns: list[int] = []
    turn = 0

    async def look(key: Key) -> None:
        turns.append(turn)

    workers = Workers(look, 10, lambda key, exc: None)
    for number in range(100):
        workers.add(("games", f"fleet-{number}"))
    while len(turns) < 100:
        turn += 1
        await asyncio.sleep(0)
    assert len(set(turns)) == 100, "several first looks in one turn of the loop"
    await workers.close()


async def test_a_fleet_whose_looks_take_long_rests_as_long_between_them(make: Make) -> None:
    clock = asyncio.get_running_loop().time
    began: list[float] = []
    rests: list[float] = []
    ended = 0.0

    async def look(key: Key) -> float | None:
        nonlocal ended
        if began:
            rests.append(clock() - ended)
        began.append(clock())
        await asyncio.sleep(0.4)
        ended = clock()
        return 0.0  # again at once

    workers, _ = await make(look, 10)
    workers.add(A)
    async with asyncio.timeout(20):
        while len(rests) < 2:
            await asyncio.sleep(0.02)
    assert min(rests) > 0.38
