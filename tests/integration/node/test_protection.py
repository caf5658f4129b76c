"""One client's trouble stays its own: slow readers, vanished peers, full lines, reused descriptors."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient, request, subscribe, text_frame
from wsnode.config import Settings
from wsnode.node import Node
from wsnode.watch import SettingsChange


def _small_window(port: int, channel: str) -> socket.socket:
    """A client that subscribes and then reads nothing, with little room in its own kernel."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(request(port) + text_frame(subscribe(channel)))
    return client


async def test_a_client_that_does_not_read_is_cut_and_the_others_go_on(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_buffer_bytes=32_768, close_timeout=0.5)
    async with running_node(settings) as node:
        reader = await WsClient.open(node.port, "A.b")
        slow = _small_window(node.port, "A.b")
        await until(lambda: node.connections == 2)
        reading = asyncio.create_task(reader.messages(60))
        payload = json.dumps("x" * 8000).encode()
        sent = await nats_server.publish(*(("A.b", payload) for _ in range(60)))
        assert [m["seq"] for m in await reading] == sent
        await until(lambda: node.counters.slow_clients == 1)
        assert node.connections == 1
        assert node.counters.connections_closed == {"slow": 1}
        await until(lambda: node._links.total == 1)  # its descriptor is free, though it never answered
        assert node._links.buffered_bytes == 0
        slow.close()
        await reader.close()


async def test_a_client_that_reads_late_but_in_time_is_told_why_it_goes(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_buffer_bytes=200_000, close_timeout=20)
    async with running_node(settings) as node:
        client = await WsClient.open(node.port, "A.b")
        client.transport.pause_reading()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        payload = json.dumps("x" * 50_000).encode()
        for _ in range(20):
            await nats_server.publish(*(("A.b", payload) for _ in range(10)))
            if node.counters.slow_clients:
                break
        client.transport.resume_reading()
        closed = await client.closed()
        assert (closed.code, closed.reason) == (1008, "too slow: messages were not read in time")
        await client.close()


async def test_all_buffers_together_have_one_budget(nats_server: NatsServer) -> None:
    settings = node_settings(
        nats_server.url, client_buffer_bytes=300_000, client_buffer_total_bytes=300_000, close_timeout=0.5
    )
    async with running_node(settings) as node:
        slow = [_small_window(node.port, "A.b") for _ in range(6)]
        await until(lambda: node.connections == 6)
        payload = json.dumps("x" * 8000).encode()
        await nats_server.publish(*(("A.b", payload) for _ in range(40)))
        await until(lambda: node.counters.slow_clients)
        await until(lambda: node._links.buffered_bytes <= 300_000)
        for client in slow:
            client.close()


@pytest.mark.parametrize("full", [False, True])
async def test_a_peer_that_vanished_is_freed(nats_server: NatsServer, full: bool) -> None:
    settings = node_settings(nats_server.url, ping_interval=1, ping_timeout=2)
    async with running_node(settings) as node:
        alive = await WsClient.open(node.port)
        answering = asyncio.create_task(alive.message())
        vanished = _small_window(node.port, "A.b")
        await until(lambda: node.connections == 2)
        if full:
            payload = json.dumps("x" * 8000).encode()
            await nats_server.publish(*(("A.b", payload) for _ in range(20)))
            await until(lambda: node._links.buffered_bytes)
        await until(lambda: node.connections == 1, 6)
        assert node.counters.connections_closed == {"timeout": 1}
        assert node._links.buffered_bytes == 0
        assert node.counters.pings >= 2
        answering.cancel()
        vanished.close()
        await alive.close()


async def test_what_the_full_line_lets_go_is_counted_and_shown_by_prev(nats_server: NatsServer) -> None:
    settings = node_settings(
        nats_server.url, worker_queue_size=10, max_broadcast_rate=100, position_interval=1
    )
    async with running_node(settings) as node:
        client = await WsClient.open(node.port, "A.b")
        async with nats_server.client() as broker:
            for number in range(200):
                await broker.publish("odin.token.A.b", b"%d" % number)
        last, told, got = 0, 0, 0
        while last < 200:
            message = await client.any_message()
            if message["type"] == "position":
                told = max(told, message.get("prev", 0))
                continue
            assert message["seq"] > last
            assert message["prev"] >= last
            if message["prev"] > last:
                told = max(told, message["prev"])
            else:
                assert message["seq"] == last + 1 or message["prev"] == last
            last, got = message["seq"], got + 1
        assert node.counters.dropped_broadcasts == 200 - got > 0
        assert told > 0
        await client.close()


async def test_a_backlog_is_asked_for_no_faster_than_the_line_takes_it(nats_server: NatsServer) -> None:
    await nats_server.create_stream()
    settings = node_settings(nats_server.url, worker_queue_size=50, max_broadcast_rate=4000)
    async with running_node(settings) as node:
        client = await WsClient.open(node.port, "A.b")
        nats_server.kill()
        await until(lambda: not node.feed.connected)
        assert await client.message() == {"type": "feed", "connected": False}
        late = await WsClient.open(node.port)
        assert await late.message() == {"type": "feed", "connected": False}
        node._admission.paused = lambda percent: True  # type: ignore[assignment,method-assign]
        node.feed_reader.pause(True)
        nats_server.start()
        sent = await nats_server.publish(*(("A.b", b"1") for _ in range(1500)))
        node._admission.paused = lambda percent: False  # type: ignore[assignment,method-assign]
        got = [m for m in await client.messages(1501) if m["type"] != "feed"]
        assert [m["seq"] for m in got] == sent
        assert node.counters.dropped_broadcasts == 0
        await client.close()
        await late.close()


