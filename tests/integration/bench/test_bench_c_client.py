"""The benchmark's load client in C, against servers that say what the test tells them to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.bench import provide
from tests.bench.dialects import DIALECTS
from tests.bench.processes import Child, free_port
from tests.bench.ticks import Ticks, payload
from wsnode.load_wire import handshake_request

Handler = Callable[[ServerConnection, int], Coroutine[Any, Any, None]]


def message(seq: int, number: int, stamp: int = 5) -> str:
    data = payload(stamp, number, Ticks().tail()).decode()
    return f'{{"seq":{seq},"ts":{seq * 10},"type":"price:update","channel":"A.trade","prev":0,"data":{data}}}'


def started(tmp_path: Path, port: int, dialect: str = "node") -> Child:
    try:
        binary = provide.client(lambda _: None)
    except provide.UnavailableError as error:
        pytest.skip(str(error))
    speaks = DIALECTS[dialect]
    request, _ = handshake_request(f"127.0.0.1:{port}", speaks.path)
    words = [request.decode(), speaks.ack.decode(), speaks.ping.decode(), speaks.answer(speaks.ping).hex()]
    kind = "node" if dialect == "node" else "other"
    return Child([binary, str(port), kind, *words], {0}, tmp_path / "client", commanded=True)


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server whose handler is also told the number of the connection, from 0."""
    port, opened = free_port(), 0

    async def each(connection: ServerConnection) -> None:
        nonlocal opened
        number, opened = opened, opened + 1
        with contextlib.suppress(ConnectionClosed):
            await handler(connection, number)
            await connection.wait_closed()

    async with serve(each, "127.0.0.1", port, compression=None):
        yield port


async def ask(child: Child, **request: Any) -> dict[str, Any]:
    return await asyncio.to_thread(child.ask, **request)


async def figures(child: Child, until: Callable[[dict[str, Any]], bool], upto: int = 0) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while not until(seen := await ask(child, verb="figures", upto=upto)):
            await asyncio.sleep(0.02)
    return seen


async def test_every_message_is_counted_once_however_the_bytes_are_cut(tmp_path: Path) -> None:
    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.recv()
        frames = [b'{"type":"subscription_ack","seq":0}', *(message(n, n).encode() for n in range(1, 41))]
        data = b"".join(
            b"\x81" + (bytes([len(f)]) if len(f) < 126 else b"\x7e" + len(f).to_bytes(2, "big")) + f
            for f in frames
        )
        size = 7 + 100 * number
        for start in range(0, len(data), size):
            connection.transport.write(data[start : start + size])
            await asyncio.sleep(0.0001)

    async with serving(handler) as port:
        with started(tmp_path, port) as child:
            frame = DIALECTS["node"].subscribe(["A.trade"]).hex()
            answer = await ask(child, verb="open", count=4, flight=2, frames=[frame])
            assert answer["opened"] == 4
            seen = await figures(child, lambda f: f["messages"] >= 160)
    assert seen["messages"] == seen["latency_ms"]["count"] == 160
    assert seen["latency_ms"]["p50"] > 1000, "the stamps lie far in the past"


async def test_what_is_lost_and_what_comes_twice_is_counted(tmp_path: Path) -> None:
    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.recv()
        await connection.send('{"type":"subscription_ack","seq":0}')
        for n in ((1, 2, 3), (1, 3, 4), (1, 1, 2), (2, 1, 3))[number]:
            await connection.send(message(n, n))

    async with serving(handler) as port:
        with started(tmp_path, port) as child:
            await ask(child, verb="launch", count=4, flight=1, channels=["A.trade"], next=1)
            seen = await figures(child, lambda f: f["messages"] >= 12, upto=4)
    # 1 3 4 lacks one, 1 1 2 has one twice, 2 1 3 lacks one and has it too late; three end before 4.
    assert (seen["lost_ticks"], seen["doubled"]) == (2, 2)
    assert (seen["checking"], seen["behind"], seen["lacking"]) == (4, 3, 1 + 2 + 1)


async def test_a_client_that_is_cut_comes_back_and_resumes_where_it_stood(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send('{"type":"hello","node":"x","epoch":"e1","head":0,"oldest":0}')
        asked.append(json.loads(await connection.recv()))
        await connection.send('{"type":"subscription_ack","seq":0}')
        if number == 0:
            await connection.send(message(11, 1))
            await connection.send('{"type":"position","seq":15}')
        elif number == 1:
            await connection.send(message(16, 2))
        else:
            missing = '{"type":"caught_up","channel":"A.trade","seq":20,"missing":[17,18]}'
            await connection.send(missing)

    async with serving(handler) as port:
        with started(tmp_path, port) as child:
            await ask(child, verb="launch", count=1, flight=8, channels=["A.trade"], next=1)
            await figures(child, lambda f: f["messages"] == 1)
            await asyncio.sleep(0.1)
            await ask(child, verb="cut", least=0.3, most=0.4, away=0.05)
            seen = await figures(child, lambda f: f["resumed"] == 3)
            await ask(child, verb="calm")
    data = [request["data"] for request in asked[:4]]
    assert data[0] == {"channels": ["A.trade"]}
    assert data[1]["resume"] == {"epoch": "e1", "seq": 15}
    assert data[2]["resume"] == {"epoch": "e1", "seq": 16, "ts": 160}
    assert data[3]["resume"] == {"epoch": "e1", "seq": 20}
    assert seen["told"] >= 1
    assert seen["cuts"] >= 3


async def test_several_ticks_of_one_frame_count_each_and_pings_are_answered(tmp_path: Path) -> None:
    answered = asyncio.Event()

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.recv()
        await connection.send('{"id":2,"subscribe":{}}')
        await connection.send("{}")
        if await connection.recv() == "{}":
            answered.set()
        await connection.send("\n".join(message(n, n) for n in (1, 2, 3)))

    async with serving(handler) as port:
        with started(tmp_path, port, "centrifugo") as child:
            frame = DIALECTS["centrifugo"].subscribe(["A.trade"]).hex()
            answer = await ask(child, verb="open", count=1, flight=1, frames=[frame])
            assert answer["opened"] == 1
            await asyncio.wait_for(answered.wait(), 10)
            seen = await figures(child, lambda f: f["messages"] >= 3)
    assert seen["messages"] == 3


async def test_what_ends_a_connection_is_told(tmp_path: Path) -> None:
    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.recv()
        await connection.send('{"type":"subscription_ack","seq":0}')
        await connection.close(1008, "slow")

    async with serving(handler) as port:
        with started(tmp_path, port) as child:
            frame = DIALECTS["node"].subscribe(["A.trade"]).hex()
            await ask(child, verb="open", count=1, flight=1, frames=[frame])
            seen = await figures(child, lambda f: bool(f["lost"]))
    assert seen["lost"] == {"closed 1008": 1}
