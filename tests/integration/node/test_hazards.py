"""What nobody does on purpose: clients that end amid a request, poisoned messages, faults at a bad moment."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient, request, subscribe, text_frame
from wsnode.broker import connected
from wsnode.config import Settings
from wsnode.node import Node
from wsnode.watch import SettingsChange


def _changed(node: Node, **changes: Any) -> SettingsChange:
    return SettingsChange(Settings(**node.settings.model_dump() | changes), "", None)


def _reset(client: socket.socket) -> None:
    """Ends a connection as a crash does: by a reset, at once."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def test_who_is_gone_before_its_subscribe_was_read_is_not_subscribed(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", node.port))
            client.sendall(request(node.port) + text_frame(subscribe("A.b")))
            _reset(client)
        await until(lambda: node.counters.connections_closed["gone"] == 20)
        await until(lambda: node._links.total == 0)
        assert len(node._channels) == 0


async def test_who_is_found_gone_while_it_subscribes_is_not_subscribed(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, worker_pool_size=65_536, max_goroutines=100_000)
    async with running_node(settings) as node:
        clients = [await WsClient.open(node.port, "A.b") for _ in range(30)]
        node.apply(_changed(node, max_broadcast_rate=20.0))
        await nats_server.publish(("A.b", b"1"))
        await until(lambda: node.counters.messages_out >= 1)
        for client in clients:
            await client.send(subscribe("A.b", "C.d"))
            _reset_transport(client)
        await until(lambda: node.connections == 0)
        node.apply(_changed(node, max_broadcast_rate=0))
        assert len(node._channels) == 0


def _reset_transport(client: WsClient) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


async def test_a_message_larger_than_a_clients_buffer_arrives_whole(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_buffer_bytes=4096, max_message_bytes=2**20)
    async with running_node(settings) as node:
        client = await WsClient.open(node.port, "A.b")
        client.transport.pause_reading()
        payload = json.dumps("x" * 700_000).encode()
        await nats_server.publish(("A.b", payload))
        await until(lambda: node._links.buffered_bytes or node.counters.slow_clients)
        client.transport.resume_reading()
        assert (await client.message())["data"] == "x" * 700_000
        await client.close()


async def test_a_budget_that_is_reached_costs_only_as_many_as_it_must(nats_server: NatsServer) -> None:
    settings = node_settings(
        nats_server.url, client_buffer_bytes=300_000, client_buffer_total_bytes=300_000, close_timeout=20
    )
    async with running_node(settings) as node:
        slow = [socket.socket() for _ in range(6)]
        for client in slow:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", node.port))
            client.sendall(request(node.port) + text_frame(subscribe("A.b")))
        await until(lambda: node.connections == 6)
        payload = json.dumps("x" * 8000).encode()
        await nats_server.publish(*(("A.b", payload) for _ in range(22)))
        await until(lambda: node.counters.slow_clients)
        await asyncio.sleep(0.3)
        assert node.counters.slow_clients == node.counters.connections_closed["slow"]
        assert node._links.buffered_bytes <= 300_000
        for client in slow:
            client.close()


@pytest.mark.parametrize(
    "poison",
    [
        b"PUB odin.token.A\xff.b 1\r\n1\r\n",
        b"HPUB odin.token.A.b 18 19\r\nNATS/1.0 \xff\xff\xff \xff\r\n\r\n1\r\n",
        b"HPUB odin.token.A.b 12 13\r\nNATS/1.0\r\n\r\n1\r\n",
        b"HPUB odin.token.A.b 18 19\r\nNATS/1.0\r\n\xff: \xfe\r\n\r\n1\r\n",
    ],
)
async def test_a_message_that_the_library_cannot_read_does_not_stop_the_feed(
    nats_server: NatsServer, poison: bytes
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        with socket.create_connection(("127.0.0.1", nats_server.port)) as raw:
            raw.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n' + poison + b"PING\r\n")
            raw.settimeout(5)
            answer = b""
            while b"PONG" not in answer:
                answer += raw.recv(4096) or b"PONG -ERR closed"
            assert b"-ERR" not in answer, answer
        await until(lambda: node.feed.position == 1, 5)
        await nats_server.publish(("A.b", b"2"))
        while (message := await client.message())["seq"] != 2:
            assert message["channel"] == "A.b"
        assert node.feed.connected
        assert node.counters.feed_reconnects == 0
        await client.close()


async def test_raising_the_limit_takes_no_client_for_a_foreign_descriptor(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_connections=100)) as node:
        before = node._door.descriptors
        clients = [await WsClient.open(node.port) for _ in range(40)]
        node.apply(_changed(node, max_connections=200))
        assert node._door.descriptors > before - 60  # the test's own 40 sockets are foreign
        for client in clients:
            await client.close()


