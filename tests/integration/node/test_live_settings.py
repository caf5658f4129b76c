"""Changed settings apply to a running node, and cost nobody a connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.nats import NatsServer
from tests.support.node import NodeProcess, node_settings, running_node, until
from tests.support.wsclient import WsClient, request, subscribe
from wsnode.config.sources import file_hash, load_from_environment
from wsnode.watch import SettingsWatch, follow


async def test_new_limits_hold_at_once_and_a_bad_file_changes_nothing(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("WS_MAX_CONNECTIONS=100\n")
    settings = node_settings(nats_server.url, settings_file=str(file))
    environ = settings.to_env() | {"WS_MAX_CONNECTIONS": "100"}
    async with running_node(settings) as node:
        client = await WsClient.open(node.port)
        watch = SettingsWatch(str(file), environ, load_from_environment(environ))

        async def follow() -> None:
            async for change in watch.changes():
                node.apply(change)

        following = asyncio.create_task(follow())
        file.write_text("WS_MAX_CONNECTIONS=1\nWS_MAX_CHANNELS=1\nWS_CLIENT_RATE_BURST=3\n")
        await until(lambda: node.settings.max_connections == 1)
        refused = await WsClient.connect(node.port, request(node.port))
        assert (await refused.response())[0] == 503
        await refused.close()
        assert (await client.ask(subscribe("A.b", "C.d")))["code"] == "TOO_MANY_CHANNELS"
        assert (await client.ask(subscribe("A.b")))["count"] == 1
        applied = node.settings_hash

        file.write_text("WS_MAX_CONNECTIONS=many\nWS_MAX_CHANNELS=9\n")
        await until(lambda: node.settings_error)
        assert node.settings_error is not None
        assert "WS_MAX_CONNECTIONS='many'" in node.settings_error
        assert (node.settings.max_channels, node.settings_hash) == (1, applied)

        file.write_text("WS_MAX_CONNECTIONS=10\n")
        await until(lambda: node.settings.max_connections == 10)
        assert node.settings_error is None
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["data"] == 1
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await client.close()


async def test_the_process_itself_watches_its_file(nats_server: NatsServer, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("WS_MAX_CONNECTIONS=100\n")
    settings = node_settings(nats_server.url, settings_file=str(file), drain_delay=0)
    process = NodeProcess(settings, WS_SETTINGS_FILE=str(file))
    try:
        assert process.process.stdout is not None
        for line in process.process.stdout:
            if "node started" in line:
                break
        await asyncio.sleep(0.5)
        file.write_text("WS_MAX_CONNECTIONS=7\n")
        for line in process.process.stdout:
            if "settings applied" in line:
                assert "100 -> 7" in line
                break
        process.terminate()
        assert (await asyncio.to_thread(process.ended))[0] == 0
    finally:
        process.kill()


async def test_a_file_changed_or_spoilt_while_the_node_starts_is_not_missed(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    settings = node_settings(nats_server.url, settings_file=str(file))
    environ = settings.to_env() | {"WS_SETTINGS_FILE": str(file)}
    file.write_text("WS_MAX_CHANNELS=6\n")
    loaded = load_from_environment(environ)
    file.write_text("WS_MAX_CHANNELS=7\n")
    async with running_node(loaded.settings) as node:
        watching = asyncio.create_task(follow(node, environ, loaded))
        await until(lambda: node.settings.max_channels == 7)
        watching.cancel()
        loaded, in_force = load_from_environment(environ), node.settings_hash
        file.write_text("WS_MAX_CHANNELS=none\n")
        watching = asyncio.create_task(follow(node, environ, loaded))
        await until(lambda: node.settings_error)
        assert node.settings.max_channels == 7
        assert node.settings_hash == in_force == file_hash(b"WS_MAX_CHANNELS=7\n")
        file.write_text("WS_MAX_CHANNELS=8\n")
        await until(lambda: node.settings.max_channels == 8 and not node.settings_error)
        watching.cancel()


async def test_a_file_that_cannot_be_taken_over_does_not_end_the_watching(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("WS_MAX_CHANNELS=6\n")
    settings = node_settings(nats_server.url, settings_file=str(file))
    environ = settings.to_env() | {"WS_SETTINGS_FILE": str(file)}
    loaded = load_from_environment(environ)
    async with running_node(loaded.settings) as node:
        watching = asyncio.create_task(follow(node, environ, loaded))
        with monkeypatch.context() as patched:
            patched.setattr("wsnode.node.logs.set_level", lambda level: 1 / 0)
            file.write_text("WS_MAX_CHANNELS=7\n")
            await until(lambda: node.settings_error)
        file.write_text("WS_MAX_CHANNELS=8\n")
        await until(lambda: node.settings.max_channels == 8 and not node.settings_error)
        watching.cancel()