async def test_who_unsubscribes_amid_a_broadcast_gets_nothing_after_the_answer(
    nats_server: NatsServer,
) -> None:
    settings = node_settings(nats_server.url, worker_pool_size=65_536, max_goroutines=100_000)
    async with running_node(settings) as node:
        clients = [await WsClient.open(node.port, "A.b") for _ in range(60)]
        node.apply(_changed(node, max_broadcast_rate=40.0))
        await nats_server.publish(("A.b", b"1"))
        await until(lambda: node.counters.messages_out >= 2)
        for client in clients:
            await client.send({"type": "unsubscribe", "data": {"channels": ["A.b"]}})
            await client.send(subscribe("A.b"))
        node.apply(_changed(node, max_broadcast_rate=0))
        await nats_server.publish(("A.b", b"2"))
        for client in clients:
            kinds = [(m["type"], m.get("seq")) for m in await client.messages(4)]
            assert kinds == [
                ("price:update", 1),
                ("unsubscription_ack", None),
                ("subscription_ack", 1),
                ("price:update", 2),
            ]
        assert node.counters.messages_out == 120
        for client in clients:
            await client.close()


def _changed(node: Node, **changes: Any) -> SettingsChange:
    return SettingsChange(Settings(**node.settings.model_dump() | changes), "", None)


async def test_a_fault_of_the_nodes_own_costs_the_one_client_that_met_it(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        unlucky, other = await WsClient.open(node.port, "A.b"), await WsClient.open(node.port, "A.b")
        with monkeypatch.context() as patched:
            patched.setattr(node._sessions, "_message", lambda link, payload: 1 / 0)
            await unlucky.send({"type": "heartbeat"})
            assert (await unlucky.closed()).code == 1011
        with monkeypatch.context() as patched:
            patched.setattr("wsnode.fanout.Preparation", lambda *args: 1 / 0)
            await nats_server.publish(("A.b", b"1"))
            await until(lambda: "a round of the fan-out failed" in caplog.text)
        await nats_server.publish(("A.b", b"2"))
        message = await other.message()
        assert (message["seq"], message["prev"]) == (2, 1)
        await unlucky.close()
        await other.close()


async def test_a_broadcast_rate_paces_frames(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, max_broadcast_rate=100)
    async with running_node(settings) as node:
        clients = [await WsClient.open(node.port, "A.b") for _ in range(10)]
        started = asyncio.get_running_loop().time()
        await nats_server.publish(*(("A.b", b"1") for _ in range(12)))
        for client in clients:
            await client.messages(12)
        assert asyncio.get_running_loop().time() - started > 0.7
        assert node.counters.messages_out == 120
        for client in clients:
            await client.close()


async def test_a_reused_descriptor_never_gets_anothers_frame(nats_server: NatsServer) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    async with running_node(node_settings(nats_server.url)) as node:
        stop = asyncio.Event()

        async def broadcast() -> None:
            async with nats_server.client() as broker:
                number = 0
                while not stop.is_set():
                    for channel in range(8):
                        await broker.publish(f"odin.token.C{channel}.x", b"%d" % number)
                    number += 1
                    await asyncio.sleep(0.001)

        async def visit(channel: int) -> int:
            visits = 0
            while visits < 25:
                client = await WsClient.open(node.port, f"C{channel}.x")
                for message in await client.messages(source.randrange(1, 6)):
                    assert message["channel"] == f"C{channel}.x"
                if source.random() < 0.3:
                    await client.send({"type": "unsubscribe", "data": {"channels": [f"C{channel}.x"]}})
                if source.random() < 0.5:
                    client.transport.abort()
                await client.close()
                visits += 1
            return visits

        publishing = asyncio.create_task(broadcast())
        visits = await asyncio.gather(*(visit(index % 8) for index in range(32)))
        stop.set()
        await publishing
        assert sum(visits) == 32 * 25
        await until(lambda: node.connections == 0 and node._links.total == 0)
        assert len(node._channels) == 0
        # All that is left are the node's own: numbers were reused, none leaked.
        assert sum(1 for _ in Path("/proc/self/fd").iterdir()) < 100


async def test_a_client_that_talks_all_the_time_does_not_hold_up_the_others(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        loud = await WsClient.open(node.port)
        quiet = await WsClient.open(node.port)

        async def shout() -> None:
            data = text_frame({"type": "heartbeat"}) * 2000
            while True:
                await loud.send_bytes(data)

        async def listen() -> None:
            while True:
                await loud.frame()

        tasks = [asyncio.create_task(shout()), asyncio.create_task(listen())]
        for _ in range(20):
            assert (await quiet.ask({"type": "heartbeat"}))["type"] == "pong"
            await asyncio.sleep(0.11)
        assert node.counters.rate_limited > 1000
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await loud.close()
        await quiet.close()
