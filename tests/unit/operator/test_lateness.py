"""How long the loop was held: the longest of the last one to two minutes, and no longer."""

from __future__ import annotations

import asyncio
import time

from wsfleet.lateness import Lateness


def test_the_longest_hold_is_told_for_one_to_two_minutes() -> None:
    lateness = Lateness()
    lateness.note(0.01, 1000.0)
    lateness.note(0.7, 1010.0)
    lateness.note(0.02, 1020.0)
    assert lateness.longest() == 0.7
    lateness.note(0.03, 1065.0)
    assert lateness.longest() == 0.7
    lateness.note(0.04, 1126.0)
    assert lateness.longest() == 0.04
    lateness.note(0.01, 2000.0)
    assert lateness.longest() == 0.01, "what came before a long sleep is not of the last minutes"


async def test_a_held_loop_is_seen() -> None:
    lateness = Lateness()
    task = asyncio.create_task(lateness.watch())
    await asyncio.sleep(0)
    time.sleep(0.3)
    async with asyncio.timeout(10):
        while lateness.longest() < 0.2:
            await asyncio.sleep(0.01)
    task.cancel()