async def test_a_raised_broadcast_rate_counts_at_once(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_broadcast_rate=0.01)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(*(("A.b", b"1") for _ in range(3)))
        await until(lambda: node.counters.messages_out)
        await nats_server.publish(*(("A.b", b"1") for _ in range(3)))
        await asyncio.sleep(0.1)
        node.apply(_changed(node, max_broadcast_rate=0))
        assert [m["seq"] for m in await client.messages(6)] == [1, 2, 3, 4, 5, 6]
        await client.close()


async def test_a_shortened_line_lets_go_what_no_longer_fits(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_broadcast_rate=0.01)) as node:
        client = await WsClient.open(node.port, "A.b")
        for number in range(3):  # two pass at once, the third waits in its round
            await nats_server.publish(("A.b", b"%d" % number))
            await until(lambda number=number: node.feed.position == number + 1)  # type: ignore[misc]
        await nats_server.publish(*(("A.b", b"1") for _ in range(40)))
        await until(lambda: node.queue_depth > 30)
        node.apply(_changed(node, worker_queue_size=5, max_broadcast_rate=0.01))
        await nats_server.publish(("A.b", b"1"))
        await until(lambda: node.feed.position == 44)
        assert node.queue_depth <= 5
        await client.close()


async def test_who_subscribes_again_still_learns_what_the_line_let_go(nats_server: NatsServer) -> None:
    """An acknowledgement raises the client's baseline: above a loss it would be silence."""
    settings = node_settings(nats_server.url, worker_queue_size=5, max_broadcast_rate=0.01)
    async with running_node(settings) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        for number in range(3):  # two pass at once, the third waits in its round
            await nats_server.publish(("A.b", b"%d" % number))
            await until(lambda number=number: node.feed.position == number + 1)  # type: ignore[misc]
        await nats_server.publish(("A.b", b"lost"), ("A.b", b"4"), *(("C.d", b"1") for _ in range(30)))
        await until(lambda: node.feed.position == 35)
        assert node.counters.dropped_broadcasts == 26
        await client.send(subscribe("A.b"))
        last, ack = 0, -1
        while ack < 0:
            message = await client.message()
            if message["type"] == "subscription_ack":
                ack = message["seq"]
            elif message["channel"] == "A.b":
                last = message["seq"]
        assert last == 3
        node.apply(_changed(node, max_broadcast_rate=0))
        await nats_server.publish(("A.b", b"5"))
        while (message := await client.message())["channel"] != "A.b":
            pass
        assert message["seq"] == 36
        assert message["prev"] > max(last, ack)
        await client.close()


async def test_who_subscribes_again_is_not_alarmed_by_what_it_has_seen(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("C.d", b"not JSON"), ("A.b", b"1"), ("C.d", b"not JSON"))
        assert (await client.message())["seq"] == 2
        await until(lambda: node.feed.position == 3)
        ack = await client.ask(subscribe("A.b", "E.f"))
        await nats_server.publish(("A.b", b"2"))
        message = await client.message()
        assert message["prev"] <= max(2, ack["seq"])
        await client.close()


