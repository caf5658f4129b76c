"""What nobody does on purpose: clients that end amid their own request."""

from __future__ import annotations

import socket
import struct
from typing import Any

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.wsclient import WsClient, request, subscribe, text_frame
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
