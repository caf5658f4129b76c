"""Connections that are kept: used again, made anew where a node closed them, and closed when given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wsfleet.scrape import kept as kept_module
from wsfleet.scrape.answers import AnswerError
from wsfleet.scrape.kept import KeptConnections

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Node:
    """Answers each question with the next of `answers`; None closes the connection, "" hangs."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.questions: list[bytes] = []
        self.connections = self.open = 0
        self.port = 0
        self.server: asyncio.Server | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while question := await reader.readuntil(b"\r\n\r\n"):
                self.questions.append(question)
                answer = self.answers.pop(0) if self.answers else OK
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                if b"close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    node.server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    node.port = node.server.sockets[0].getsockname()[1]
    yield node
    node.server.close()
    await eventually(lambda: node.open == 0)


@pytest.fixture
async def kept(node: Node) -> AsyncIterator[KeptConnections]:
    kept = KeptConnections(node.port, 1000)
    yield kept
    kept.close()


async def eventually(what: Any) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.005)


async def test_questions_to_one_node_take_one_connection(node: Node, kept: KeptConnections) -> None:
    for _ in range(5):
        answer = await kept.get("127.0.0.1", "/status")
        assert (answer.status, answer.body) == (200, b"{}")
    assert node.connections == 1
    first, *lines = node.questions[0].split(b"\r\n")
    assert first == b"GET /status HTTP/1.1"
    assert b"Host: 127.0.0.1:%d" % node.port in lines


async def test_questions_at_once_have_a_connection_each_and_one_is_kept(
    node: Node, kept: KeptConnections
) -> None:
    await asyncio.gather(*(kept.get("127.0.0.1", "/status") for _ in range(5)))
    assert node.connections == 5
    await eventually(lambda: node.open == 1)
    await kept.get("127.0.0.1", "/status")
    assert node.connections == 5


async def test_a_kept_connection_that_the_node_closed_is_made_anew(node: Node, kept: KeptConnections) -> None:
    await kept.get("127.0.0.1", "/status")
    node.answers = [None]  # closed in the moment of the question, as a server does with an idle one
    answer = await kept.get("127.0.0.1", "/status")
    assert (answer.status, node.connections, len(node.questions)) == (200, 2, 3)


async def test_a_new_connection_that_is_closed_is_not_tried_again(node: Node, kept: KeptConnections) -> None:
    node.answers = [None]
    with pytest.raises(ConnectionError):
        await kept.get("127.0.0.1", "/status")
    assert node.connections == 1


async def test_an_answer_that_ends_the_connection_leaves_none(node: Node, kept: KeptConnections) -> None:
    node.answers = [b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"]
    assert (await kept.get("127.0.0.1", "/status")).status == 503
    assert (await kept.get("127.0.0.1", "/status")).status == 200
    assert node.connections == 2


async def test_a_question_that_is_given_up_closes_its_connection(node: Node, kept: KeptConnections) -> None:
    node.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"]  # half of it, and no more
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await kept.get("127.0.0.1", "/status")
    await eventually(lambda: node.open == 0)
    assert (await kept.get("127.0.0.1", "/status")).body == b"{}"  # not the other half


async def test_nonsense_closes_the_connection(node: Node, kept: KeptConnections) -> None:
    node.answers = [b"220 mail.example ESMTP\r\n\r\n"]
    with pytest.raises(AnswerError):
        await kept.get("127.0.0.1", "/status")
    await eventually(lambda: node.open == 0)


async def test_what_nobody_asked_for_closes_the_connection(node: Node, kept: KeptConnections) -> None:
    node.answers = [OK + OK]
    assert (await kept.get("127.0.0.1", "/status")).body == b"{}"
    await eventually(lambda: node.open == 0)
    assert (await kept.get("127.0.0.1", "/status")).body == b"{}"


async def test_connections_that_are_not_used_are_closed(
    node: Node, kept: KeptConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.get("127.0.0.1", "/status")
    monkeypatch.setattr(kept_module, "_SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(kept_module, "_IDLE_SECONDS", 0.0)
    with pytest.raises(OSError):
        await kept.get("127.0.0.3", "/status")  # nobody listens there; another node's turn sweeps
    await eventually(lambda: node.open == 0)


async def test_no_node_at_all_is_an_error_of_the_system(kept: KeptConnections) -> None:
    with pytest.raises(OSError):
        await kept.get("127.0.0.2", "/status")
