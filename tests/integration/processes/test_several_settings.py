"""One settings file for all processes: taken over by each, also by one that comes later, and told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.nats import NatsServer
from tests.support.several import Several, kill, several, until
from tests.support.wsclient import WsClient, subscribe


async def _most_channels(client: WsClient) -> int:
    """How many channels the process that has this client allows, up to 4."""
    for count in range(1, 5):
        names = [f"A.{n}" for n in range(count)]
        answer: dict[str, Any] = await client.ask(subscribe(*names))
        # A process that has just begun tells of its broker, and again of its channels, once it is there.
        while answer["type"] != "error" and answer.get("subscribed") != names:
            answer = await client.message()
        if answer["type"] == "error":
            assert answer["code"] == "TOO_MANY_CHANNELS"
            return count - 1
    return 4


def _said(node: Several, message: str) -> list[str]:
    return [line for line in node.process.log.splitlines() if f'"{message}"' in line]


async def test_a_changed_file_holds_in_all_and_a_bad_one_is_told_once(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("WS_MAX_CHANNELS=2\n")
    async with several(tmp_path, nats_server.url, WS_SETTINGS_FILE=str(file)) as node:
        old = await node.shared(4)
        assert {await _most_channels(client) for client in old} == {2}
        first = node.status()["settings"]["hash"]
        file.write_text("WS_MAX_CHANNELS=3\n")
        await until(lambda: node.status()["settings"]["hash"] != first)
        await until(lambda: len(_said(node, "settings applied")) == 3)  # the parent and both workers
        assert {await _most_channels(client) for client in old} == {3}
        second = node.status()["settings"]
        file.write_text("WS_MAX_CHANNELS=none\n")
        await until(lambda: node.status()["settings"]["error"])
        assert node.metrics()["ws_settings_error"] == 1
        assert node.status()["settings"] == second | {"error": node.status()["settings"]["error"]}
        assert {await _most_channels(client) for client in old} == {3}
        assert len(_said(node, "settings file not taken over")) == 1
        # Who comes later starts with what is in force, not with what the file says now.
        before = node.workers()
        for pid in before:
            kill(pid)
        await until(lambda: len(node.workers()) == 2 and not set(node.workers()) & set(before))
        await until(lambda: node.ask("/readyz")[0] == 200)
        assert {await _most_channels(client) for client in await node.shared(4)} == {3}
        file.write_text("WS_MAX_CHANNELS=1\n")
        await until(lambda: node.status()["settings"]["error"] is None)
        assert node.status()["settings"]["values"]["WS_MAX_CHANNELS"] == "1"
