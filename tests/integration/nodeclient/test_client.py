"""The asynchronous client and `wsnode tail` against a server that speaks the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from tests.support.protocol_server import ProtocolServer
from wsnode.client import Client, ClientError, Connected, Disconnected, Event, Message, Subscribed
from wsnode.gapcheck import Verdict


@contextlib.asynccontextmanager
async def following(client: Client) -> AsyncIterator[asyncio.Queue[Message]]:
    """The client's messages, in a queue."""
    queue: asyncio.Queue[Message] = asyncio.Queue()

    async def follow() -> None:
        async for message in client:
            queue.put_nowait(message)

    task = asyncio.create_task(follow())
    try:
        yield queue
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def subscribed(server: ProtocolServer, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(server.clients) < count:
            await asyncio.sleep(0.01)


async def test_messages_come_as_they_were_published() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.trade", "ETH.trade"], on_event=events.append)
        async with following(client) as queue:
            await subscribed(server)
            server.publish("BTC.trade", {"price": 2})
            server.position()
            server.publish("ETH.trade", [1])
            first, second = [await asyncio.wait_for(queue.get(), 5) for _ in range(2)]
    assert (first.channel, first.seq, first.prev, first.data, first.finding) == (
        "BTC.trade",
        101,
        100,
        {"price": 2},
        None,
    )
    assert (second.channel, second.seq, second.data) == ("ETH.trade", 102, [1])
    assert events == [
        Connected("node-a", "e1", True),
        Subscribed(("BTC.trade", "ETH.trade"), 100),
    ]
    assert client.checker.position_seen == 101
    assert client.checker.last_seen == {"BTC.trade": 101, "ETH.trade": 102}


async def test_a_loss_is_told_with_the_next_message() -> None:
    async with ProtocolServer() as server, following(Client(server.url, ["BTC.trade"])) as queue:
        await subscribed(server)
        server.publish("BTC.trade", skip=list(server.clients))
        server.publish("BTC.trade")
        message = await asyncio.wait_for(queue.get(), 5)
    assert message.finding is not None
    assert (message.finding.verdict, message.finding.missing) == (Verdict.LOST, (101, 101))


async def test_after_a_drain_the_gap_is_told_honestly() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        client = Client(server.url, ["BTC.trade"], on_event=events.append)
        async with following(client) as queue:
            await subscribed(server)
            server.publish("BTC.trade")
            await queue.get()
            await server.close_all(1012, "reconnect;after=300")
            server.publish("BTC.trade")
            await subscribed(server)
            server.publish("BTC.trade")
            message = await asyncio.wait_for(queue.get(), 5)
    assert message.finding is not None
    assert (message.finding.verdict, message.finding.missing) == (Verdict.MISSED_AWAY, (102, 102))
    assert events[2] == Disconnected("closed with 1012 (reconnect;after=300)", 1012, 0.3)


async def test_a_refusal_for_now_is_retried_and_one_for_good_is_not() -> None:
    events: list[Event] = []
    async with ProtocolServer() as server:
        server.refuse = (503, "0")
        client = Client(server.url, ["BTC.trade"], on_event=events.append)
        async with following(client) as queue:
            async with asyncio.timeout(10):
                while not events:
                    await asyncio.sleep(0.01)
            server.refuse = None
            await subscribed(server)
            server.publish("BTC.trade")
            await asyncio.wait_for(queue.get(), 5)
        assert isinstance(events[0], Disconnected)
        assert events[0].why == "HTTP 503"
        server.refuse = (404, None)
        with pytest.raises(ClientError, match="answers HTTP 404"):
            async for _ in client:
                pass


async def test_without_reconnect_it_ends_with_the_connection() -> None:
    async with ProtocolServer() as server:
        received: list[int] = []

        async def follow() -> None:
            async for message in Client(server.url, ["BTC.trade"], reconnect=False):
                received.append(message.seq)

        task = asyncio.create_task(follow())
        await subscribed(server)
        server.publish("BTC.trade")
        await server.close_all(1012, "reconnect;after=1")
        await asyncio.wait_for(task, 5)
        assert received == [101]


async def wsnode(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wsnode",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_tail_prints_lines_as_they_came_and_gaps_apart() -> None:
    async with ProtocolServer() as server:
        process = await wsnode("tail", server.url, "BTC.trade", "-o", "json", "--count", "2")
        await subscribed(server)
        first = server.publish("BTC.trade")
        server.publish("BTC.trade", skip=list(server.clients))
        third = server.publish("BTC.trade")
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert out.decode().splitlines() == [first, third]
    assert "-- gap on BTC.trade: missed something of #102 to #102 on a live connection" in err.decode()
    assert process.returncode == 0


async def test_tail_for_people_and_for_a_time() -> None:
    async with ProtocolServer() as server:
        process = await wsnode("tail", server.url, "BTC.trade", "--duration", "1s")
        await subscribed(server)
        server.publish("BTC.trade", {"price": 7})
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert out.decode().rstrip().endswith('BTC.trade #101 {"price":7}')
    assert "-- connected to node-a (epoch e1)" in err.decode()
    assert process.returncode == 0


async def test_load_reports_as_json_and_fails_when_something_was_lost() -> None:
    async with ProtocolServer() as server:
        process = await wsnode("load", server.url, "-c", "3", "--check", "--hold", "1", "-o", "json")
        await subscribed(server, 3)
        server.publish("BTC.trade", skip=[next(iter(server.clients))])
        server.publish("BTC.trade")
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    shot = json.loads(out)
    assert (shot["deliveries"], shot["lost"], shot["messages"]) == (5, 1, 2)
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["load", "http://x"], "wsnode load: URL 'http://x': expected ws://HOST[:PORT]/PATH"),
        (["load", "ws://x/", "--rate", "0"], "wsnode load: rate 0: must be between 0.1 and 100000"),
        (
            ["load", "ws://x/", "--mark", "many"],
            "wsnode load: mark 'many': expected whole numbers, as 8000,8001",
        ),
        (["load", "ws://x/", "-o", "xml"], "wsnode load: output 'xml': must be table or json"),
        (["tail", "x", "A.b"], "wsnode tail: URL 'x': expected ws://HOST[:PORT]/PATH"),
        (["tail", "ws://x:port/", "A.b"], "wsnode tail: URL 'ws://x:port/': expected ws://HOST[:PORT]/PATH"),
        (
            ["tail", "ws://x/", "A.*"],
            "wsnode tail: channel 'A.*': expected SYMBOL.EVENT, without spaces, quotes or wildcards",
        ),
    ],
)
async def test_bad_input_is_one_line_and_exit_2(arguments: list[str], line: str) -> None:
    process = await wsnode(*arguments)
    out, err = await process.communicate()
    assert (process.returncode, out.decode(), err.decode()) == (2, "", line + "\n")


def test_the_command_says_by_its_exit_code_that_nobody_was_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"  # bound and not listening: refused
        argv = [sys.executable, "-m", "wsnode", "tail", url, "A.b", "--no-reconnect"]
        done = subprocess.run(argv, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"not coming back" in done.stderr