async def test_a_fault_as_a_round_begins_loses_no_count_and_is_told(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_node(node_settings(nats_server.url, position_interval=1)) as node:
        client = await WsClient.open(node.port, "A.b")
        with monkeypatch.context() as patched:
            patched.setattr("wsnode.message.data_text", lambda *args: 1 / 0)
            await nats_server.publish(("A.b", b"1"))
            await until(lambda: "a round of the fan-out failed" in caplog.text)
        assert node.queue_depth == 0
        while (message := await client.any_message()).get("prev") != 1:
            assert message["type"] == "position"
        await client.close()


async def test_a_message_that_cannot_be_handled_is_shown_by_prev(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        with monkeypatch.context() as patched:
            patched.setattr("wsnode.feed_sorting.message_type", lambda wish: 1 / 0)
            await nats_server.publish(("A.b", b"1"))
            await until(lambda: node.feed.position == 1)
        await until(lambda: node.feed.connected)
        await nats_server.publish(("A.b", b"2"))
        while (message := await client.message())["type"] == "feed":
            pass
        assert (message["seq"], message["prev"]) == (2, 1)
        await client.close()


async def test_a_stream_made_anew_behind_the_nodes_back_is_noticed(nats_server: NatsServer) -> None:
    """Between the look at the stream and the making of the consumer: what comes then was never asked for."""
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b")
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["seq"] == 1
        node._ring.position = 500  # as if the stream looked at had been a longer one
        await nats_server.publish(("A.b", b"2"))
        await until(lambda: node.feed.position == 2, 5)
        kinds = [message["type"] for message in await client.messages(3)]
        assert "hello" in kinds
        await client.close()


async def test_no_jetstream_is_asked_for_at_a_slowing_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = NatsServer(tmp_path, "-c", str(tmp_path / "conf"))
    (tmp_path / "conf").write_text(
        "accounts { A: { users: [ { user: a, password: a } ] } }\nno_auth_user: a\n"
    )
    server.start()
    try:
        tries = 0

        def counted(*args: Any) -> Any:
            nonlocal tries
            tries += 1
            return connected(*args)

        monkeypatch.setattr("wsnode.feed.connected", counted)
        async with running_node(node_settings(server.url), ready=False):
            await asyncio.sleep(4)
        assert tries < 12
    finally:
        server.kill()


async def test_a_client_that_is_always_behind_but_alive_is_asked_for_a_sign_of_life(
    nats_server: NatsServer,
) -> None:
    settings = node_settings(nats_server.url, ping_interval=1, ping_timeout=2, client_buffer_bytes=2**20)
    async with running_node(settings) as node:
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)  # or megabytes stand before the ping
        own.connect(("127.0.0.1", node.port))
        client = WsClient(*await asyncio.open_connection(sock=own))
        await client.send_bytes(request(node.port) + text_frame(subscribe("A.b")))
        assert (await client.response())[0] == 101
        payload = json.dumps("x" * 8000).encode()

        async def flood(broker: Client) -> None:
            if node._links.buffered_bytes < 100_000:
                await broker.publish("odin.token.A.b", payload)
            await asyncio.sleep(0.001)

        async with nats_server.busy(flood):
            await until(lambda: node._links.buffered_bytes > 50_000)
            end = asyncio.get_running_loop().time() + 6
            while asyncio.get_running_loop().time() < end:
                await client.message()
                await asyncio.sleep(0.01)
            assert node.connections == 1
        await client.close()


async def test_a_broker_that_goes_while_the_feed_is_paused_is_told(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port)
        node._admission.paused = lambda percent: True  # type: ignore[assignment,method-assign]
        await until(lambda: node.feed.paused)
        await asyncio.sleep(0.2)
        nats_server.kill()
        assert await client.message() == {"type": "feed", "connected": False}
        assert not node.feed.connected
        assert node.ready
        await client.close()


async def test_a_position_that_rides_along_is_no_delivery(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, "A.b", "C.d")
        node._fanout.position()
        async with nats_server.client() as broker:
            await broker.publish("odin.token.A.b", b"1")
            await broker.publish("odin.token.C.d", b"1")
        await client.messages(2)
        assert (await client.any_message())["type"] == "position"
        assert node.counters.messages_out == 2
        await client.close()
