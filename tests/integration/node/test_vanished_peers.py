"""Peers that vanish without a FIN: freed within ping interval + timeout, whatever waits for them.

The clients are on a machine of their own, whose cable is pulled. Skipped where none can be made.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats import NatsServer
from tests.support.netns import PeerMachine, peer_machine
from tests.support.node import node_settings, running_node, until
from tests.support.sseclient import SseClient, stream_request
from tests.support.wsclient import request, subscribe, text_frame
from wsnode.node import Node

INTERVAL, TIMEOUT = 1.0, 2.0
PAYLOAD = json.dumps("x" * 8000).encode()


@pytest.fixture
def peers() -> Iterator[PeerMachine]:
    """A machine for clients that will vanish."""
    with peer_machine() as machine:
        yield machine


def _kernel_holds(port: int) -> list[str]:
    """States of the kernel's sockets on the client port, but for the listener and those that are done."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if int(local.rpartition(":")[2], 16) == port and state not in ("0A", "06"):  # LISTEN, TIME_WAIT
                found.append(state)
    return found


def _opened(peers: PeerMachine, port: int, kind: str, receive_buffer_bytes: int = 0) -> socket.socket:
    client = peers.connect(port, receive_buffer_bytes)
    if kind == "sse":
        client.sendall(stream_request(port, "/sse?channels=A.b"))
    else:
        client.sendall(request(port) + text_frame(subscribe("A.b")))
    return client


async def _fill(nats_server: NatsServer, node: Node) -> None:
    """Publishes until something waits in the node itself for each: the kernels on both sides are full."""
    while len(node._links.behind) < 6:
        await nats_server.publish(*(("A.b", PAYLOAD) for _ in range(4)))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("full", [False, True])
async def test_who_vanished_is_freed_in_the_node_and_in_the_kernel(
    nats_server: NatsServer, peers: PeerMachine, full: bool
) -> None:
    settings = node_settings(nats_server.url, addr=":0", ping_interval=INTERVAL, ping_timeout=TIMEOUT)
    async with running_node(settings) as node:
        room = 4096 if full else 0
        gone = [_opened(peers, node.port, kind, room) for kind in ("ws", "sse") for _ in range(3)]
        await until(lambda: node.connections == 6)
        if full:
            await _fill(nats_server, node)
        await asyncio.sleep(0.3)
        assert node.connections == 6
        peers.vanish()
        started = time.monotonic()
        await until(lambda: node.connections == 0, INTERVAL + TIMEOUT + 2)
        # A second for the sweep's own tick, and one for its clock's whole seconds.
        assert time.monotonic() - started < INTERVAL + TIMEOUT + 2
        assert node.counters.connections_closed == {"timeout": 6}
        assert node._links.total == 0
        assert node._links.buffered_bytes == 0
        assert not any(state == "01" for state in _kernel_holds(node.port))
        if full:  # else a reset would go where nothing waits, and a FIN is tried a few times
            assert _kernel_holds(node.port) == []
        for client in gone:
            client.close()


async def test_messages_meanwhile_are_no_sign_of_life(nats_server: NatsServer, peers: PeerMachine) -> None:
    """The kernel takes what is written to a peer that is gone, for a while; that must not count."""
    settings = node_settings(nats_server.url, addr=":0", ping_interval=INTERVAL, ping_timeout=TIMEOUT)
    async with running_node(settings) as node:
        gone = [_opened(peers, node.port, kind) for kind in ("ws", "sse")]
        stays = await SseClient.open(node.port, "/sse?channels=A.b")
        await until(lambda: node.connections == 3)
        peers.vanish()
        reading = asyncio.create_task(stays.ended())
        async with nats_server.busy(_publish_small):
            await until(lambda: node.connections == 1, INTERVAL + TIMEOUT + 2)
        assert node.counters.connections_closed == {"timeout": 2}
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await stays.close()
        for client in gone:
            client.close()


async def _publish_small(broker: Client) -> None:
    await broker.publish("odin.token.A.b", b"1")
    await asyncio.sleep(0.05)


async def test_a_handshake_that_never_comes_and_a_goodbye_that_is_never_answered(
    nats_server: NatsServer, peers: PeerMachine
) -> None:
    settings = node_settings(
        nats_server.url, addr=":0", handshake_timeout=1, close_timeout=0.5, drain_delay=0
    )
    async with running_node(settings) as node:
        silent = peers.connect(node.port)
        silent.sendall(b"GET /ws HTTP/1.1\r\n")
        told = [_opened(peers, node.port, kind) for kind in ("ws", "sse")]
        await until(lambda: node.connections == 2)
        peers.vanish()
        node.start_drain(1000.0)
        await until(lambda: node._links.total == 0, 5)
        assert node.counters.handshakes_failed == {"too_late": 1}
        assert node.counters.connections_closed == {"drain": 2}
        assert node.drain.state == "drained"
        for client in (silent, *told):
            client.close()
