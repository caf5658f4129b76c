"""Clients that offer compression: what is agreed, what they get, and what they may send."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import CLOSE, TEXT, WsClient, client_frame, request, subscribe
from wsnode.config import Settings
from wsnode.watch import SettingsChange

CHROME = "permessage-deflate; client_max_window_bits"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TICK = json.dumps({f"field{number}": number * 1.25 for number in range(60)}).encode()


def _deflated(message: Any) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def _agreed(port: int, path: str = "/ws", **headers: str) -> str | None:
    client = await WsClient.connect(port, request(port, path, **headers))
    status, answer, _ = await client.response()
    await client.close()
    assert status == 101
    return answer.get("sec-websocket-extensions")


async def test_compression_is_agreed_where_the_client_and_the_fleet_want_it(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        assert await _agreed(node.port) is None
        assert await _agreed(node.port, Sec_WebSocket_Extensions=CHROME) == ANSWER
        # By the library's reading of the request as well as by the short one.
        assert await _agreed(node.port, Sec_WebSocket_Extensions=CHROME, Upgrade="h2c, websocket") == ANSWER
        insisting = "permessage-deflate; server_max_window_bits=10"
        assert await _agreed(node.port, Sec_WebSocket_Extensions=insisting) is None
        for query in ("deflate=0", "channels=A.b&deflate=false", "deflate=0&seq=1"):
            assert await _agreed(node.port, f"/ws?{query}", Sec_WebSocket_Extensions=CHROME) is None
        for query in ("deflate=1", "xdeflate=0", "channels=deflate.x"):
            assert await _agreed(node.port, f"/ws?{query}", Sec_WebSocket_Extensions=CHROME) == ANSWER
        off = Settings(**node.settings.model_dump() | {"deflate": False})
        node.apply(SettingsChange(off, "", None))
        assert await _agreed(node.port, Sec_WebSocket_Extensions=CHROME) is None


@pytest.mark.parametrize("path", ["/ws", "/ws?deflate=0"])
async def test_a_malformed_offer_fails_the_handshake(nats_server: NatsServer, path: str) -> None:
    """RFC 6455, section 9.1."""
    async with running_node(node_settings(nats_server.url)) as node:
        first = request(node.port, path, Sec_WebSocket_Extensions="permessage-deflate; =1")
        client = await WsClient.connect(node.port, first)
        assert (await client.response())[0] == 400
        await client.ended()
        await client.close()


async def _frame(client: WsClient) -> tuple[bool, dict[str, Any], int]:
    """The next message that is no position: whether it was compressed, and its bytes on the wire."""
    while True:
        head = await client._reader.readexactly(2)
        assert head[0] in (0x81, 0xC1)
        size = head[1]
        if size == 126:
            size = int.from_bytes(await client._reader.readexactly(2), "big")
        payload = await client._reader.readexactly(size)
        if head[0] == 0xC1:
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")
        message: dict[str, Any] = json.loads(payload)
        if message["type"] != "position":
            return head[0] == 0xC1, message, size


async def test_each_gets_the_same_messages_in_its_own_form(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        plain = await WsClient.open(node.port, "A.b")
        compressed = await WsClient.open(node.port, "A.b", Sec_WebSocket_Extensions=CHROME)
        await nats_server.publish(("A.b", TICK), ("A.b", b"1"), ("A.b", TICK))
        for expected in (True, False, True):
            message = await plain.message()
            was_compressed, same, size = await _frame(compressed)
            assert was_compressed is expected
            assert same == message
            assert size < 0.72 * len(TICK)
        await plain.close()
        await compressed.close()


async def test_what_a_client_compresses_is_read(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, Sec_WebSocket_Extensions=CHROME)
        await client.send_bytes(client_frame(TEXT, _deflated(subscribe("A.b")), bits=0x40))
        assert (await client.message())["subscribed"] == ["A.b"]
        await client.send({"type": "heartbeat"})  # plain is allowed at any time
        assert (await client.message())["type"] == "pong"
        await client.close()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (_deflated(b'"' + b"x" * 65_534 + b'"'), None),  # as large as allowed
        (_deflated(b'"' + b"x" * 65_535 + b'"'), 1009),
        (_deflated(b"\0" * 60_000_000), 1009),
        (_deflated(b"\xff\xfe"), 1007),
        (b"\xff\xff\xff", 1007),
    ],
)
async def test_the_limit_counts_after_inflation(
    nats_server: NatsServer, payload: bytes, code: int | None
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        client = await WsClient.open(node.port, Sec_WebSocket_Extensions=CHROME)
        await client.send_bytes(client_frame(TEXT, payload, bits=0x40))
        opcode, data = await client.frame()
        if code is None:
            assert (opcode, json.loads(data)["code"]) == (TEXT, "INVALID_MESSAGE")
        else:
            assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, code)
        await client.close()


@pytest.mark.parametrize(
    "factory", [{}, {"server_max_window_bits": 15}, {"server_no_context_takeover": True}]
)
async def test_the_websockets_library_gets_all_of_it(
    nats_server: NatsServer, factory: dict[str, Any]
) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        extensions = [ClientPerMessageDeflateFactory(**factory)]
        url = f"ws://127.0.0.1:{node.port}/ws"
        async with connect(url, extensions=extensions, compression=None) as client:
            assert json.loads(await client.recv())["type"] == "hello"
            await client.send(json.dumps(subscribe("A.b")))
            assert json.loads(await client.recv())["type"] == "subscription_ack"
            sent = await nats_server.publish(*(("A.b", TICK if n % 3 else b"1") for n in range(60)))
            got: list[dict[str, Any]] = []
            while len(got) < len(sent):
                message = json.loads(await client.recv())
                got += [message] if message["type"] != "position" else []
            assert [message["seq"] for message in got] == sent
            assert all(message["data"] == json.loads(TICK) for n, message in enumerate(got) if n % 3)
            assert client.protocol.extensions


async def test_a_compressed_frame_without_agreement_ends_the_connection(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url, deflate=False)) as node:
        client = await WsClient.open(node.port, Sec_WebSocket_Extensions=CHROME)
        await client.send_bytes(client_frame(TEXT, _deflated(b"{}"), bits=0x40))
        assert (await client.closed()).code == 1002
        await client.close()


async def test_compressed_clients_resume_and_are_told_control_messages(nats_server: NatsServer) -> None:
    async with running_node(node_settings(nats_server.url)) as node:
        first = await WsClient.open(node.port)
        await nats_server.publish(("A.b", TICK), ("A.b", TICK))
        await until(lambda: node.feed.position == 2)
        path = f"/ws?channels=A.b&epoch={first.hello['epoch']}&seq=0"
        client = await WsClient.open(node.port, path=path, Sec_WebSocket_Extensions=CHROME)
        assert (await client.message())["type"] == "subscription_ack"
        frames = [await asyncio.wait_for(_frame(client), 10) for _ in range(3)]
        assert [(packed, m["type"], m["seq"]) for packed, m, _ in frames] == [
            (True, "price:update", 1),
            (True, "price:update", 2),
            (False, "caught_up", 2),
        ]
        await first.close()
        await client.close()
