"""Random lives under TLS: whatever way bytes are cut and clients end, each gets what a plain one gets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats import NatsServer
from tests.support.node import node_settings, running_node, until
from tests.support.tls import Files, Peer, make_files, trusting
from tests.support.wsclient import WsClient, request, subscribe, text_frame
from wsnode.node import Node
from wsnode.secure_links import SecureLinks

pytestmark = pytest.mark.race

LIVES = 50
MESSAGES = 120
CHANNELS = ["A.a", "B.b", "C.c"]
END = "END.end"


class _Life:
    """One client that writes, reads, pauses and leaves by chance; what it got is in `seen`."""

    def __init__(self, node: Node, context: ssl.SSLContext, source: random.Random) -> None:
        self._node, self._source = node, source
        self._peer = Peer(context)
        self._received = b""
        self.channels = source.sample(CHANNELS, source.randint(1, 3))
        self.leaves = source.choice(["stays", "stays", "resets", "half-closes", "damages", "says goodbye"])
        self.seen: list[dict[str, Any]] = []
        self.ended = False

    async def run(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._node.port)
        try:
            await self._shake()
            await self._send(self._peer.sealed(request(self._node.port)))
            while b"\r\n\r\n" not in self._received:
                await self._read()
            self._received = self._received.partition(b"\r\n\r\n")[2]
            asked = text_frame(subscribe(*self.channels, END))
            cut = self._source.randint(1, len(asked) - 1)  # one frame in two records
            await self._send(self._peer.sealed(asked[:cut]) + self._peer.sealed(asked[cut:]))
            lasts = self._source.randint(1, 40)
            while not self.ended:
                if self.leaves != "stays" and len(self.seen) >= lasts:
                    await self._leave()
                    return
                await self._read()
                if self._source.random() < 0.2:
                    await asyncio.sleep(self._source.random() / 30)
                if self._source.random() < 0.1:
                    await self._send(self._peer.sealed(text_frame({"type": "heartbeat"})))
        finally:
            self._writer.transport.abort()
            await asyncio.sleep(0)

    async def _shake(self) -> None:
        await self._send(self._peer.hello())
        while not self._peer.done:
            await self._send(self._peer.took(await self._some()))

    async def _send(self, data: bytes) -> None:
        """In pieces, often tiny ones."""
        while data:
            size = self._source.choice([1, 2, 5, 100, len(data)])
            self._writer.write(data[:size])
            data = data[size:]
            await asyncio.sleep(0)

    async def _some(self) -> bytes:
        size = self._source.choice([1, 7, 400, 65_536])
        data = await asyncio.wait_for(self._reader.read(size), 30)
        assert data, "the node ended the connection"
        return data

    async def _read(self) -> None:
        self._received += self._peer.plain(await self._some())
        while len(self._received) >= 4:
            size, start = self._received[1], 2
            if size == 126:
                size, start = int.from_bytes(self._received[2:4], "big"), 4
            if len(self._received) < start + size or b"\r\n\r\n" in self._received[:2]:
                return
            payload, opcode = self._received[start : start + size], self._received[0] & 15
            if not payload.startswith(b"{") or opcode != 1:
                if self._received.startswith(b"HTTP/"):
                    return
                assert opcode == 9, self._received[:60]
            else:
                self._note(json.loads(payload))
            self._received = self._received[start + size :]

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("channel") == END:
            self.ended = True
        elif message["type"] == "price:update":
            self.seen.append(message)

    async def _leave(self) -> None:
        if self.leaves == "damages":
            record = self._peer.sealed(text_frame({"type": "heartbeat"}))
            await self._send(record[:-3] + bytes(3))
        elif self.leaves == "half-closes":
            self._writer.write_eof()
        elif self.leaves == "says goodbye":
            with contextlib.suppress(ssl.SSLError):
                self._peer.tls.unwrap()
            await self._send(self._peer.outgoing.read())
        if self.leaves != "resets":
            with contextlib.suppress(ConnectionError):
                while await asyncio.wait_for(self._reader.read(65_536), 30):
                    pass


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_random_lives_get_what_a_plain_client_gets(
    nats_server: NatsServer, files: Files, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    seed = int(os.environ.get("TEST_SEED", "0")) or random.SystemRandom().randrange(10**6)
    print(f"TEST_SEED={seed}")
    source = random.Random(seed)
    context = trusting(files, minimum_version=version, maximum_version=version)
    changes: dict[str, Any] = {"client_buffer_bytes": 2**22, "close_timeout": 1, "position_interval": 1}
    async with (
        running_node(node_settings(nats_server.url, **changes, **files.settings)) as node,
        running_node(node_settings(nats_server.url, **changes)) as plain_node,
    ):
        plain = await WsClient.open(plain_node.port, *CHANNELS, END)
        lives = [_Life(node, context, random.Random(source.random())) for _ in range(LIVES)]
        running = [asyncio.create_task(life.run()) for life in lives]
        for number in range(MESSAGES):
            size = source.choice([1, 30, 400, 20_000])
            text = json.dumps({"n": number, "text": "x" * size}).encode()
            await nats_server.publish((source.choice(CHANNELS), text))
            await asyncio.sleep(source.random() / 100)
        await until(lambda: all(task.done() or life.seen for task, life in zip(running, lives, strict=True)))
        while not all(task.done() for task in running):
            await nats_server.publish((END, b"1"))
            await asyncio.wait(running, timeout=0.2)
        for task in running:
            task.result()
        expected: list[dict[str, Any]] = []
        while len(expected) < MESSAGES:
            message = await plain.message()
            if message["type"] == "price:update" and message["channel"] != END:
                expected.append(message)
        for life in lives:
            mine = [message for message in expected if message["channel"] in life.channels]
            first = next((n for n, m in enumerate(mine) if life.seen and m["seq"] == life.seen[0]["seq"]), 0)
            got = [(m["seq"], m["channel"], m["data"]) for m in life.seen]
            wanted = [(m["seq"], m["channel"], m["data"]) for m in mine[first:]]
            if life.leaves == "stays":
                assert got == wanted, life.leaves
                assert all(a["seq"] < b["seq"] for a, b in itertools.pairwise(life.seen))
            else:
                assert got == wanted[: len(got)], life.leaves
        assert sum(life.leaves == "stays" and bool(life.seen) for life in lives) > 3
        await until(lambda: node._links.total == 0)
        links = node._links
        assert isinstance(links, SecureLinks)
        assert links.buffered_bytes == 0
        assert links._incoming.pending == links._outgoing.pending == 0
        await plain.close()
