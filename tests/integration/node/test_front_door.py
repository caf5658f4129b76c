"""The client port's front: handshakes, refusals, `/health`, and storms at the door."""

from __future__ import annotations

import asyncio
import errno
import os
import resource

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient, request
from wsnode.link import HANDSHAKE


@pytest.mark.parametrize(
    ("headers", "extra"),
    [
        ({}, ""),
        ({"Upgrade": "WebSocket"}, ""),
        ({"Upgrade": "h2c, websocket"}, ""),
        ({"Upgrade": "WEBSOCKET", "Connection": "keep-alive, UPGRADE"}, ""),
        ({"Connection": "keep-alive"}, "Connection: upgrade\r\n"),
    ],
)
async def test_upgrade_in_any_letter_case_and_list_is_let_in(
    nats_server: NatsServer, headers: dict[str, str], extra: str
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        first = request(node.port, **headers)
        client = await WsClient.connect(node.port, first[:-2] + extra.encode() + b"\r\n")
        status, answer, _ = await client.response()
        assert (status, answer["upgrade"], answer["connection"]) == (101, "websocket", "Upgrade")
        assert answer["sec-websocket-accept"] == "BACScCJPNqyz+UBoqMH89VmURoA="
        await client.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        (request(1).replace(b"GET", b"POST"), 405),
        (request(1).replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (request(1).replace(b"Version: 13", b"Version: 12"), 426),
        (request(1).replace(b"MDEyMzQ1Njc4OWFiY2RlZg==", b"short"), 400),
        (b"\x16\x03\x01 this is TLS\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nX: " + b"y" * 20_000, 431),
    ],
)
async def test_what_is_no_opening_handshake_is_told_so(
    nats_server: NatsServer, data: bytes, status: int
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.connect(node.port, data)
        assert (await client.response())[0] == status
        await client.ended()
        assert node.counters.handshakes_failed.total() == 1
        await client.close()


async def test_a_handshake_in_pieces_and_one_that_never_ends(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, handshake_timeout=0.5)) as node:
        data = request(node.port)
        client = await WsClient.connect(node.port, data[:20])
        await asyncio.sleep(0.05)
        await client.send_bytes(data[20:-1])
        await asyncio.sleep(0.05)
        await client.send_bytes(data[-1:])
        assert (await client.response())[0] == 101
        late = await WsClient.connect(node.port, data[:-2])
        assert (await late.response())[0] == 408
        await late.ended()
        assert node.counters.handshakes_failed == {"too_late": 1}
        await client.close()
        await late.close()


async def test_health_says_in_a_word_whether_to_come(nats_server: NatsServer) -> None:
    health = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    async with running_node(node_settings(nats_server.url, max_connections=1)) as node:
        client = await WsClient.connect(node.port, health)
        status, headers, body = await client.response()
        assert (status, headers["content-type"], body) == (200, "application/json", b'{"healthy":true}')
        await client.ended()
        await client.close()
        guest = await WsClient.open(node.port)
        client = await WsClient.connect(node.port, health)
        assert (await client.response())[::2] == (503, b'{"healthy":false}')
        await client.close()
        await guest.close()


async def test_above_the_limit_clients_are_refused_with_a_time_to_come_back(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_connections=2)) as node:
        guests = [await WsClient.open(node.port) for _ in range(2)]
        for _ in range(3):
            client = await WsClient.connect(node.port, request(node.port))
            status, headers, _ = await client.response()
            assert status == 503
            assert int(headers["retry-after"]) > 0
            await client.ended()
            await client.close()
        assert node.counters.connections_rejected == {"connections": 3}
        await guests.pop().close()
        await until(lambda: node.connections == 1)
        guests.append(await WsClient.open(node.port))
        for guest in guests:
            await guest.close()


async def test_addresses_and_origins_are_limited(nats_server: NatsServer) -> None:
    settings = node_settings(
        nats_server.url, max_connections_per_address=1, allowed_origins=("https://good.example",)
    )
    async with running_node(settings) as node:
        page = await WsClient.connect(node.port, request(node.port, Origin="https://bad.example"))
        assert (await page.response())[0] == 403
        guest = await WsClient.open(node.port, Origin="https://GOOD.example")
        second = await WsClient.connect(node.port, request(node.port))
        assert (await second.response())[0] == 503
        assert node.counters.connections_rejected == {"origin": 1, "address": 1}
        await guest.close()
        await until(lambda: node.connections == 0)
        guest = await WsClient.open(node.port)
        for client in (page, guest, second):
            await client.close()


async def test_a_storm_at_the_door_is_let_in_whole(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        clients = await asyncio.gather(*(WsClient.open(node.port, "A.b") for _ in range(700)))
        assert node.connections == 700
        await nats_server.publish(("A.b", b"1"))
        got = await asyncio.gather(*(client.message() for client in clients))
        assert {message["seq"] for message in got} == {1}
        await asyncio.gather(*(client.close() for client in clients))
        await until(lambda: node.connections == 0)
        assert node.counters.connections_closed == {"gone": 700}


async def test_without_descriptors_the_door_rests_and_opens_again(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        late = asyncio.create_task(_open_when_possible(node.port))
        await asyncio.sleep(0)
        probe = os.dup(0)
        os.close(probe)
        try:
            # The test's own end of the connection takes the last descriptor, the node's finds none.
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1, hard))
            await until(lambda: node.counters.accept_failures)
            await asyncio.sleep(0.35)
            assert node.counters.accept_failures <= 8
            assert (await client.ask({"type": "heartbeat"}))["type"] == "pong"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await (await late).close()
        await client.close()


async def test_who_cannot_be_watched_is_closed_and_the_door_rests(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def register(self, fd: int, events: int) -> None:
            raise OSError(errno.ENOSPC, "as when all watches of a user are taken (epoll(7))")

    async with running_node(node_settings(nats_server.url)) as node:
        with monkeypatch.context() as full:
            full.setattr(node._links, "_epoll_of", lambda link: Full())
            turned_away = await WsClient.connect(node.port, request(node.port))
            await turned_away.ended()
        assert node.counters.accept_failures >= 1
        assert (node._links.total, node._links.with_state(HANDSHAKE)) == (0, [])
        client = await WsClient.open(node.port)
        await client.close()
        await turned_away.close()


async def test_half_open_connections_do_not_take_the_last_descriptors(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        node._door.descriptors = 50
        silent = [await WsClient.connect(node.port, b"") for _ in range(19)]
        await until(lambda: node._links.total == 19)
        refused = [await WsClient.connect(node.port, b"") for _ in range(5)]
        for client in refused:
            assert (await client.response())[0] == 503
        assert node.counters.connections_rejected == {"descriptors": 5}
        assert node._links.total == 19
        for client in silent + refused:
            await client.close()


async def test_too_few_descriptors_are_said_at_start(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = node_settings(nats_server.url, max_connections=1_000_000, max_goroutines=4_000_000)
    async with running_node(settings):
        assert "too few file descriptors for WS_MAX_CONNECTIONS" in caplog.text


async def _open_when_possible(port: int) -> WsClient:
    while True:
        try:
            return await WsClient.open(port)
        except OSError:
            await asyncio.sleep(0.01)
