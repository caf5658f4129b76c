"""TLS ended in the node: the same conversation, handshakes that are none, and ends said properly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.tls import RSA, Files, Peer, SecureClient, make_files, trusting
from tests.support.wsclient import request, subscribe, text_frame
from wsnode.link import HANDSHAKE
from wsnode.node import Node
from wsnode.secure_links import SecureLink, SecureLinks


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("tls"))


def _secure(nats: NatsServer, files: Files, **changes: Any) -> Any:
    return node_settings(nats.url, **files.settings, **changes)


def _socket(node: Node, files: Files, **versions: ssl.TLSVersion) -> ssl.SSLSocket:
    """A plain program's TLS connection."""
    raw = socket.create_connection(("127.0.0.1", node.port), timeout=10)
    return trusting(files, **versions).wrap_socket(raw, server_hostname="localhost")


def _get(node: Node, files: Files, path: str) -> bytes:
    with _socket(node, files) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = b""
        while data := client.recv(65_536):
            received += data
        return received


async def _dial(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection."""
    return await asyncio.open_connection("127.0.0.1", node.port)


async def _shaken(peer: Peer, reader: asyncio.StreamReader) -> bytes:
    """Takes the node's part of the handshake; the client's last."""
    while not (answer := peer.took(await asyncio.wait_for(reader.read(65_536), 10))):
        pass
    return answer


def _links(node: Node) -> SecureLinks:
    assert isinstance(node._links, SecureLinks)
    return node._links


def _shaken_links(node: Node) -> list[SecureLink]:
    links = node._links.with_state(HANDSHAKE)
    return [link for link in links if isinstance(link, SecureLink) and link.shaken]


@pytest.mark.parametrize("kind", ["plain", "deflate"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_librarys_client_gets_its_messages(
    nats_server: NatsServer, files: Files, kind: str, version: ssl.TLSVersion
) -> None:
    async with running_node(_secure(nats_server, files, client_buffer_bytes=2**24)) as node:
        context = trusting(files, minimum_version=version, maximum_version=version)
        compression: Any = "deflate" if kind == "deflate" else None
        address = f"wss://localhost:{node.port}/ws?channels=A.b"
        async with connect(address, ssl=context, compression=compression, proxy=None) as client:
            assert client.transport.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
            assert json.loads(await client.recv())["type"] == "hello"
            assert json.loads(await client.recv())["type"] == "subscription_ack"
            payloads = [{"n": n, "text": "x" * n * 300} for n in range(200)]
            for payload in payloads:
                await nats_server.publish(("A.b", json.dumps(payload).encode()))
            received: list[Any] = []
            while len(received) < len(payloads):
                message = json.loads(await client.recv())
                if message["type"] == "price:update":
                    received.append(message["data"])
            assert received == payloads
            await client.send(json.dumps({"type": "heartbeat"}))
            while (answer := json.loads(await client.recv()))["type"] == "position":
                pass
            assert answer["type"] == "pong"
        assert client.close_code == 1000
        await until(lambda: node._links.total == 0)
        assert node.counters.connections_closed == {"client": 1}


async def test_health_and_streams_of_events_are_served(nats_server: NatsServer, files: Files) -> None:
    async with running_node(_secure(nats_server, files)) as node:
        answer = await asyncio.to_thread(_get, node, files, "/health")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'{"healthy":true}')
        stream = await SecureClient.of(trusting(files)).connect(
            node.port, b"GET /sse?channels=A.b HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        await until(lambda: node.connections == 1)
        await nats_server.publish(("A.b", b'"here"'))
        seen = b""
        while b'"here"' not in seen:
            seen += await stream._reader.read(65_536)
        node.start_drain(1000)
        while not stream._reader.at_eof():
            await stream._reader.read(65_536)
        await until(lambda: node._links.total == 0)


async def test_a_refusal_is_told_until_the_feed_pauses_and_then_costs_no_handshake(
    nats_server: NatsServer, files: Files
) -> None:
    settings = _secure(nats_server, files, cpu_reject_threshold=75, cpu_pause_threshold=80)
    async with running_node(settings) as node:
        node._gauges.cpu.sample = lambda now: 0.0  # type: ignore[method-assign]
        node._gauges.cpu.percent = 78.0
        await until(lambda: not node.healthy)
        answer = await asyncio.to_thread(_get, node, files, "/ws?channels=A.b")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        assert b'{"healthy":false}' in await asyncio.to_thread(_get, node, files, "/health")
        node._gauges.cpu.percent = 90.0
        await until(lambda: node.feed.paused)
        before = node.counters.connections_rejected["cpu"]
        reader, writer = await _dial(node)
        assert await asyncio.wait_for(reader.read(), 10) == b""  # before it said a word
        writer.close()
        assert node.counters.connections_rejected["cpu"] == before + 1
        node._gauges.cpu.percent = 10.0
        await until(lambda: not node.feed.paused)
        assert (await asyncio.to_thread(_get, node, files, "/health")).startswith(b"HTTP/1.1 200 ")


async def test_only_http_1_1_is_offered_and_old_versions_are_refused(
    nats_server: NatsServer, files: Files
) -> None:
    async with running_node(_secure(nats_server, files, tls_min_version="1.3")) as node:

        def negotiate() -> str | None:
            context = trusting(files)
            context.set_alpn_protocols(["h2", "http/1.1"])
            raw = socket.create_connection(("127.0.0.1", node.port), timeout=10)
            with context.wrap_socket(raw, server_hostname="localhost") as client:
                return client.selected_alpn_protocol()

        assert await asyncio.to_thread(negotiate) == "http/1.1"
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(_socket, node, files, maximum_version=ssl.TLSVersion.TLSv1_2)
        await until(lambda: node.counters.handshakes_failed == {"tls": 1})


async def test_plain_http_is_told_what_this_port_speaks(nats_server: NatsServer, files: Files) -> None:
    async with running_node(_secure(nats_server, files)) as node:
        reader, writer = await _dial(node)
        writer.write(request(node.port))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"this port speaks TLS: use wss:// or https://\n")
        assert node.counters.handshakes_failed == {"plain_http": 1}
        writer.close()
        await until(lambda: node._links.total == 0)


GARBAGE = {
    "noise": bytes(range(256)) * 4,
    "zeros": bytes(2048),
    "an empty record": bytes.fromhex("1603010000"),
    "a record that is too long": bytes.fromhex("160301ffff") + bytes(8192),
    "data before the handshake": bytes.fromhex("1703030010") + bytes(16),
    "an alert": bytes.fromhex("15030300020228"),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_what_is_no_handshake_is_let_go_and_harms_nobody(
    nats_server: NatsServer, files: Files, name: str
) -> None:
    async with running_node(_secure(nats_server, files, handshake_timeout=0.5, close_timeout=0.3)) as node:
        client = await SecureClient.of(trusting(files)).open(node.port, "A.b")
        reader, writer = await _dial(node)
        writer.write(GARBAGE[name])
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await until(lambda: node._links.total == 1)
        assert sum(node.counters.handshakes_failed.values()) == 1
        await nats_server.publish(("A.b", b"1"))
        assert (await client.message())["data"] == 1
        await client.close()


async def test_silent_and_dripping_handshakes_end_at_their_deadline(
    nats_server: NatsServer, files: Files
) -> None:
    async with running_node(_secure(nats_server, files, handshake_timeout=0.5, close_timeout=0.3)) as node:
        silent, silent_writer = await _dial(node)
        dripping, writer = await _dial(node)
        half, half_writer = await _dial(node)
        half_writer.write(Peer(trusting(files)).hello())  # and never the answer to the node's

        async def drip() -> None:
            for byte in Peer(trusting(files)).hello():
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripper = asyncio.create_task(drip())
        assert await asyncio.wait_for(silent.read(), 10) == b""
        assert await asyncio.wait_for(dripping.read(), 10) == b""
        await asyncio.wait_for(half.read(), 10)
        await until(lambda: node._links.total == 0)
        assert node.counters.handshakes_failed == {"too_late": 3}
        dripper.cancel()
        for each in (silent_writer, writer, half_writer):
            each.close()


async def test_a_byte_at_a_time_is_a_handshake_and_a_conversation(
    nats_server: NatsServer, files: Files
) -> None:
    async with running_node(_secure(nats_server, files)) as node:
        peer = Peer(trusting(files))
        reader, writer = await _dial(node)

        async def drip(data: bytes) -> None:
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

        await drip(peer.hello())
        await drip(await _shaken(peer, reader))
        await drip(peer.sealed(request(node.port) + text_frame(subscribe("A.b"))))
        seen = b""
        while b"subscription_ack" not in seen:
            seen += peer.plain(await reader.read(3))
        writer.close()
        await until(lambda: node._links.total == 0)


async def test_close_notify_ends_a_connection_with_the_same(nats_server: NatsServer, files: Files) -> None:
    async with running_node(_secure(nats_server, files)) as node:

        def leave() -> bytes:
            with _socket(node, files) as client:
                client.sendall(request(node.port))
                while b"hello" not in client.recv(65_536):
                    pass
                raw = client.unwrap()  # raises where the node ends without its own
                try:
                    return raw.recv(1)
                finally:
                    raw.close()

        assert await asyncio.to_thread(leave) == b""
        await until(lambda: node._links.total == 0)
        assert node.counters.connections_closed == {"gone": 1}


async def test_what_is_sent_before_a_half_close_is_answered(nats_server: NatsServer, files: Files) -> None:
    async with running_node(_secure(nats_server, files)) as node:
        peer = Peer(trusting(files))
        reader, writer = await _dial(node)
        writer.write(peer.hello())
        answer = await _shaken(peer, reader)
        said = answer + peer.sealed(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.unwrap()
        writer.write(said + peer.outgoing.read())
        writer.write_eof()
        received = await reader.read()
        assert peer.plain(received).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await until(lambda: node._links.total == 0)


async def test_a_damaged_record_ends_only_its_connection(nats_server: NatsServer, files: Files) -> None:
    async with running_node(_secure(nats_server, files)) as node:
        other = await SecureClient.of(trusting(files)).open(node.port, "A.b")
        peer = Peer(trusting(files))
        reader, writer = await _dial(node)
        writer.write(peer.hello())
        answer = await _shaken(peer, reader)
        writer.write(answer + peer.sealed(request(node.port)))
        seen = b""
        while b"hello" not in seen:
            seen += peer.plain(await reader.read(65_536))
        good = peer.sealed(text_frame(subscribe("A.b")))
        writer.write(good[:-1] + bytes([good[-1] ^ 1]))
        rest = await asyncio.wait_for(reader.read(), 10)
        with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
            peer.plain(rest)
        writer.close()
        assert node.counters.connections_closed == {"protocol": 1}
        await nats_server.publish(("A.b", b"1"))
        assert (await other.message())["data"] == 1
        await other.close()


async def test_who_does_not_read_is_bounded_and_told_to_go(nats_server: NatsServer, files: Files) -> None:
    settings = _secure(nats_server, files, client_buffer_bytes=65_536, close_timeout=0.5)
    async with running_node(settings) as node:
        slow = await SecureClient.of(trusting(files)).open(node.port, "A.b")
        slow.transport.pause_reading()
        reading = await SecureClient.of(trusting(files)).open(node.port, "A.b")
        payload = json.dumps("x" * 30_000).encode()
        most = 0
        while not node.counters.slow_clients:
            await nats_server.publish(("A.b", payload))
            assert (await reading.message())["data"] == "x" * 30_000
            most = max(most, node._links.buffered_bytes)
        assert 0 < most <= 65_536 + 30_500
        await until(lambda: node._links.total == 1)
        assert node._links.buffered_bytes == 0
        slow.transport.abort()
        assert _links(node)._outgoing.pending == 0
        await reading.close()


async def test_who_reads_on_gets_all_that_waited_and_the_goodbye(
    nats_server: NatsServer, files: Files
) -> None:
    settings = _secure(nats_server, files, client_buffer_bytes=2**20)
    async with running_node(settings) as node:
        slow = await SecureClient.of(trusting(files)).open(node.port, "A.b")
        slow.transport.pause_reading()
        count = 0
        while not node._links.buffered_bytes:
            await nats_server.publish(("A.b", json.dumps([count, "x" * 50_000]).encode()))
            count += 1
            await asyncio.sleep(0.005)
        for _ in range(5):
            await nats_server.publish(("A.b", json.dumps([count, "x" * 50_000]).encode()))
            count += 1
        await until(lambda: node.counters.messages_out == count)
        assert node._links.behind
        slow.transport.resume_reading()
        assert [(await slow.message())["data"][0] for _ in range(count)] == list(range(count))
        assert node._links.buffered_bytes == 0
        node.start_drain(100)
        closed = await slow.closed()
        assert (closed.code, closed.reason[:16]) == (1012, "reconnect;after=")
        await until(lambda: node._links.total == 0)


async def test_renegotiation_is_refused(nats_server: NatsServer, files: Files, tmp_path: Path) -> None:
    async with running_node(_secure(nats_server, files)) as node:
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{node.port}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin is not None
        await until(lambda: _shaken_links(node))
        process.stdin.write(b"R\n")  # s_client's command to ask for it
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert b"RENEGOTIATING" in output
        assert b"no renegotiation" in output


async def test_new_keys_are_taken_and_a_flood_of_them_is_held_back(
    nats_server: NatsServer, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsnode.secure_links.UNSAID_BYTES", 100)
    async with running_node(_secure(nats_server, files)) as node:
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{node.port}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        await until(lambda: _shaken_links(node))
        (link,) = _shaken_links(node)
        link.unsaid = 0
        for _ in range(5):
            process.stdin.write(b"K\n")  # s_client's command for a KeyUpdate that asks for one
            await asyncio.wait_for(process.stdout.readuntil(b"KEYUPDATE"), 10)
        await until(lambda: link.resting)
        await until(lambda: not link.resting)
        process.stdin.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert b'{"healthy":true}' in output


async def test_pings_keep_a_client_and_silence_ends_it(nats_server: NatsServer, files: Files) -> None:
    settings = _secure(nats_server, files, ping_interval=1, ping_timeout=2)
    async with running_node(settings) as node:
        client = await SecureClient.of(trusting(files)).open(node.port)
        gone = await SecureClient.of(trusting(files)).open(node.port)
        gone.transport.pause_reading()
        answering = asyncio.create_task(client.message())
        await until(lambda: node.counters.connections_closed["timeout"] == 1)
        assert node.connections == 1
        answering.cancel()
        for each in (client, gone):
            each.transport.abort()


async def test_rsa_serves_too(nats_server: NatsServer, tmp_path: Path) -> None:
    files = make_files(tmp_path, kind=RSA)
    async with running_node(_secure(nats_server, files)) as node:
        client = await SecureClient.of(trusting(files)).open(node.port, "A.b")
        await client.close()


async def test_a_drain_tells_a_librarys_client(nats_server: NatsServer, files: Files) -> None:
    async with running_node(_secure(nats_server, files)) as node:
        context = trusting(files)
        client = await connect(f"wss://localhost:{node.port}/ws", ssl=context, proxy=None)
        node.start_drain(1000)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.recv()
        assert client.close_code == 1012
        await until(lambda: node._links.total == 0)
