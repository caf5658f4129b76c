"""`/sse`: the same messages as server-sent events, and the same care at the door and at the end."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest
from nats.aio.client import Client

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.sseclient import SseClient, stream_request
from tests.support.wsclient import WsClient, request


async def test_the_answer_is_a_stream_that_nobody_stores(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await SseClient.open(node.port, Origin="https://a.example")
        assert client.head == (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"X-Accel-Buffering: no\r\nConnection: close\r\nVary: Origin\r\n"
            b"Access-Control-Allow-Origin: https://a.example\r\n\r\n"
        )
        hello = await client.event()
        assert hello is not None
        assert (hello.id, hello.message["type"], hello.message["node"]) == ("", "hello", "node-a")
        [retry] = client.retries
        assert 1000 <= retry <= 10_000
        assert node.connections == 1
        await client.close()
        await until(lambda: node.connections == 0 and node._links.total == 0)
        assert node.counters.connections_closed == {"gone": 1}


async def test_the_messages_are_those_of_the_websocket(nats_server: NatsServer) -> None:
    payloads = [b'{"price":1.50}', b'{\n "a":\r\n [1,\t2]}', '"\N{SNOWMAN}\u2028"'.encode(), b"null"]
    async with running_node(node_settings(nats_server.url, position_interval=1)) as node:
        stream = await SseClient.open(node.port, "/sse?channels=A.b,C.d")
        guest = await WsClient.open(node.port, "A.b", "C.d")
        assert (await stream.message())["type"] == "hello"
        ack = await stream.message()
        assert ack == {"type": "subscription_ack", "subscribed": ["A.b", "C.d"], "count": 2, "seq": 0}
        await nats_server.publish(*(("A.b", payload) for payload in payloads), ("C.d", b"1"))
        assert await stream.messages(5) == await guest.messages(5)
        epoch = guest.hello["epoch"]
        assert stream.last_id == f"{epoch}-5"
        event = await stream.event()
        assert event is not None
        assert event.message["type"] == "position"
        assert event.id == f"{epoch}-{event.message['seq']}"
        await stream.close()
        await guest.close()


async def test_an_eventsource_that_comes_back_goes_on_where_it_was(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        stream = await SseClient.open(node.port, "/sse?channels=A.b")
        await nats_server.publish(("A.b", b"1"), ("A.b", b"2"))
        assert [m["seq"] for m in (await stream.messages(4))[2:]] == [1, 2]
        await stream.close()
        await nats_server.publish(("A.b", b"3"), ("C.d", b"0"), ("A.b", b"4"))
        # The header counts before what the URL says, which is as old as the page.
        path = f"/sse?channels=A.b&epoch={stream.last_id.rpartition('-')[0]}&seq=0"
        again = await SseClient.open(node.port, path, Last_Event_ID=stream.last_id)
        await nats_server.publish(("A.b", b"5"))
        hello, ack, *data = await again.messages(6)
        assert hello["type"] == "hello"
        assert ack["channels"] == {"A.b": {"recovered": True}}
        assert [(m["type"], m["seq"]) for m in data if m["type"] != "caught_up"] == [
            ("price:update", 3),
            ("price:update", 5),
            ("price:update", 6),
        ]
        assert [m["channel"] for m in data if m["type"] == "caught_up"] == ["A.b"]
        await again.close()
        # An id that no node gave is no point to go on from.
        fresh = await SseClient.open(node.port, "/sse?channels=A.b", Last_Event_ID="whatever")
        assert "channels" not in (await fresh.messages(2))[1]
        await fresh.close()


async def test_origins_are_checked_and_told_apart(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, allowed_origins=("https://good.example",))
    async with running_node(settings) as node:
        page = await SseClient.open(node.port, Origin="https://GOOD.example")
        assert page.headers["access-control-allow-origin"] == "https://GOOD.example"
        assert page.headers["vary"] == "Origin"
        bad = await SseClient.connect(
            node.port, stream_request(node.port, "/sse", Origin="https://bad.example")
        )
        assert bad.status == 403
        assert "access-control-allow-origin" not in bad.headers
        assert node.counters.connections_rejected == {"origin": 1}
        program = await SseClient.open(node.port)
        assert "access-control-allow-origin" not in program.headers
        for client in (page, bad, program):
            await client.close()


async def test_a_full_node_refuses_streams_like_websockets(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, max_connections=1)) as node:
        guest = await SseClient.open(node.port)
        first = stream_request(node.port, "/sse", Origin="https://a.example")
        refused = await SseClient.connect(node.port, first)
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        # Without these a page's script sees neither the status nor when to come back.
        assert refused.headers["access-control-allow-origin"] == "https://a.example"
        assert refused.headers["access-control-expose-headers"] == "Retry-After"
        assert await refused.body() == b"no more clients now: connections\n"
        other = await WsClient.connect(node.port, request(node.port))
        assert (await other.response())[0] == 503
        assert node.counters.connections_rejected == {"connections": 2}
        for client in (guest, refused, other):
            await client.close()


@pytest.mark.parametrize("path", ["/sse", "/ws"])
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS", "DELETE"])
async def test_other_methods_are_refused(nats_server: NatsServer, method: str, path: str) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await SseClient.connect(node.port, stream_request(node.port, path, method))
        assert (client.status, client.headers["allow"]) == (405, "GET")
        assert await client.body() == (b"" if method == "HEAD" else b"only GET is answered here\n")
        assert node.counters.handshakes_failed == {"not_websocket": 1}
        await client.close()


async def test_what_a_streams_client_says_is_passed_over_within_bounds(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_rate_burst=20, close_timeout=0.5)
    async with running_node(settings) as node:
        first = stream_request(node.port, "/sse?channels=A.b") + b"GET / HTTP/1.1\r\n\r\n\x81\x80"
        client = await SseClient.connect(node.port, first)
        await client.messages(2)
        for _ in range(5):
            await client.send_bytes(b"\x88\x80\0\0\0\0" + b"x" * 5000)
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["seq"] == 1

        async def flood() -> None:
            while True:
                await client.send_bytes(b"x" * 10_000)

        with pytest.raises(ConnectionError):  # it is cut
            await flood()
        assert node.connections == 0
        assert node.counters.connections_closed == {"protocol": 1}
        await client.close()


async def test_a_drain_says_when_to_come_back_and_ends_the_stream(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, drain_delay=0)) as node:
        streams = [await SseClient.open(node.port) for _ in range(5)]
        node.start_drain(50.0)
        for stream in streams:
            await stream.ended()
        after = [stream.retries[1] for stream in streams]
        assert all(len(stream.retries) == 2 for stream in streams)
        assert all(0 <= ms <= 1000 for ms in after)
        assert len(set(after)) > 1
        assert node.drain.state == "closing"  # their own end is awaited
        for stream in streams:
            await stream.close()
        await until(lambda: node.drain.state == "drained")
        assert node.counters.connections_closed == {"drain": 5}


async def test_a_shed_and_a_shutdown_end_streams_too(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, close_timeout=0.3)) as node:
        old, new = await SseClient.open(node.port), await SseClient.open(node.port)
        await until(lambda: node.connections == 2)
        node._links.open_links()[0].opened -= 1
        node.shed("one", 1, 100.0)
        await until(lambda: node.connections == 1)
        node.drain_control.cut()
        for stream in (old, new):
            await stream.ended()
            await stream.close()
        assert sorted(len(stream.retries) for stream in (old, new)) == [1, 2]
        await until(lambda: node._links.total == 0)
        assert node.counters.connections_closed == {"shed": 1, "shutdown": 1}


async def test_a_stream_that_is_not_read_is_cut_and_the_others_go_on(nats_server: NatsServer) -> None:
    settings = node_settings(nats_server.url, client_buffer_bytes=32_768, close_timeout=0.5)
    async with running_node(settings) as node:
        reader = await SseClient.open(node.port, "/sse?channels=A.b")
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", node.port))
        slow.sendall(stream_request(node.port, "/sse?channels=A.b"))
        await until(lambda: node.connections == 2)
        reading = asyncio.create_task(reader.messages(62))
        payload = json.dumps("x" * 8000).encode()
        sent: list[int] = []
        for _ in range(30):  # few at a time: who reads does so in this very loop
            sent += await nats_server.publish(*(("A.b", payload) for _ in range(2)))
            await asyncio.sleep(0.02)
        assert [m["seq"] for m in (await reading)[2:]] == sent
        await until(lambda: node.counters.slow_clients == 1)
        assert node.counters.connections_closed == {"slow": 1}
        await until(lambda: node._links.total == 1)
        assert node._links.buffered_bytes == 0
        slow.close()
        await reader.close()


async def test_who_reads_late_but_in_time_gets_all_and_then_the_end(nats_server: NatsServer) -> None:
    """What waits in the buffer comes before the end; the stream is half-closed only behind it."""
    settings = node_settings(nats_server.url, client_buffer_bytes=2**20, close_timeout=20, drain_delay=0)
    async with running_node(settings) as node:
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.connect(("127.0.0.1", node.port))
        stream = SseClient(*await asyncio.open_connection(sock=own, limit=2**20))
        await stream.send_bytes(stream_request(node.port, "/sse?channels=A.b"))
        await until(lambda: node.connections == 1)
        stream.transport.pause_reading()
        payload = json.dumps("x" * 60_000).encode()
        await nats_server.publish(*(("A.b", payload) for _ in range(8)))
        await until(lambda: node._links.buffered_bytes > 60_000)
        node.start_drain(100.0)
        await until(lambda: node.connections == 0)
        stream.transport.resume_reading()
        body = await stream.body()
        assert body.count(b'"type":"price:update"') == 8
        assert body.endswith(b"\n\n")
        assert body.rpartition(b"retry: ")[2].strip().isdigit()
        await stream.close()


async def test_a_stream_whose_client_can_answer_nothing_lives_on(nats_server: NatsServer) -> None:
    """Its kernel acknowledges the comments: that is the sign of life."""
    settings = node_settings(nats_server.url, ping_interval=1, ping_timeout=2, position_interval=300)
    async with running_node(settings) as node:
        stream = await SseClient.open(node.port)
        started = time.monotonic()
        reading = asyncio.create_task(stream.ended())
        while time.monotonic() - started < 5:
            assert node.connections == 1
            await asyncio.sleep(0.1)
        assert stream.comments >= 3
        assert node.counters.pings >= 3
        reading.cancel()
        await stream.close()


async def test_a_stream_that_is_always_behind_but_moves_lives_on(nats_server: NatsServer) -> None:
    """Something is always under way to it: what its kernel acknowledges counts, not what is still missing."""
    settings = node_settings(nats_server.url, ping_interval=1, ping_timeout=2, client_buffer_bytes=2**20)
    async with running_node(settings) as node:
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        own.connect(("127.0.0.1", node.port))
        stream = SseClient(*await asyncio.open_connection(sock=own))
        await stream.send_bytes(stream_request(node.port, "/sse?channels=A.b"))
        payload = json.dumps("x" * 8000).encode()
        behind = 0

        async def flood(broker: Client) -> None:
            nonlocal behind
            if node._links.buffered_bytes < 100_000:
                await broker.publish("odin.token.A.b", payload)
            behind += bool(node._links.buffered_bytes)
            await asyncio.sleep(0.001)

        async with nats_server.busy(flood):
            await until(lambda: node._links.buffered_bytes > 50_000)
            end = asyncio.get_running_loop().time() + 6
            while asyncio.get_running_loop().time() < end:
                await stream._reader.readexactly(8192)
                await asyncio.sleep(0.01)
            assert node.connections == 1
        assert behind > 100
        await stream.close()
